import type { HashBy } from "../../api/traffic.ts";
import { type Random, randomInt } from "../../base/random.ts";
import type { RequestView } from "../exchange.ts";
import { hash } from "../hash.ts";
import { cookieValue, queryValue } from "../values.ts";
import type { ClientCookie } from "./balancer.ts";

/**
 * The number that decides. A request without what is asked for goes anywhere; where a cookie has a `maxAgeSeconds`, it gets
 * one, so that from then on it goes to the same.
 */
export function hashKey(by: HashBy, random: Random): (request: RequestView | undefined, cookie: (cookie: ClientCookie) => void) => number {
  const anywhere = () => randomInt(random, 2 ** 32);
  const of = (value: string | undefined) => (value === undefined || value === "" ? anywhere() : hash(value));
  if (by === "address") return (request) => of(request?.client);
  if ("header" in by) {
    const name = by.header.toLowerCase();
    return (request) => of(request?.header(name));
  }
  if ("query" in by) return (request) => of(request && queryValue(request.query, by.query));
  const { cookie: name, maxAgeSeconds } = by;
  return (request, give) => {
    const value = request && cookieValue(request.header("cookie"), name);
    if (value !== undefined && value !== "") return hash(value);
    if (maxAgeSeconds === undefined || !request) return anywhere();
    const made = [0, 0].map(() => anywhere().toString(16).padStart(8, "0")).join("");
    // 0: as long as the browser's session.
    give({ name, value: made, ...(maxAgeSeconds > 0 && { maxAgeSeconds }) });
    return hash(made);
  };
}
