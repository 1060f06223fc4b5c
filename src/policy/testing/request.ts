import type { HttpMatch } from "../../api/traffic.ts";
import type { FakeClock } from "../../base/clock.ts";
import { seededRandom } from "../../base/random.ts";
import { localAnswer } from "../local-answer.ts";
import type { Exchange, FilterTools, Handler, HeaderEdits, LocalAnswer, RequestView, ResponseView } from "../exchange.ts";

/** What filters are given, on a clock that moves when it is told to. */
export function toolsAt(clock: FakeClock, seed = 1): FilterTools {
  return { random: seededRandom(seed), nowMs: () => clock.monotonicMs(), dateMs: () => clock.now(), setTimer: (ms, go) => clock.setTimer(ms, go) };
}

export interface RequestFields {
  method?: string;
  scheme?: "http" | "https";
  host?: string;
  port?: number;
  path?: string;
  query?: string;
  client?: string;
  headers?: Record<string, string>;
}

/** A request as the engine would show it. `target` may be given instead of path and query. */
export function requestView(fields: RequestFields & { target?: string }): RequestView {
  const { headers = {}, target } = fields;
  const [path, ...rest] = (target ?? "/").split("?");
  return {
    method: fields.method ?? "GET",
    scheme: fields.scheme ?? "http",
    host: fields.host ?? "example.com",
    port: fields.port ?? (fields.scheme === "https" ? 443 : 80),
    path: fields.path ?? path!,
    query: fields.query ?? rest.join("?"),
    client: fields.client ?? "192.0.2.1",
    header: (name) => headers[name],
    headers: () => Object.entries(headers),
  };
}

/** What became of one request that was put through a handler. */
export interface Handled {
  exchange: Exchange;
  /** Set once it was forwarded; `answer` once it was answered. */
  forwarded: boolean;
  answer: LocalAnswer | undefined;
  /** What goes on instead of the client's body. */
  replaced: string | undefined;
  /** Shows the upstream's answer to those who wanted to look at it. */
  respond(response: ResponseView): void;
  end(): void;
}

export function handle(handler: Handler, request: RequestView, found: { match?: HttpMatch | undefined; captures?: readonly string[] | undefined; body?: string | Uint8Array | undefined } = {}): Handled {
  const looks: ((response: ResponseView) => void)[] = [];
  const releases: (() => void)[] = [];
  const exchange: Exchange = {
    request,
    host: undefined,
    target: undefined,
    query: undefined,
    caller: undefined,
    requestHeaders: undefined,
    responseHeaders: undefined,
    upstream: undefined,
    mirrors: undefined,
    bodyBytesMax: undefined,
    match: found.match,
    captures: found.captures,
    onResponse: (look) => void looks.push(look),
    onEnd: (release) => void releases.push(release),
    readBody: (bytesMax, then) => {
      const body = Buffer.from(found.body ?? "");
      if (body.length <= bytesMax) then(body);
      else handled.answer = localAnswer(request, "BL", `the body is larger than ${bytesMax} bytes`);
    },
    replaceBody: (body) => void (handled.replaced = Buffer.from(body).toString("utf8")),
    hold: () => true,
    takeAnswer: () => {},
  };
  const handled: Handled = {
    exchange,
    forwarded: false,
    answer: undefined,
    replaced: undefined,
    respond: (response) => looks.splice(0).forEach((look) => look(response)),
    end: () => releases.splice(0).forEach((release) => release()),
  };
  const once = () => {
    if (handled.forwarded || handled.answer) throw new Error("a request was let go twice");
  };
  handler(exchange, {
    forward: () => {
      once();
      handled.forwarded = true;
    },
    answer: (_, answer) => {
      once();
      handled.answer = answer;
    },
  });
  return handled;
}

/** Applies edits to headers as the engine does: remove, set, add; added values joined as repeated headers are. */
export function edited(headers: Record<string, string>, edits: HeaderEdits | undefined): Record<string, string> {
  const result = { ...headers };
  for (const name of edits?.remove ?? []) delete result[name];
  for (const [name, value] of edits?.set ?? []) result[name] = value;
  for (const [name, value] of edits?.add ?? []) result[name] = result[name] === undefined ? value : `${result[name]}, ${value}`;
  return result;
}
