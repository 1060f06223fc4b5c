import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";

export const doors = ["gateway", "listener", "preload"] as const;
export type Door = (typeof doors)[number];

/** One `== TITLE` of a table; see README.md. */
export interface Case {
  title: string;
  isSample: boolean;
  /** Name of its own Service. */
  name: string;
  objects: { service?: { select?: Record<string, string>; port?: string; refuses?: boolean; affinity?: boolean }; route?: unknown[]; gateway?: unknown[]; mesh?: unknown[]; destination?: object; policy?: object };
  /** Whether a meshed program has a way of its own; undefined: for some of its calls. */
  isDirect: boolean | undefined;
  lines: Line[];
}
export type Line = { type: "label"; text: string; pod: string; label: string; value: string | null } | Call;
export interface Call {
  type: "call";
  text: string;
  doors: readonly Door[];
  isAwaited: boolean;
  method: string;
  /** Of another Service. */
  service?: string;
  path: string;
  times: number;
  atOnce: boolean;
  headers: Record<string, string>;
  /** With which the caller itself is called. */
  incoming: Record<string, string>;
  expected: string[];
}

export function readTables(folder: string): Case[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(".txt"))
    .sort()
    .flatMap((file) => readFileSync(join(folder, file), "utf8").split(/^== /m).slice(1).map((block, index) => readCase(block, `${file.slice(0, -".txt".length)}-${index + 1}`)));
}

function readCase(block: string, name: string): Case {
  const [head = "", ...rest] = block.split("\n");
  const at = rest.indexOf("--");
  assert.ok(at >= 0, `${head}: no line of two dashes before the calls`);
  const objects = (load(rest.slice(0, at).join("\n").replaceAll("$SELF", name)) ?? {}) as Case["objects"] & { direct?: boolean | "partly" };
  const { direct = false, ...others } = objects;
  const [, title, sample] = /^(.*?)( \(sample\))?$/.exec(head)!;
  const lines: Line[] = [];
  let reason = "";
  for (const text of rest.slice(at + 1)) {
    if (text.startsWith("# ")) reason = text;
    if (text === "" || text.startsWith("#")) continue;
    const line = readLine(text);
    if (line.type === "call" && line.doors.length < doors.length) assert.notEqual(reason, "", `${title}: what differs by the door needs a reason above it: ${text}`);
    else reason = "";
    lines.push(line);
  }
  return { title: title!, isSample: sample !== undefined, name, objects: others, isDirect: direct === "partly" ? undefined : direct, lines };
}

function readLine(text: string): Line {
  const label = /^label ([\w-]+) ([\w-]+)(?:=([\w-]+)|-)$/.exec(text);
  if (label) return { type: "label", text, pod: label[1]!, label: label[2]!, value: label[3] ?? null };
  const [, only, awaited, method, service, path, times = "1", atOnce, fields, incoming, expected] =
    /^(?:([a-z, ]+): )?(until )?([A-Z]+) (?:@([\w-]+))?(\/\S*)(?: x(\d+))?( at once)?(?: \[(.*?)\])?(?: when called with \[(.*?)\])? -> (.+)$/.exec(text) ?? assert.fail(`not understood: ${text}`);
  const chosen = only === undefined ? doors : only.split(/, */).map((name) => doors.find((door) => door === name) ?? assert.fail(`no such door: ${text}`));
  return { type: "call", text, doors: chosen, isAwaited: awaited !== undefined, method: method!, ...(service !== undefined && { service }), path: path!, times: Number(times), atOnce: atOnce !== undefined, headers: readFields(fields), incoming: readFields(incoming), expected: expected!.match(/(?:[^\s"]|"[^"]*")+/g)! };
}

const readFields = (text = ""): Record<string, string> => Object.fromEntries(text.split("; ").filter(Boolean).map((field): [string, string] => [field.slice(0, field.indexOf(":")), field.slice(field.indexOf(":") + 1).trim()]));

export interface Answer {
  error?: string;
  status?: number;
  headers?: Record<string, string>;
  text?: string;
  remotePort?: number;
  ms: number;
}
interface Said {
  pod?: string;
  version?: string;
  method?: string;
  path?: string;
  headers?: Record<string, string>;
  tries?: number;
}

const errors: Record<string, string> = { ECONNREFUSED: "refused", ECONNRESET: "reset" };

/** What is otherwise than a line says; undefined: nothing is. */
export function difference(expected: readonly string[], answers: readonly Answer[]): string | undefined {
  const said = answers.map(({ text = "" }): Said => {
    try {
      return JSON.parse(text) as Said;
    } catch {
      return {};
    }
  });
  const words = answers.map(({ status, error }, index) => [String(status ?? errors[error ?? ""] ?? error), said[index]!.pod, said[index]!.version]);
  const tell = (): string => answers.slice(0, 5).map(({ status, error, text, headers, ms, remotePort }) => `\n  ${status ?? error} from port ${remotePort} after ${ms.toFixed(0)} ms ${text} ${JSON.stringify(headers)}`).join("");
  const all = (token: string, wanted: string, found: (index: number) => string | undefined): string | undefined => {
    const other = answers.findIndex((_, index) => (found(index) ?? "-") !== wanted);
    return other < 0 ? undefined : `${token}: found ${found(other) ?? "-"}${tell()}`;
  };
  const judge = (token: string): string | undefined => {
    const [, name = "", value = ""] = /^([^=]+)=(.*)$/.exec(token) ?? [];
    const text = value.replace(/^"(.*)"$/, "$1");
    if (token === "same") return new Set(said.map(({ pod }) => pod)).size === 1 ? undefined : `${token}${tell()}`;
    const least = /^ms>=(\d+)$/.exec(token);
    if (least) return answers.every(({ ms }) => ms >= Number(least[1])) ? undefined : `${token}${tell()}`;
    if (name === "path") return all(token, text, (index) => said[index]!.path);
    if (name === "method") return all(token, text, (index) => said[index]!.method);
    if (name === "tries") return all(token, text, (index) => String(said[index]!.tries));
    if (name === "body") return all(token, text, (index) => answers[index]!.text?.trim());
    if (name.startsWith("got:")) return all(token, text.replace(/^'(.*)'$/, "$1"), (index) => said[index]!.headers?.[name.slice("got:".length)]?.replace(/-[0-9a-f]{16}-/, text.includes("-SPAN-") ? "-SPAN-" : "$&"));
    if (name.startsWith("answer:")) return all(token, text, (index) => answers[index]!.headers?.[name.slice("answer:".length)]);
    const counted = /^(\d+)(?:\.\.(\d+))?$/.exec(value);
    if (counted) {
      const found = words.filter((list) => list.includes(name)).length;
      return found >= Number(counted[1]) && found <= Number(counted[2] ?? counted[1]) ? undefined : `${token}: ${found}${tell()}`;
    }
    if (name !== "") return `not understood: ${token}`;
    const other = words.find((list) => !list.includes(token));
    return other && `${token}: found ${other[0]} of ${other[1] ?? "nobody"}${tell()}`;
  };
  for (const token of expected) {
    const found = judge(token);
    if (found !== undefined) return found;
  }
  return undefined;
}
