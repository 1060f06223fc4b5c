import { STATUS_CODES, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { createWebSocketStream, type WebSocket, WebSocketServer } from "ws";
import type { Kind } from "../../api/kind.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { NodeAccess, PodKey } from "../../api/node.ts";
import { badRequestError, serviceUnavailableError, StatusError, tooManyRequestsError } from "../../api/status.ts";
import type { PodSpec } from "../../api/types.ts";
import { limits } from "../../base/limits.ts";
import type { Log } from "../../base/log.ts";
import type { Api } from "../api.ts";
import { statusOf } from "../http/exchange.ts";
import { isTrue, type RequestInfo, type ResourceInfo } from "../http/request-info.ts";
import { objectOf } from "../rest/keys.ts";
import { containerOf } from "./container.ts";
import { forwardChannels, forwardSpdy, portsOf } from "./port-forward.ts";
import { type CommandSession, runSpdy, runWebSocket, spdyCommandProtocols, webSocketCommandProtocols } from "./remote-command.ts";
import { SpdyConnection } from "./spdy.ts";

export interface ConnectOptions {
  api: Api;
  node?: NodeAccess;
  log: Log;
}
type ConnectInfo = RequestInfo & { resource: ResourceInfo & { kind: Kind } };

/** Port-forward inside WebSocket messages. '/' is no token character, so that `ws` would refuse the handshake. */
const tunnelProtocol = "SPDY/3.1+portforward.k8s.io";
const spdyForwardProtocol = "portforward.k8s.io";
/** How browsers send a token; authentication has read it. */
const bearerProtocol = "base64url.bearer.authorization.k8s.io.";

let open = 0;

/**
 * Serves exec, attach and port-forward: requests that upgrade the connection, over WebSocket (kubectl ≥ 1.31,
 * client libraries) or SPDY/3.1 (older ones). The request is authenticated and authorized. What can be refused is
 * refused before the upgrade, so that the client gets a Status. Source: k8s.io/kubernetes/pkg/registry/core/pod/rest.
 */
export function serveConnect(options: ConnectOptions, info: ConnectInfo, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  connect(options, info, request, socket, head).catch((error: unknown) => refuse(socket, error, options.log));
}

async function connect({ api, node, log }: ConnectOptions, info: ConnectInfo, request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
  const { kind, namespace, name, subresource } = info.resource;
  if (kind.group !== "" || kind.resource !== "pods" || name === undefined) throw new StatusError(404, "NotFound", "the server could not find the requested resource");
  if (open >= limits.streamsMax) throw tooManyRequestsError(`there are ${open} open streams, as many as may be (limits.streamsMax)`, 1);
  const pod = objectOf(kind, api.get(kind, namespace, name));
  if (!node) throw serviceUnavailableError("the node agent is not there");
  if (!(pod["spec"] as PodSpec).nodeName) throw badRequestError(`pod ${name} does not have a host assigned`);
  const key: PodKey = { namespace: namespace!, name, uid: pod.metadata.uid };
  const upgrade = String(request.headers.upgrade ?? "").toLowerCase();
  if (upgrade !== "websocket" && upgrade !== "spdy/3.1") throw badRequestError(`unable to upgrade: missing upgrade headers in request: only websocket and SPDY/3.1 are served`);

  switch (subresource) {
    case "exec":
    case "attach": {
      // Agreed before the command starts, which nobody could end if there were no way to talk about it.
      const offered = upgrade === "websocket" ? webSocketProtocolsOf(request) : spdyProtocolsOf(request);
      const protocol = agree(offered, upgrade === "websocket" ? webSocketCommandProtocols : spdyCommandProtocols, upgrade);
      const session = await commandOf(node, pod, key, subresource, info.query);
      if (socket.destroyed) return void session.stream.destroy();
      if (upgrade === "websocket") return onWebSocket(request, socket, head, protocol, (client) => runWebSocket(client, session, protocol ?? "", log), () => session.stream.destroy());
      return onSpdy(socket, head, protocol!, (connection, accept) => runSpdy(connection, accept, session, protocol!, log));
    }
    case "portforward": {
      const phase = (pod["status"] as { phase?: string } | undefined)?.phase;
      if (phase !== "Running") throw badRequestError(`unable to forward port because pod is not running. Current status=${phase ?? "Pending"}`);
      const dial = (port: number) => node.dial(key, port);
      if (upgrade === "spdy/3.1") {
        const protocol = agree(spdyProtocolsOf(request), [spdyForwardProtocol], upgrade);
        return onSpdy(socket, head, protocol!, (_connection, accept) => forwardSpdy(accept, dial, key));
      }
      const offered = webSocketProtocolsOf(request);
      if (offered.includes(tunnelProtocol)) {
        return onWebSocket(request, socket, head, tunnelProtocol, (client) => {
          spdyOver(createWebSocketStream(client), (_connection, accept) => forwardSpdy(accept, dial, key));
        });
      }
      const ports = portsOf(info.query);
      const protocol = agree(offered, ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"], upgrade);
      return onWebSocket(request, socket, head, protocol, (client) => forwardChannels(client, ports, dial, key, protocol?.includes("base64") ?? false));
    }
    default:
      throw new StatusError(404, "NotFound", "the server could not find the requested resource");
  }
}

/** Starts the command before the upgrade: a container that is not there is a Status and no broken stream. */
async function commandOf(node: NodeAccess, pod: KubeObject, key: PodKey, subresource: "exec" | "attach", query: URLSearchParams): Promise<CommandSession> {
  const wanted = (name: string) => isTrue(query.get(name));
  const container = containerOf(pod, query.get("container") ?? "");
  const tty = wanted("tty");
  const streams = { container, stdin: wanted("stdin"), stdout: wanted("stdout"), stderr: wanted("stderr") && !tty, tty };
  if (!streams.stdin && !streams.stdout && !streams.stderr) throw badRequestError("you must specify at least 1 of stdin, stdout, stderr");
  if (subresource === "attach") return { ...streams, stream: await node.attach(key, streams) };
  const command = query.getAll("command");
  if (command.length === 0) throw badRequestError("you must specify at least one command for the container");
  return { ...streams, stream: await node.exec(key, { ...streams, command }) };
}

// — upgrades —

const listOf = (header: string | string[] | undefined): string[] => (Array.isArray(header) ? header : [header ?? ""]).flatMap((line) => line.split(",")).map((item) => item.trim()).filter((item) => item !== "");
const webSocketProtocolsOf = (request: IncomingMessage): string[] => listOf(request.headers["sec-websocket-protocol"]);
const spdyProtocolsOf = (request: IncomingMessage): string[] => listOf(request.headers["x-stream-protocol-version"]);

/** The first that both know. A WebSocket client that names none speaks the oldest; any other disagreement is refused. */
function agree(offered: readonly string[], served: readonly string[], upgrade: string): string | undefined {
  const wanted = offered.filter((protocol) => !protocol.startsWith(bearerProtocol));
  const found = wanted.find((protocol) => served.includes(protocol));
  if (found !== undefined || (upgrade === "websocket" && wanted.length === 0)) return found;
  throw new StatusError(403, "Forbidden", `unable to upgrade: unable to negotiate protocol: client supports [${wanted.join(" ")}], server accepts [${served.join(" ")}]`);
}

// Which sub-protocol was agreed on; `ws` itself must not see names that it takes for malformed.
const agreed = new WeakMap<IncomingMessage, string>();
const webSockets = new WebSocketServer({ noServer: true, clientTracking: false, perMessageDeflate: false, maxPayload: 16 * 1024 * 1024 });
webSockets.on("headers", (headers, request) => {
  const protocol = agreed.get(request);
  if (protocol !== undefined) headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
});

function onWebSocket(request: IncomingMessage, socket: Duplex, head: Buffer, protocol: string | undefined, run: (client: WebSocket) => void, refused: () => void = () => {}): void {
  if (protocol !== undefined) agreed.set(request, protocol);
  delete request.headers["sec-websocket-protocol"];
  let upgraded = false;
  webSockets.handleUpgrade(request, socket, head, (client) => {
    upgraded = true;
    open++;
    client.on("error", () => {});
    client.once("close", () => open--);
    run(client);
  });
  if (!upgraded) refused();
}

function onSpdy(socket: Duplex, head: Buffer, protocol: string, run: SpdyRun): void {
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${protocol}\r\n\r\n`);
  open++;
  socket.once("close", () => open--);
  if (head.length > 0) socket.unshift(head);
  spdyOver(socket, run);
}

type Accept = { onStream: (stream: import("./spdy.ts").SpdyStream) => void; onClose: () => void };
type SpdyRun = (connection: SpdyConnection, accept: Accept) => void;

function spdyOver(transport: Duplex, run: SpdyRun): void {
  const accept: Accept = { onStream: (stream) => stream.destroy(), onClose: () => {} };
  const connection = new SpdyConnection(transport, (stream) => accept.onStream(stream), () => accept.onClose());
  run(connection, accept);
}

/** The answer instead of an upgrade. */
export function refuse(socket: Duplex, error: unknown, log: Log): void {
  const status = statusOf(error, log);
  const body = JSON.stringify(status);
  const retry = status.details?.retryAfterSeconds ? `Retry-After: ${status.details.retryAfterSeconds}\r\n` : "";
  socket.end(`HTTP/1.1 ${status.code} ${STATUS_CODES[status.code] ?? "Error"}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${retry}Connection: close\r\n\r\n${body}`);
}
