import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";

/** A policy as a case writes it: its spec's own fields beside these. */
export interface ShortPolicy {
  kind: string;
  name: string;
  at?: string;
  [field: string]: unknown;
}
/** One `== TITLE`; see README.md. */
export interface Case {
  title: string;
  isSample: boolean;
  /** Of its Gateway and its route, and what its policies' names begin with. */
  name: string;
  objects: { rules?: object[]; labels?: Record<string, string>; policies?: ShortPolicy[]; objects?: object[]; secure?: boolean; needs?: string };
  lines: Line[];
}
export type Line = Call | { type: "while"; text: string; call: Call } | { type: "done"; text: string } | { type: "put"; text: string; policy: ShortPolicy } | { type: "delete"; text: string; name: string } | { type: "status"; text: string; name: string; expected: string[] };
export interface Call {
  type: "call";
  text: string;
  isAwaited: boolean;
  listener: "web" | "inner" | "secure";
  method: string;
  path: string;
  times: number;
  atOnce: boolean;
  headers: [name: string, value: string][];
  expected: string[];
}

/** `words`: what stands for something, such as $KEYS. */
export function readTables(folder: string, words: Record<string, string>): Case[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(".txt"))
    .sort()
    .flatMap((file) => readFileSync(join(folder, file), "utf8").split(/^== /m).slice(1).map((block, index) => readCase(block, `${file.slice(0, -".txt".length)}-${index + 1}`, words)));
}

function readCase(block: string, name: string, words: Record<string, string>): Case {
  const [head = "", ...rest] = block.replaceAll("$SELF", name).split("\n");
  const at = rest.indexOf("--");
  assert.ok(at >= 0, `${head}: no line of two dashes before what is asked`);
  const [, title, sample] = /^(.*?)( \(sample\))?$/.exec(head)!;
  const lines = rest.slice(at + 1).filter((text) => text !== "" && !text.startsWith("#")).map((text) => readLine(text, words));
  return { title: title!, isSample: sample !== undefined, name, objects: filled((load(rest.slice(0, at).join("\n")) ?? {}) as Case["objects"], words), lines };
}

function readLine(text: string, words: Record<string, string>): Line {
  const [, verb, more = ""] = /^(put|delete|status) (.*)$/.exec(text) ?? [];
  if (verb === "put") return { type: "put", text, policy: filled(load(more) as ShortPolicy, words) };
  if (verb === "delete") return { type: "delete", text, name: more };
  if (text === "done") return { type: "done", text };
  if (text.startsWith("while ")) return { type: "while", text, call: readLine(text.slice("while ".length), words) as Call };
  if (verb === "status") {
    const [, name, expected] = /^(\S+) -> (.+)$/.exec(more) ?? assert.fail(`not understood: ${text}`);
    return { type: "status", text, name: name!, expected: tokens(expected!) };
  }
  // The longer names first.
  const said = Object.entries(words).sort(([a], [b]) => b.length - a.length).reduce((line, [word, value]) => line.replaceAll(word, () => value), text);
  const [, awaited, listener = "web", method, path, times = "1", atOnce, fields = "", expected] = /^(until )?(?:(inner|secure): )?([A-Z]+) (\/\S*)(?: x(\d+))?( at once)?(?: \[(.*?)\])? -> (.+)$/.exec(said) ?? assert.fail(`not understood: ${text}`);
  const headers = fields.split("; ").filter(Boolean).map((field): [string, string] => [field.slice(0, field.indexOf(":")), field.slice(field.indexOf(":") + 1).trim()]);
  return { type: "call", text, isAwaited: awaited !== undefined, listener: listener as Call["listener"], method: method!, path: path!, times: Number(times), atOnce: atOnce !== undefined, headers, expected: tokens(expected!) };
}

const tokens = (text: string): string[] => text.match(/(?:[^\s"]|"[^"]*")+/g)!;

/** "$KEYS" wherever it is a whole text. */
function filled<T>(value: T, words: Record<string, string>): T {
  return JSON.parse(JSON.stringify(value), (_, inner: unknown) => (typeof inner === "string" && Object.hasOwn(words, inner) ? words[inner] : inner)) as T;
}
