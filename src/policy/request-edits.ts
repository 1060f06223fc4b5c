import type { Exchange, HeaderEdits, RequestView } from "./exchange.ts";
import { mergeEdits } from "./header-edits.ts";

/** Header edits of a request, behind those that were made before. */
export function editHeaders(exchange: Exchange, edits: Partial<HeaderEdits>): void {
  const { remove = [], set = [], add = [] } = edits;
  if (remove.length + set.length + add.length > 0) exchange.requestHeaders = mergeEdits(exchange.requestHeaders, { remove, set, add });
}

/** Takes parameters out of the query that goes on, however their names are written. */
export function dropParams(exchange: Exchange, names: readonly string[]): void {
  const query = exchange.query ?? exchange.request.query;
  if (names.length === 0 || query === "") return;
  const left = query.split("&").filter((pair) => pair === "" || !names.some((name) => new URLSearchParams(pair).has(name))).join("&");
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

/** A header of the request once these edits are made: as whoever is behind will see it. Its name in lower case. */
export function editedHeader(request: RequestView, edits: HeaderEdits | undefined, name: string): string | undefined {
  if (!edits) return request.header(name);
  const set = edits.set.find(([own]) => own === name);
  let value = set ? set[1] : edits.remove.includes(name) ? undefined : request.header(name);
  for (const [own, added] of edits.add) if (own === name) value = value === undefined ? added : `${value}, ${added}`;
  return value;
}
