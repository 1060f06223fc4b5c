import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { limits } from "../src/base/limits.ts";
import { verbs } from "../src/cli/index.ts";
import { flags } from "../src/policy/flags.ts";

/**
 * Writes the reference pages that say what the code says: `node tools/generate-docs.ts`. tools/docs.test.ts compares
 * them with the code, so a page that is behind fails the tests.
 */
const root = dirname(import.meta.dirname);

/** docs/reference/cli.md: what each command prints for --help. */
export async function cliPage(): Promise<string> {
  const shown = verbs.filter(({ name, summary }) => summary !== "" && name !== "help");
  const sections = await Promise.all(
    shown.map(async ({ name, summary }) => {
      const { stdout } = await promisify(execFile)(process.execPath, [join(root, "bin", "wherry.mjs"), name, "--help"], { env: { PATH: process.env["PATH"] ?? "" }, timeout: 60_000 });
      // A command without options has no help of its own.
      return `## wherry ${name}\n${stdout.includes(`Usage: wherry ${name}`) ? `\`\`\`\n${stdout.trimEnd()}\n\`\`\`` : `${summary}.`}\n`;
    }),
  );
  return `# Commands

Made by \`node tools/generate-docs.ts\` from what \`--help\` prints; change the command, not this page. Exit codes are those of [errors](errors.md); 130 after Ctrl-C. \`wherry status\` gives 1 when something is not healthy.

${sections.join("\n")}`;
}

interface Row {
  name: string;
  value: string;
  text: string;
}

/** docs/reference/limits.md: the comments of src/base/limits.ts with the values beside them. */
export function limitsPage(): string {
  const source = readFileSync(join(root, "src/base/limits.ts"), "utf8");
  const rows: Row[] = [];
  let comment = "";
  for (const line of source.slice(source.indexOf("export const limits")).split("\n")) {
    const said = /^\s*\/\*\* (.*) \*\/$/.exec(line)?.[1];
    const [, name, expression] = /^ {2}(\w+): (.*),$/.exec(line) ?? [];
    if (said !== undefined) comment = said;
    else if (name !== undefined && expression !== undefined) {
      rows.push({ name, value: shown(name, expression), text: comment === "" ? "belongs to the line above" : comment });
      comment = "";
    }
  }
  const missing = Object.keys(limits).filter((name) => !rows.some((row) => row.name === name));
  if (missing.length > 0) throw new Error(`src/base/limits.ts: ${missing.join(", ")} not understood; one line each, its comment above`);
  return `# Limits

Made by \`node tools/generate-docs.ts\` from \`src/base/limits.ts\`, which is the only place to change them. Bounds that belong to one file alone stand in that file; those of the data plane are in [its page](../internals/data-plane.md#limits).

| limit | value | what it bounds, and what happens there |
|---|---|---|
${rows.map(({ name, value, text }) => `| \`${name}\` | ${value} | ${text.replaceAll("|", "\\|")} |`).join("\n")}
`;
}

function shown(name: string, expression: string): string {
  // What depends on the machine is shown as it is computed.
  if (/[a-z]/i.test(expression)) return `\`${expression}\``;
  const value = limits[name as keyof typeof limits];
  if (/Bytes/.test(name)) return value >= 1 << 20 ? `${value / (1 << 20)} MiB` : `${value} bytes`;
  if (name.endsWith("Ms")) return value >= 60_000 ? `${value / 60_000} min` : `${value} ms`;
  return String(value);
}

/** docs/reference/flags.md: the table of src/policy/flags.ts. */
export function flagsPage(): string {
  return `# Response flags

Made by \`node tools/generate-docs.ts\` from \`src/policy/flags.ts\`. The access log of the gateway (\`wherry route log\`) has one of these with every answer that is not the upstream's, and a reason in words beside it.
They are those of Envoy's \`%RESPONSE_FLAGS%\` where it has one.

| flag | status, unless the rule says another | what happened |
|---|---|---|
${Object.entries(flags).map(([flag, { status, meaning }]) => `| \`${flag}\` | ${status === 0 ? "none" : status} | ${meaning} |`).join("\n")}
`;
}

export const pages: Record<string, () => string | Promise<string>> = { "docs/reference/cli.md": cliPage, "docs/reference/limits.md": limitsPage, "docs/reference/flags.md": flagsPage };

if (import.meta.main) for (const [file, page] of Object.entries(pages)) writeFileSync(join(root, file), await page());
