import type { LoggedRequest } from "../../policy/log-test.ts";
import type { Call } from "../../policy/authorise/rules.ts";
import type { HttpMatch, HttpRule, Persistence, Retry } from "../../api/traffic.ts";
import type { Manners } from "./manners.ts";
import type { Exchange, Handler, LocalAnswer, Outcome, RequestView } from "../../policy/exchange.ts";

/** What the engine knows about a port that it serves. */
export interface Listener {
  readonly id: string;
  /** The port that clients dial. */
  readonly port: number;
  /** Where it is bound; absent: nobody is told. */
  readonly address?: string;
  readonly scheme: "http" | "https";
  /** Clients' own X-Forwarded-For and X-Request-Id are believed and continued; otherwise they begin here. */
  readonly trusted: boolean;
  /** Inside the mesh: a request's fields go on as they came, and none is added. */
  readonly isTransparent?: boolean;
  /** No line in the access log. */
  readonly isUnlogged?: boolean;
  /** "NAMESPACE/NAME" of the Service whose listener it is. */
  readonly service?: string;
  /** Of one connection: who has proved by a certificate who he is, and the server name that he has asked for. */
  readonly peer?: Call["caller"];
  readonly serverName?: string;
  readonly bounds: Bounds;
  /** What it does with requests before any route is asked; undefined: nothing. */
  readonly manners?: Manners | undefined;
  /** Of one connection: DER of what its client has shown, good or not, for who passes it on. */
  readonly certificate?: Buffer | undefined;
  /** Where a request goes, or why nowhere. */
  route(request: RequestView): Routed | LocalAnswer;
}

/** Beyond these a client is refused. Milliseconds; 0 for none where it says so. */
export interface Bounds {
  headBytesMax: number;
  lineBytesMax: number;
  bodyBytesMax: number;
  /** From a head's first byte to its last; also for the first head of a connection. */
  headersMs: number;
  /** Between requests. */
  idleMs: number;
  /** Without a byte of the body; and each second of a body must bring {@link bodyBytesPerSecond}. */
  bodyIdleMs: number;
  bodyBytesPerSecond: number;
  /** Without a byte of the answer, or of one that its client does not take; 0 for none. */
  answerMs: number;
  /** Without a byte in either direction of an upgraded connection; 0 for none. */
  tunnelIdleMs: number;
  connectionsPerClient: number;
  // Where a policy says so.
  /** A request's whole body must be there so long after its head. */
  receiveMs?: number | undefined;
  /** A request with its answer. */
  exchangeMs?: number | undefined;
  /** Requests of one connection, and how long it may be used. */
  requestsMax?: number | undefined;
  connectionMs?: number | undefined;
  /** One of HTTP/1 that is idle ends then, and is not asked first. */
  endsAtOnce?: boolean | undefined;
  /** Of HTTP/2. */
  streamsMax?: number | undefined;
  streamWindow?: number | undefined;
  connectionWindow?: number | undefined;
  /** All connections of the listener. */
  gauge?: Gauge | undefined;
}

export interface Gauge {
  max: number;
  count: number;
  /** So long those that are one too many stay. */
  closeDelayMs?: number;
}

/** What whoever guards the endpoint has found, whatever became of the request. */
export interface Judged {
  /** For the access log; "": nothing. */
  note: string;
  /** It has a line there, though others of its listener have none. */
  isTold: boolean;
  /** Whether it has a line there, if anybody has said so; else its listener says it. */
  log?: ((exchange: LoggedRequest) => boolean) | undefined;
  /** As whom it was judged. */
  caller?: Call["caller"];
}

export interface Routed {
  status?: undefined;
  /** Of the rule, for the log. */
  name: string;
  /** No rule has judged the path: it goes on as it came, not in its normal form. */
  isAsItCame?: boolean | undefined;
  /** Ends in `forward` with `exchange.upstream` set, or in `answer`. */
  handler: Handler;
  /**
   * When no try got an answer and the request may be sent once more: true, and it is when `go` is called, unless an answer
   * of its own is given. False: the client is told.
   */
  rescue?: ((exchange: Exchange, outcome: Outcome, go: () => void) => boolean) | undefined;
  timeouts?: HttpRule["timeouts"] | undefined;
  retry?: Retry | undefined;
  persistence?: Persistence | undefined;
  match?: HttpMatch | undefined;
  captures?: readonly string[] | undefined;
  /** Parameters that the access log leaves out. */
  secrets?: readonly string[] | undefined;
}
