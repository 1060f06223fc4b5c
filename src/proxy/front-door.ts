import { Agent, createServer, request as requestHttp, type ClientRequest, type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { TcpHandle } from "../base/handles.ts";
import { frontDoorPortOf } from "./host-listeners.ts";
import { servicePortKey, type ServicePort, type ServiceTable } from "./service-table.ts";

/**
 * HTTP Services by name from the host: `http://SERVICE.NAMESPACE.localhost:PORT`. Each request is routed by its
 * own Host, so one kept-alive connection may ask many Services. Bodies stream both ways, upgrades become a pipe.
 * It answers names below `.localhost` only: a page on the Internet cannot reach it by a name of its own.
 */
const connectTimeoutMs = 3_000;
const attemptsMax = 3;
const idleConnectionsPerEndpoint = 16;
/** A request's own headers end at the proxy (RFC 9110, 7.6.1). */
const hopByHop = new Set(["connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]);

export class FrontDoor {
  readonly #table: ServiceTable;
  readonly #agent = new Agent({ keepAlive: true, maxFreeSockets: idleConnectionsPerEndpoint, timeout: 60_000 });
  readonly #server = createServer({ requestTimeout: 0 });

  constructor(table: ServiceTable) {
    this.#table = table;
    this.#server.on("request", (request, response) => this.#request(request, response));
    this.#server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    this.#server.on("clientError", (_error, socket) => (socket.writable ? socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n") : socket.destroy()));
    // The server never listens itself; this starts its watch over slow request heads.
    this.#server.emit("listening");
  }

  accept(handle: TcpHandle): void {
    const socket = new Socket({ handle, allowHalfOpen: true } as never);
    socket.setNoDelay(true);
    this.#server.emit("connection", socket);
  }

  /** Closes the idle connections to a pod that is to get no more requests. */
  leave(ip: string): void {
    for (const [name, sockets] of Object.entries(this.#agent.freeSockets)) if (name.startsWith(`${ip}:`)) for (const socket of sockets ?? []) socket.destroy();
  }

  /** The Service that a Host header names: "web.shop.localhost:8088" → shop/web. */
  #route(host: string | undefined): ServicePort | undefined {
    const match = /^([a-z0-9-]+)\.([a-z0-9-]+)\.localhost(?::\d+)?$/i.exec(host ?? "");
    if (!match) return undefined;
    const [name, namespace] = [match[1]!.toLowerCase(), match[2]!.toLowerCase()];
    const service = this.#table.snapshot.services.find((candidate) => candidate.name === name && candidate.namespace === namespace);
    const port = service && frontDoorPortOf(service);
    return port && this.#table.ports.get(servicePortKey(namespace, name, port.protocol, port.port));
  }

  #request(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const service = this.#route(incoming.headers.host);
    if (!service) return refuse(outgoing, 404, `no Service answers to ${JSON.stringify(incoming.headers.host ?? "")}; names are SERVICE.NAMESPACE.localhost\n`);
    this.#forward(service, incoming, outgoing);
  }

  #forward(service: ServicePort, incoming: IncomingMessage, outgoing: ServerResponse): void {
    const endpoints = service.active;
    if (service.held && !outgoing.destroyed && service.wait(() => (service.held ? refuse(outgoing, 503, `${service.key} is being restarted for too long\n`) : this.#forward(service, incoming, outgoing)))) return;
    if (outgoing.destroyed) return;
    if (endpoints.length === 0) return refuse(outgoing, 503, `${service.service.namespace}/${service.service.name} has no ready endpoint\n`);
    const hasBody = incoming.headers["content-length"] !== undefined || incoming.headers["transfer-encoding"] !== undefined;
    const first = service.choose(incoming.socket.remoteAddress ?? "", performance.now());
    const attempts = hasBody ? 1 : Math.min(attemptsMax, endpoints.length);
    let kept = hasBody ? 0 : 1;
    const attempt = (count: number): void => {
      const endpoint = endpoints[(first + count) % endpoints.length]!;
      const upstream = requestHttp({ host: endpoint.ip, port: endpoint.port, method: incoming.method, path: incoming.url, headers: forwardHeaders(incoming), agent: this.#agent, setHost: false });
      const gone = () => upstream.destroy();
      boundConnect(upstream);
      upstream.on("error", () => {
        outgoing.off("close", gone);
        if (outgoing.destroyed) return;
        if (outgoing.headersSent) outgoing.destroy();
        // A kept connection that was closed as it was used again says nothing about the endpoint.
        else if (upstream.reusedSocket && kept-- > 0) attempt(count);
        else if (count + 1 < attempts) attempt(count + 1);
        else if (!hasBody && service.held) this.#forward(service, incoming, outgoing);
        else refuse(outgoing, 502, `${endpoint.key} did not answer\n`);
      });
      upstream.on("information", (info) => {
        if (info.statusCode === 103 && info.headers["link"]) outgoing.writeEarlyHints({ link: info.headers["link"] as string });
      });
      upstream.on("response", (answer) => {
        outgoing.writeHead(answer.statusCode!, answer.statusMessage, withoutHopByHop(answer) as unknown as OutgoingHttpHeaders);
        answer.on("error", () => outgoing.destroy());
        answer.on("aborted", () => outgoing.destroy());
        answer.pipe(outgoing);
      });
      outgoing.on("close", gone);
      if (hasBody) incoming.pipe(upstream);
      else upstream.end();
    };
    attempt(0);
  }

  #upgrade(incoming: IncomingMessage, client: Duplex, head: Buffer): void {
    client.on("error", () => client.destroy());
    const service = this.#route(incoming.headers.host);
    if (service?.held && service.wait(() => (service.held || client.destroyed ? client.destroy() : this.#upgrade(incoming, client, head)))) return;
    const endpoint = service?.active.length ? service.active[service.choose(incoming.socket.remoteAddress ?? "", performance.now())] : undefined;
    if (!endpoint) return void client.end(`HTTP/1.1 ${service ? "503 Service Unavailable" : "404 Not Found"}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    const headers = [...forwardHeaders(incoming), "Connection", "Upgrade", "Upgrade", incoming.headers.upgrade ?? ""];
    const upstream = requestHttp({ host: endpoint.ip, port: endpoint.port, method: incoming.method, path: incoming.url, headers, agent: false, setHost: false });
    boundConnect(upstream);
    upstream.on("error", () => client.end("HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
    upstream.on("upgrade", (answer, server, first) => {
      client.write(`HTTP/1.1 101 Switching Protocols\r\n${headLines(answer.rawHeaders)}\r\n`);
      if (first.length > 0) client.write(first);
      if (head.length > 0) server.write(head);
      server.on("error", () => client.destroy());
      server.on("close", () => client.destroy());
      client.on("close", () => server.destroy());
      client.pipe(server).pipe(client);
    });
    // The program refused to upgrade: its answer goes back as it is.
    upstream.on("response", (answer) => {
      client.write(`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}\r\n${headLines(withoutHopByHop(answer))}Connection: close\r\n\r\n`);
      answer.pipe(client);
    });
    client.on("close", () => upstream.destroy());
    upstream.end();
  }
}

function boundConnect(request: ClientRequest): void {
  request.once("socket", (socket) => {
    if (!socket.connecting) return;
    const timer = setTimeout(() => request.destroy(new Error("connect timed out")), connectTimeoutMs);
    socket.once("connect", () => clearTimeout(timer)).once("close", () => clearTimeout(timer));
  });
}

/** Raw names and values, minus what ends here; headers that Connection names end here too. */
function withoutHopByHop(message: IncomingMessage): string[] {
  const named = new Set((message.headers.connection ?? "").toLowerCase().split(",").map((name) => name.trim()));
  const kept: string[] = [];
  for (let i = 0; i < message.rawHeaders.length; i += 2) {
    const name = message.rawHeaders[i]!.toLowerCase();
    if (!hopByHop.has(name) && !named.has(name)) kept.push(message.rawHeaders[i]!, message.rawHeaders[i + 1]!);
  }
  return kept;
}

function forwardHeaders(incoming: IncomingMessage): string[] {
  const kept = withoutHopByHop(incoming);
  const headers: string[] = [];
  for (let i = 0; i < kept.length; i += 2) if (!/^x-forwarded-(for|host|proto)$/i.test(kept[i]!)) headers.push(kept[i]!, kept[i + 1]!);
  // A body of unknown length keeps its framing, also with methods that usually have none.
  if (incoming.headers["transfer-encoding"] !== undefined) headers.push("Transfer-Encoding", "chunked");
  const from = incoming.socket.remoteAddress ?? "";
  const before = incoming.headers["x-forwarded-for"];
  headers.push("X-Forwarded-For", before ? `${String(before)}, ${from}` : from, "X-Forwarded-Host", incoming.headers.host ?? "", "X-Forwarded-Proto", "http");
  return headers;
}

function headLines(raw: readonly string[]): string {
  let lines = "";
  for (let i = 0; i < raw.length; i += 2) lines += `${raw[i]}: ${raw[i + 1]}\r\n`;
  return lines;
}

function refuse(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", "content-length": Buffer.byteLength(text) });
  response.end(text);
}
