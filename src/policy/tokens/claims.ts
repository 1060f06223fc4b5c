import type { TokenRule } from "../../api/guard.ts";
import { isObject } from "../../base/is-object.ts";
import type { Believed, Claims } from "./verify.ts";

/** What is told to the program behind, in headers. Whatever these are called, only a believed token says it. */
export function headersFor({ payloadHeader, claimHeaders = [] }: Pick<TokenRule, "payloadHeader" | "claimHeaders">, { claims, payload }: Believed): [string, string][] {
  const set: [string, string][] = payloadHeader === undefined ? [] : [[payloadHeader.toLowerCase(), payload]];
  for (const { header, claim } of claimHeaders) {
    const value = claimAt(claims, claim);
    if (value === undefined || value === null) continue;
    const text = typeof value === "string" ? value : typeof value === "object" ? Buffer.from(JSON.stringify(value)).toString("base64") : String(value);
    // What no header can hold is left out; other letters than ASCII's go on as UTF-8, of which a header's text has one character a byte.
    if (!/\p{Cc}/u.test(text)) set.push([header.toLowerCase(), Buffer.from(text).toString("latin1")]);
  }
  return set;
}
/** "realm.roles" is inside, unless there is a claim of that very name. */
export const claimAt = (claims: Claims, path: string): unknown => (Object.hasOwn(claims, path) ? claims[path] : path.split(".").reduce<unknown>((value, part) => (isObject(value) && Object.hasOwn(value, part) ? value[part] : undefined), claims));

/** Names in lower case of all headers that {@link headersFor} may set: nobody says for himself what only a believed token may say. */
export const headersOf = ({ payloadHeader, claimHeaders = [] }: Pick<TokenRule, "payloadHeader" | "claimHeaders">): string[] => [...(payloadHeader === undefined ? [] : [payloadHeader]), ...claimHeaders.map(({ header }) => header)].map((name) => name.toLowerCase());

/** Claims that are lists with spaces between, as lists. */
export function withLists(claims: Claims, more: readonly string[]): Claims {
  const lists = ["scope", "permission", ...more].filter((name) => typeof claims[name] === "string");
  return lists.length === 0 ? claims : { ...claims, ...Object.fromEntries(lists.map((name) => [name, (claims[name] as string).split(" ").filter(Boolean)])) };
}
