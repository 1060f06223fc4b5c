import type { HeaderChange } from "../api/traffic.ts";
import type { HeaderEdits } from "./exchange.ts";
import { PolicyError } from "./policy-error.ts";

/** Those that say where a message ends, or belong to one connection: whoever could change them could smuggle requests. */
const framing = new Set(["connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]);
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
// Controls but tab; what is beyond Latin-1 cannot be a byte of a header.
const badValue = /[^\t\x20-\x7e\x80-\xff]/;

/** A filter's headers in the form that is applied. Of several entries with one name the first counts. @throws PolicyError */
export function compileEdits(change: HeaderChange): HeaderEdits {
  const pairs = (field: "set" | "add") => {
    const seen = new Set<string>();
    return (change[field] ?? []).flatMap(({ name, value }, i): [string, string][] => {
      const lower = checkedName(name, `${field}[${i}].name`);
      if (badValue.test(value)) throw new PolicyError(`${field}[${i}].value`, value, "must be visible characters, spaces and tabs");
      if (seen.has(lower)) return [];
      seen.add(lower);
      return [[lower, value]];
    });
  };
  return { remove: (change.remove ?? []).map((name, i) => checkedName(name, `remove[${i}]`)), set: pairs("set"), add: pairs("add") };
}

export const isHeaderName = (name: string): boolean => token.test(name);
export const isHeaderValue = (value: string): boolean => !badValue.test(value);
/** It says where a message ends, or belongs to one connection. */
export const isConnectionHeader = (name: string): boolean => framing.has(name.toLowerCase());

function checkedName(name: string, field: string): string {
  if (!token.test(name)) throw new PolicyError(field, name, "must be the name of a header");
  const lower = name.toLowerCase();
  if (framing.has(lower)) throw new PolicyError(field, name, "belongs to the connection, which a route cannot change");
  return lower;
}

/** What is left to do when `first` and then `second` are applied. */
export function mergeEdits(first: HeaderEdits | undefined, second: HeaderEdits): HeaderEdits {
  if (!first) return second;
  const gone = (name: string) => second.remove.includes(name);
  const over = (name: string) => gone(name) || second.set.some(([other]) => other === name);
  return {
    remove: [...first.remove, ...second.remove.filter((name) => !first.remove.includes(name))],
    set: [...first.set.filter(([name]) => !over(name)), ...second.set],
    add: [...first.add.filter(([name]) => !over(name)), ...second.add],
  };
}
