import { resolve } from "node:path";
import { parseArgs, type ParseArgsConfig } from "node:util";

/** An option of a verb, as `--help` shows it. */
export interface Option {
  type: "string" | "boolean";
  multiple?: boolean;
  /** One letter: "o" for -o. */
  short?: string;
  /** "DIR", "PORT": shown behind the name. */
  value?: string;
  help: string;
}

export const dataDirOption: Option = { type: "string", value: "DIR", help: "where the stack keeps its data (default: .wherry here, or $WHERRY_DATA_DIR)" };

/** Parses the words of a verb; prints its help and gives undefined for --help. */
export function parseOptions(usage: { line: string; about: string; options: Record<string, Option>; examples?: string[]; positionals?: boolean }, argv: string[]): { values: Record<string, unknown>; positionals: string[] } | undefined {
  const options = Object.fromEntries(Object.entries(usage.options).map(([name, { type, multiple, short }]) => [name, { type, ...(multiple && { multiple }), ...(short && { short }) }]));
  const parsed = parseArgs({ args: argv, options: { ...options, help: { type: "boolean", short: "h" } }, allowPositionals: usage.positionals ?? false } as ParseArgsConfig);
  if (!(parsed.values as Record<string, unknown>)["help"]) return { values: parsed.values as Record<string, unknown>, positionals: parsed.positionals };
  const rows = Object.entries(usage.options).map(([name, option]) => [`${option.short ? `-${option.short}, ` : ""}--${name}${option.value ? ` ${option.value}` : ""}`, option.help] as const);
  const width = Math.max(...rows.map(([left]) => left.length), 6) + 2;
  process.stdout.write(
    `${usage.about}\n\nUsage: wherry ${usage.line}\n\nOptions:\n${rows.map(([left, right]) => `  ${left.padEnd(width)}${right}`).join("\n")}\n${usage.examples ? `\nExamples:\n${usage.examples.map((line) => `  ${line}`).join("\n")}\n` : ""}`,
  );
  return undefined;
}

export function dataDirOf(values: Record<string, unknown>): string {
  return resolve((values["data-dir"] as string | undefined) ?? process.env["WHERRY_DATA_DIR"] ?? ".wherry");
}
