import { networkInterfaces } from "node:os";
import type { Answer } from "./ask.ts";
import type { Seen } from "./backends.ts";

/** What came of a request: the answer, and what programs behind the gateway were asked. */
export interface Outcome {
  answer: Answer;
  seen: Seen[];
}

/** Framing, time, and what each gateway says of itself. */
const noise = /^(date|server|connection|keep-alive|transfer-encoding|content-length|x-envoy-.*|x-request-id)$/;

/** Told to programs and clients here, and not by Envoy unless its client said them. */
const ours = ["via", "x-forwarded-host", "x-forwarded-port"];
/** For a client on loopback Envoy writes an address of its own machine. */
const ownAddresses = new Set(Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address)));
const onLoopback = (value: string): string => value.replace(/[^, &]+$/, (last) => (ownAddresses.has(last) ? "127.0.0.1" : last));

/** Lines "FIELD: ENVOY'S | OURS", one a difference. */
export function differences(envoy: Outcome, wherry: Outcome, texts: boolean): string[] {
  const lines: string[] = [];
  const compare = (field: string, theirs: string | undefined, own: string | undefined): void => {
    if (theirs !== own) lines.push(`${field}: ${brief(theirs)} | ${brief(own)}`);
  };
  compare("status", String(envoy.answer.status), String(wherry.answer.status));
  const [theirs, own] = [fieldsOf(envoy.answer.headers), fieldsOf(wherry.answer.headers)];
  for (const name of ours) if (!theirs.has(name)) own.delete(name);
  // A realm is anybody's to name, Envoy tells of local limits what is not told here, and not that an answer is for one origin.
  for (const fields of [theirs, own]) {
    const challenge = fields.get("www-authenticate");
    if (challenge !== undefined) fields.set("www-authenticate", challenge.replace(/realm="[^"]*"/, "realm"));
    const vary = fields.get("vary")?.split(/, *| & /).filter((name) => name.toLowerCase() !== "origin").join(", ");
    if (vary !== undefined) fields.set("vary", vary);
    if (vary === "") fields.delete("vary");
    for (const name of fields.keys()) if (/^(x-ratelimit-.*|retry-after)$/.test(name)) fields.delete(name);
  }
  // The text of an answer that a gateway gives by itself is its own.
  const isTold = texts || (envoy.seen.some(({ service }) => service !== "auth") && envoy.answer.status < 400);
  for (const name of namesOf(theirs, own)) if (isTold || name !== "content-type") compare(`answer ${name}`, theirs.get(name), own.get(name));
  if (isTold) compare("body", envoy.answer.body, wherry.answer.body);
  compare("asked", envoy.seen.map(({ service }) => service).join(" "), wherry.seen.map(({ service }) => service).join(" "));
  for (const [i, asked] of envoy.seen.entries()) {
    const other = wherry.seen[i];
    if (!other || other.service !== asked.service) break;
    const at = envoy.seen.length === 1 ? "seen" : `seen ${i + 1}`;
    compare(`${at} line`, `${asked.method} ${asked.target}`, `${other.method} ${other.target}`);
    compare(`${at} body`, asked.body, other.body);
    const [there, here] = [fieldsOf(asked.headers), fieldsOf(other.headers)];
    const forwarded = there.get("x-forwarded-for");
    if (forwarded !== undefined) there.set("x-forwarded-for", onLoopback(forwarded.replaceAll(/ *, */g, ", ")));
    const told = here.get("x-forwarded-for");
    if (told !== undefined) here.set("x-forwarded-for", told.replaceAll(/ *, */g, ", "));
    for (const name of ours) if (!there.has(name)) here.delete(name);
    for (const name of namesOf(there, here)) compare(`${at} ${name}`, there.get(name), here.get(name));
  }
  return lines;
}

const namesOf = (...maps: Map<string, string>[]): string[] => [...new Set(maps.flatMap((map) => [...map.keys()]))].sort();

function fieldsOf(headers: readonly [string, string][]): Map<string, string> {
  const fields = new Map<string, string>();
  for (const [given, value] of headers) {
    const name = given.toLowerCase();
    if (noise.test(name)) continue;
    const before = fields.get(name);
    fields.set(name, before === undefined ? value : `${before} & ${value}`);
  }
  return fields;
}

/** Tokens are new with each run. */
const brief = (given: string | undefined): string => shortened(given?.replaceAll(/eyJ[\w.-]+/g, "TOKEN"));
const shortened = (value: string | undefined): string => (value === undefined ? "-" : value.length > 160 ? `${value.slice(0, 160)}… of ${value.length}` : value.replaceAll("\n", "\\n"));
