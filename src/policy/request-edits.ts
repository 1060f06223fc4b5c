import type { Exchange, HeaderEdits, RequestView } from "./exchange.ts";
import { mergeEdits } from "./header-edits.ts";
import { parametersOf } from "./values.ts";

/** Header edits of a request, behind those that were made before. */
export function editHeaders(exchange: Exchange, edits: Partial<HeaderEdits>): void {
  const { remove = [], set = [], add = [] } = edits;
  if (remove.length + set.length + add.length > 0) exchange.requestHeaders = mergeEdits(exchange.requestHeaders, { remove, set, add });
}

/** Takes parameters out of the query that goes on, however their names are written. */
export function dropParams(exchange: Exchange, names: readonly string[]): void {
  const query = exchange.query ?? exchange.request.query;
  if (names.length === 0 || query === "") return;
  const left = query.split("&").filter((pair) => pair === "" || !names.some((name) => parametersOf(pair).has(name))).join("&");
  if (left === query) return;
  const path = (exchange.target ?? exchange.request.path).split("?", 1)[0]!;
  exchange.query = left;
  exchange.target = left === "" ? path : `${path}?${left}`;
}

/** Takes cookies out of the request that goes on. */
export function dropCookies(exchange: Exchange, names: readonly string[]): void {
  const header = exchange.requestHeaders?.set.find(([name]) => name === "cookie")?.[1] ?? exchange.request.header("cookie");
  if (names.length === 0 || header === undefined) return;
  const left = header.split(/;\s*|,\s+/).filter((pair) => pair !== "" && !names.includes(pair.split("=", 1)[0]!.trim()));
  editHeaders(exchange, left.length === 0 ? { remove: ["cookie"] } : { set: [["cookie", left.join("; ")]] });
}

/** `x_user` and `X-User` are one header for many programs: who sets or removes one has removed both. */
const twinless = (name: string): string => name.replaceAll("_", "-");

/** A header of the request once these edits are made: as whoever is behind will see it. Its name in lower case. */
export function editedHeader(request: RequestView, edits: HeaderEdits | undefined, name: string): string | undefined {
  if (!edits) return request.header(name);
  const set = edits.set.find(([own]) => own === name);
  let value = set ? set[1] : isGone(edits, name) ? undefined : request.header(name);
  for (const [own, added] of edits.add) if (own === name) value = value === undefined ? added : `${value}, ${added}`;
  return value;
}

function isGone({ remove, set }: HeaderEdits, name: string): boolean {
  const plain = twinless(name);
  return remove.some((own) => twinless(own) === plain) || set.some(([own]) => twinless(own) === plain);
}

/**
 * The request as filters so far have left it for whoever is behind: a client's own word for what a filter has found out is not heard
 * by the filters that come next, either. Stays as it is when later filters change more.
 */
export function asLeft({ request, requestHeaders, query }: Exchange): RequestView {
  return requestHeaders === undefined && query === undefined ? request : new LeftRequest(request, requestHeaders, query ?? request.query);
}

class LeftRequest implements RequestView {
  readonly #request: RequestView;
  readonly #edits: HeaderEdits | undefined;
  readonly query: string;
  readonly headers?: () => [name: string, value: string][];

  constructor(request: RequestView, edits: HeaderEdits | undefined, query: string) {
    this.#request = request;
    this.#edits = edits;
    this.query = query;
    if (request.headers) this.headers = () => edited(request.headers!(), edits);
  }
  get method(): string {
    return this.#request.method;
  }
  get scheme(): "http" | "https" {
    return this.#request.scheme;
  }
  get host(): string {
    return this.#request.host;
  }
  get port(): number {
    return this.#request.port;
  }
  get path(): string {
    return this.#request.path;
  }
  get client(): string {
    return this.#request.client;
  }
  header(name: string): string | undefined {
    return editedHeader(this.#request, this.#edits, name);
  }
}

function edited(headers: [name: string, value: string][], edits: HeaderEdits | undefined): [name: string, value: string][] {
  if (!edits) return headers;
  return [...headers.filter(([name]) => !isGone(edits, name)), ...[...edits.set, ...edits.add].map(([name, value]): [string, string] => [name, value])];
}
