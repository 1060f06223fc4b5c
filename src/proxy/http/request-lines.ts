import type { RequestLines } from "./compose.ts";
import { newRequestId } from "./compose.ts";
import type { HttpExchange } from "./exchange.ts";
import type { Head } from "./head.ts";
import { forwardsLeft } from "./own-answer.ts";
import type { Listener } from "./routing.ts";

/** What the upstream's head says. */
export function requestLines(exchange: HttpExchange, upgrade: boolean): RequestLines {
  const { client, head, request } = exchange;
  const { listener, address } = client;
  return {
    method: exchange.method,
    host: exchange.host,
    target: exchange.target,
    edits: forwardsLeft(request, exchange.requestHeaders),
    client: exchange.met?.trusted && head.forwardedForField >= 0 && !exchange.met.by.appends ? "" : address,
    scheme: request.scheme,
    port: listener.port,
    version: client.protocol === "HTTP/2" ? "2.0" : head.minorVersion === 0 ? "1.0" : "1.1",
    trusted: listener.trusted || exchange.met?.trusted === true,
    isTransparent: listener.isTransparent,
    isAsItCame: exchange.isAsItCame,
    requestId: listener.isTransparent ? "" : exchange.requestId,
    framing: exchange.framing,
    length: exchange.length,
    upgrade,
  };
}

/** "h2c" would lead past every rule (RFC 9113 dropped it); and what is a tunnel must not have a body first. */
export function asksForUpgrade(head: Head, hasNoBody: boolean): boolean {
  return head.connectionUpgrade && head.upgradeField >= 0 && head.minorVersion === 1 && hasNoBody && !/(^|,)\s*h2c?\s*(,|$)/i.test(head.valueAt(head.upgradeField));
}

/** The client's own where it is believed. */
export function requestIdOf(head: Head, listener: Listener): string {
  const given = listener.trusted && head.requestIdField >= 0 ? head.valueAt(head.requestIdField) : "";
  return given !== "" && /^[\w.~:+/=@-]{1,128}$/.test(given) ? given : newRequestId();
}
