import { availableParallelism } from "node:os";

/**
 * Every bound in Wherry, with what happens when it bites. Units are in the names. The assertions at the foot
 * state the relations between bounds that the code relies on.
 */
export const limits = {
  /** A request body to the API. Larger: 413. Upstream's etcd refuses above 1.5 MiB, its API server above 3 MiB. */
  apiBodyBytesMax: 3 * 1024 * 1024,
  /** HTTP/2: requests and watches under way on one connection. More: refused as not begun, and the client opens another connection or waits. */
  http2Streams: 1000,
  /** Bytes of one body that may wait to be read. The client waits. */
  http2StreamBytes: 1024 * 1024,
  /** And of all bodies of one connection: as above. */
  http2ConnectionBytes: 16 * 1024 * 1024,
  /** Names and values of a request's headers, as HTTP/2 counts them. More: the connection is ended. */
  http2HeaderBytes: 256 * 1024,
  /** One stored object, encoded. Larger: 413 `Request entity too large`. */
  objectBytesMax: 1.5 * 1024 * 1024,
  /** How many changes the watch window keeps. Older watches: 410 Expired. */
  watchWindowEvents: 20_000,
  /** And how many bytes of objects. A change older than either: as above. */
  watchWindowBytes: 24 * 1024 * 1024,
  /** Bytes of writes that wait for the disk. More: 429, until it has caught up. */
  storeWaitingBytes: 64 * 1024 * 1024,
  /** How much of the objects the store keeps parsed, counted in encoded bytes. The rest is parsed again when asked for. */
  parsedObjectsBytes: 6 * 1024 * 1024,
  /** A larger object is never kept parsed: a definition, mostly, which is read when it changes. */
  parsedObjectBytes: 64 * 1024,
  /** OpenAPI documents that are kept made. The rest is made again when asked for. */
  openApiBytes: 4 * 1024 * 1024,
  /** Events waiting for one watcher. More: the watcher is ended with 410 and lists anew. */
  watcherQueueEvents: 10_000,
  /** Bytes waiting for one watcher's socket. More: as above. */
  watcherQueueBytes: 8 * 1024 * 1024,
  /** Lines of watches that are kept encoded for the next watcher. The rest is encoded again. */
  watchLinesBytes: 2 * 1024 * 1024,
  /** Watchers in all. More: 429 with Retry-After. */
  watchersMax: 10_000,
  /** How many watchers one turn of the loop feeds before others get a turn. */
  fanOutSlice: 250,
  /** Items of a list page, whatever the client asks. */
  listPageMax: 10_000,
  /** The answer of an admission or conversion webhook. Larger: the call has failed, and its failure policy decides. */
  webhookResponseBytesMax: 16 * 1024 * 1024,
  /** Operations of one JSON patch. More: 413, as upstream. */
  jsonPatchOperationsMax: 10_000,
  /** Size of one log file of a container before it is rotated, and how many are kept: kubelet's defaults. */
  containerLogBytesMax: 10 * 1024 * 1024,
  containerLogFilesMax: 5,
  /** A termination message; longer ones keep their tail. */
  terminationMessageBytesMax: 4096,
  /** Evictions that a budget's controller has not seen yet. More: the next is refused with 403, as upstream. */
  disruptedPodsMax: 2_000,
  /** Threads of meshed Node programs that one worker of the data plane tells ways. More: their calls go by the Service listeners. */
  directFeedsMax: 2_000,
  /** Services that one thread of a program is told ways to. More: as above. */
  directWaysMax: 256,
  /** Pods on the node, as kubelet's default. */
  podsMax: 110,
  /** How long an Event is kept, as upstream's `--event-ttl`. */
  eventTtlMs: 60 * 60 * 1000,
  /** Open exec, attach and port-forward sessions in all. More: 429. */
  streamsMax: 512,
  /** How long a connection waits for a program that is being restarted for new code, and how many may for one Service port. Beyond: refused. */
  heldMs: 15_000,
  heldConnectionsMax: 1_024,
  /** How long programs stand still for a backup. Longer: they go on, and the backup is given up. */
  pauseMaxMs: 60_000,
  /** Folders below those given to `up` that are watched for changes. Those beyond are not, and it is said. */
  watchedFoldersMax: 8_192,
  /** A request's head in the gateway: request line and fields. Larger: 431. The line alone: 414. */
  gatewayHeadBytesMax: 32 * 1024,
  gatewayLineBytesMax: 16 * 1024,
  /** An answer's head. Larger: 502. */
  gatewayAnswerHeadBytesMax: 64 * 1024,
  /** A request's body, where a route does not say otherwise; it streams, so this costs no memory. Larger: 413. */
  gatewayBodyBytesMax: 4 * 1024 * 1024 * 1024,
  /**
   * How much of a request's body waits for its upstream, and is kept to be sent again where a rule lets it be tried again. What is
   * longer is tried once. `client-body-buffer-size` of an Ingress says another bound.
   */
  gatewayRetryBodyBytes: 64 * 1024,
  /** Bodies that filters must see whole, and answers that they hold back, of all requests of a worker together. Beyond: 503. */
  gatewayHeldBytesMax: 64 * 1024 * 1024,
  /** How much of a request's body waits for a mirror that is slower than its client. More: the copy is broken off, and counted. */
  gatewayMirrorBytesMax: 1024 * 1024,
  /** How long a head may take from its first byte, and a new connection until it. Longer: 408, or closed. */
  gatewayHeadersMs: 15_000,
  /** How long a connection is kept between requests. Longer: closed. */
  gatewayIdleMs: 75_000,
  /** How long a body, or a client that an answer is written to, may stand still; and how fast a body must come. Longer or slower: 408, or cut off. */
  gatewayBodyIdleMs: 30_000,
  gatewayBodyBytesPerSecond: 256,
  /** How long an upstream may be silent before or within its answer, where a route does not say otherwise. Longer: 504, or cut off. */
  gatewayAnswerMs: 300_000,
  /** How long an upgraded connection may be silent in both directions. Longer: closed. */
  gatewayTunnelIdleMs: 3_600_000,
  /** How long a connection to an endpoint is kept for the next request, unless the endpoint says less. */
  gatewayUpstreamIdleMs: 60_000,
  /** How long an endpoint may take to accept before the next is tried. */
  gatewayConnectMs: 3_000,
  /** Connections whose first TLS message is not all there, in one worker. More: the next is reset. */
  gatewayHellosMax: 2_048,
  /** Connections of clients in one worker, and of one address. More: reset. */
  gatewayConnectionsMax: 20_000,
  gatewayConnectionsPerClient: 4_096,
  /** Requests under way on one HTTP/2 connection of a client. More: refused, as not begun. */
  gatewayStreamsMax: 256,
  /** How long requests under way, and upgraded connections, may take to end when the stack stops. Longer: cut off. */
  gatewayDrainMs: 3_000,
  /** The gateway's access log, `gateway.log` in the data directory: a longer one becomes `gateway.log.1`, in whose place it goes. */
  gatewayLogBytesMax: 32 * 1024 * 1024,
  /** Worker processes of the data plane. */
  netWorkers: Math.max(1, availableParallelism() - 1),
} as const;

console.assert(limits.objectBytesMax <= limits.apiBodyBytesMax, "an object that may be stored must fit in a request");
console.assert(limits.watcherQueueEvents <= limits.watchWindowEvents, "a watcher behind by a full queue must still be inside the window");
