import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from "node:http";
import { type Duplex, pipeline } from "node:stream";
import { serviceUnavailableError } from "../../api/status.ts";
import type { Request, Response } from "./exchange.ts";

/** Of one connection, and not of what it carries. */
const hopByHop = /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|http2-settings|:.*)$/;
/** Who asks was settled with us; nobody behind us is shown the caller's token. */
const credentials = /^(authorization|impersonate-.*|x-remote-.*)$/;

/** What of a client's headers may go on to somebody else. The host is the caller's to set. */
export function forwardedHeaders(request: Request): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(request.headers).filter(([name]) => name !== "host" && !hopByHop.test(name) && !credentials.test(name)));
}

/** What the client takes us for. */
export const hostOf = (request: Request): string => String(request.headers.host ?? request.headers[":authority"] ?? "");

export interface PassOn {
  path: string;
  headers: OutgoingHttpHeaders;
  /** Looks at the answer before it goes back: changes its headers, and may give what its body passes through. */
  answered?: (answer: IncomingMessage, headers: OutgoingHttpHeaders) => Duplex[];
}

/**
 * Passes a request on over a connection that is made for it, and its answer back, as streams: a slow reader slows the
 * writer, whoever goes takes the other with him. Rejects with a StatusError as long as nothing was answered.
 */
export function passOn(socket: Duplex, request: Request, response: Response, { path, headers, answered }: PassOn): Promise<void> {
  return new Promise((resolve, reject) => {
    // A body whose length nobody has told, with a method for which Node expects none, would be taken for the next request.
    const isCounted = request.headers["content-length"] !== undefined;
    const mayHaveBody = isCounted || request.headers["transfer-encoding"] !== undefined || (request.httpVersionMajor === 2 && !/^(GET|HEAD)$/.test(request.method ?? "GET"));
    const outgoing = httpRequest({ createConnection: () => socket, method: request.method ?? "GET", path, headers: { ...headers, ...(mayHaveBody && !isCounted && { "transfer-encoding": "chunked" }) } });
    response.once("close", () => {
      outgoing.destroy();
      socket.destroy();
      resolve();
    });
    outgoing.once("error", (error) => {
      if (response.headersSent) return cutOff();
      socket.destroy();
      reject(serviceUnavailableError(`error trying to reach service: ${error.message}`));
    });
    outgoing.once("response", (answer) => {
      const passed: OutgoingHttpHeaders = Object.fromEntries(Object.entries(answer.headers).filter(([name, value]) => value !== undefined && !hopByHop.test(name)));
      const through = answered?.(answer, passed) ?? [];
      (response as unknown as { writeHead(code: number, headers: object): void }).writeHead(answer.statusCode ?? 502, passed);
      // A watch's first line may be long in coming: who waits shall know that it has begun.
      (response as { flushHeaders?: () => void }).flushHeaders?.();
      const last = through.at(-1) ?? answer;
      if (through.length > 0) pipeline([answer, ...through], (error) => error && cutOff());
      else answer.once("error", cutOff);
      // Not pipeline(): an answer over HTTP/2 is no stream of Node's.
      last.pipe(response as never);
    });
    // What was begun cannot be taken back: the client sees that its end is missing.
    function cutOff(): void {
      socket.destroy();
      (response as { destroy(): unknown }).destroy();
    }
    if (mayHaveBody) (request as IncomingMessage).pipe(outgoing);
    else {
      request.resume();
      outgoing.end();
    }
  });
}

/** After the handshake bytes pass both ways unread. */
export function passUpgradeOn(socket: Duplex, request: IncomingMessage, client: Duplex, head: Buffer, { path, headers }: Omit<PassOn, "answered">): void {
  const sent = { ...headers, connection: "Upgrade", upgrade: request.headers.upgrade };
  const lines = Object.entries(sent).flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).map((one) => `${name}: ${String(one).replaceAll(/[\r\n]/g, " ")}`));
  socket.write(`${request.method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
  if (head.length > 0) socket.write(head);
  pipeline(client, socket, () => socket.destroy());
  pipeline(socket, client, () => client.destroy());
}
