import { controlOf } from "./directives.ts";
import { type Fields, initialAgeMs, lifetimeMs, type Times } from "./rules.ts";
import type { Entry } from "./store.ts";

export const fieldsOf = (headers: readonly (readonly [name: string, value: string])[]): Fields => ({
  get(name) {
    let found: string | undefined;
    for (const [known, value] of headers) if (known === name) found = found === undefined ? value : `${found}, ${value}`;
    return found;
  },
});

/** In memory of its own: a slice of a pool would hold on to what is around it. */
export function joined(pieces: readonly Uint8Array[], length: number): Uint8Array {
  const whole = Buffer.allocUnsafeSlow(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** What asks whether it is still so. */
export function validatorsOf({ headers }: Entry): [string, string][] {
  const fields = fieldsOf(headers);
  const [etag, modified] = [fields.get("etag"), fields.get("last-modified")];
  return [...(etag === undefined ? [] : [["if-none-match", etag] as [string, string]]), ...(modified === undefined ? [] : [["if-modified-since", modified] as [string, string]])];
}

/** What is kept of an answer. */
export function madeOf(status: number, headers: readonly [string, string][], body: Uint8Array, times: Times, ttlMs: number, vary: Entry["vary"], origin: Entry["origin"]): Omit<Entry, "size"> {
  const fields = fieldsOf(headers);
  const own = headers.filter(([name]) => name !== "age" && name !== "cache-status");
  // Who has a clock says when what has no date came (RFC 9110 §6.6.1).
  if (fields.get("date") === undefined) own.push(["date", new Date(times.answeredAt).toUTCString()]);
  return { status, headers: own, body, answeredAt: times.answeredAt, initialAgeMs: initialAgeMs(fields, times), lifetimeMs: lifetimeMs(status, fields, times.answeredAt, ttlMs), directives: controlOf(fields).directives, vary, origin };
}
/** Fields of a 304 take the place of those that were kept. Source: RFC 9111 §3.2. */
export function freshened(entry: Entry, headers: readonly [string, string][], times: Times, ttlMs: number): Omit<Entry, "size"> {
  const told = headers.filter(([name]) => !/^content-(?:encoding|type|range|length)$/.test(name));
  const names = new Set(told.map(([name]) => name));
  return madeOf(entry.status, [...entry.headers.filter(([name]) => !names.has(name)), ...told], entry.body, times, ttlMs, entry.vary, entry.origin);
}
