import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { Request, Response } from "../http/exchange.ts";
import type { Identity } from "../rest/context.ts";
import type { Aggregator, Foreign } from "./aggregator.ts";
import { forward, forwardUpgrade } from "./proxy.ts";

/** Bare text, as upstream's aggregator answers for a server that is not there. */
const unavailable = "service unavailable\n";

export async function serveForeign(aggregator: Aggregator, foreign: Foreign, user: Identity, request: Request, response: Response): Promise<void> {
  if (!foreign.available) {
    request.resume();
    (response as unknown as { writeHead(code: number, headers: object): void }).writeHead(503, { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff", "content-length": unavailable.length });
    response.end(unavailable);
    return;
  }
  await forward(aggregator.dial, foreign.server, await aggregator.frontProxy(), user, request, response);
}

export async function serveForeignUpgrade(aggregator: Aggregator, foreign: Foreign, user: Identity, request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
  if (!foreign.available) return void socket.end(`HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${unavailable.length}\r\nConnection: close\r\n\r\n${unavailable}`);
  await forwardUpgrade(aggregator.dial, foreign.server, await aggregator.frontProxy(), user, request, socket, head);
}
