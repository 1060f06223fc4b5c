import { isIP } from "node:net";
import type { StringMatch } from "../../../api/istio/kinds.ts";
import { lazyModule } from "../../../base/lazy.ts";

const re2 = lazyModule<typeof import("re2js")>(import.meta.url, "re2js");

/** As Go prints %q. */
export const quoted = (text: string): string => JSON.stringify(text);

const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
export const isLabel = (text: string): boolean => text.length <= 63 && label.test(text);

/** A host name, or one whose first part is "*". */
export function* domainProblems(host: string, wildcard = true): Generator<string> {
  if (isIP(host) !== 0) return;
  if (host.length > 255) yield `domain name ${quoted(host)} too long (max 255)`;
  else if (host === "") yield "empty domain name not allowed";
  else {
    const parts = host.replace(/\.$/, "").split(".");
    for (const [i, part] of parts.entries()) {
      if (i === 0 && wildcard && (part === "*" || /^\*[-a-zA-Z0-9]*$/.test(part))) continue;
      if (!/^[a-zA-Z0-9_]([-_a-zA-Z0-9]*[a-zA-Z0-9_])?$/.test(part) || part.length > 63) return yield `domain name ${quoted(host)} invalid (label ${quoted(part)} invalid)`;
    }
  }
}

export function* portProblems(port: number): Generator<string> {
  if (port < 1 || port > 65_535) yield `port number ${port} must be in the range 1..65535`;
}

export function* subsetNameProblems(name: string): Generator<string> {
  if (name === "") yield "subset name cannot be empty";
  else if (!isLabel(name)) yield `subset name is invalid: ${name}`;
}

export function* regexProblems(source: string, where: string): Generator<string> {
  if (source.length > 1024) return yield `${quoted(where)}: regex is too large, max length allowed is 1024`;
  try {
    re2().RE2JS.compile(source);
  } catch (error) {
    yield `${quoted(where)}: ${(error as Error).message}; Istio uses RE2 style regex-based match (https://github.com/google/re2/wiki/Syntax)`;
  }
}

export function* stringMatchProblems(match: StringMatch | undefined, where: string, prefix = true): Generator<string> {
  if (match?.prefix === "" && prefix) yield `${quoted(where)}: prefix string match should not be empty`;
  else if (match?.regex === "") yield `${quoted(where)}: regex string match should not be empty`;
  else if (match?.regex !== undefined) yield* regexProblems(match.regex, where);
}

export function* percentProblems({ value = 0 }: { value?: number } = {}): Generator<string> {
  if (value < 0 || value > 100 || (value > 0 && value < 0.0001)) yield `percentage ${value.toFixed(6)} is neither 0.0, nor in range [0.0001, 100.0]`;
}

export function* exportToProblems(exportTo: readonly string[] = [], what = ""): Generator<string> {
  const seen = new Set<string>();
  for (const entry of exportTo) {
    if (seen.has(entry)) yield `duplicate entries in exportTo: ${entry}${what}`;
    seen.add(entry);
    if (entry !== "." && entry !== "*" && entry !== "~" && !isLabel(entry)) yield `invalid value for namespace in exportTo: ${quoted(entry)}`;
  }
  if (seen.has("*") && seen.size > 1) yield "cannot have both public (i.e., *) and non-public (i.e., ., ~, or namespace) exportTo values for a resource";
}
