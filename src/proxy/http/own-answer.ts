import type { HeaderEdits, LocalAnswer, RequestView } from "../../policy/exchange.ts";
import { mergeEdits } from "../../policy/header-edits.ts";
import { localAnswer } from "../../policy/local-answer.ts";
import type { Head } from "./head.ts";
import type { Listener } from "./routing.ts";

const methods: [name: string, value: string][] = [["allow", "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"]];
/** Gateways before gateways are few; so many are a circle. */
const passesMax = 10;

/** What is answered before any route is asked, because HTTP says so (RFC 9110); undefined: nothing is. */
export function ownAnswer(request: RequestView, head: Head, listener: Listener): LocalAnswer | undefined {
  // "*" asks whoever is asked (§9.3.7), and so does what may go no further (§7.6.2).
  if (head.asterisk) return localAnswer(request, "DR", "OPTIONS * asks the gateway itself", { status: 204, headers: methods });
  if (isOptions(request) && maxForwards(request) === 0) return localAnswer(request, "DR", "OPTIONS may go no further: Max-Forwards is 0", { status: 204, headers: methods });
  // It shows a browser's script what it must not see (§9.3.8).
  if (request.method === "TRACE") return localAnswer(request, "DR", "TRACE is not served here", { status: 405, headers: methods });
  if (head.passes >= passesMax) return localAnswer(request, "LD", `Via says that the request has been here ${head.passes} times`);
  // §7.4: whoever asks for what is secured over what is not has lost his way.
  if (head.absolute && listener.scheme === "http" && !listener.trusted && /^https$/i.test(head.bytes.latin1Slice(head.base + head.targetStart, head.base + head.targetStart + 5))) return localAnswer(request, "MD", "an address of https cannot be asked for over a connection that is not secured");
  return undefined;
}

/** `edits`, and the request's Max-Forwards less one where it counts. */
export function forwardsLeft(request: RequestView, edits: HeaderEdits | undefined): HeaderEdits | undefined {
  const left = isOptions(request) ? maxForwards(request) : undefined;
  return left === undefined ? edits : mergeEdits({ remove: [], set: [["max-forwards", String(Math.max(0, left - 1))]], add: [] }, edits ?? { remove: [], set: [], add: [] });
}

const isOptions = ({ method }: RequestView): boolean => method === "OPTIONS";
function maxForwards(request: RequestView): number | undefined {
  const value = request.header("max-forwards");
  return value !== undefined && /^\d{1,9}$/.test(value) ? Number(value) : undefined;
}
