import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { loadAll } from "js-yaml";
import type { KubeObject } from "../../api/meta.ts";
import { explainObjects } from "./cluster.ts";
import { AskedError } from "./explain.ts";

const folder = join(import.meta.dirname, "cases");

/**
 * Objects, and what is asked of them: "$ METHOD URL [NAME: VALUE]… [--from: NAMESPACE]", below it what is printed, and at the end "[served]", "[not served]" or "[refused]".
 * WHERRY_UPDATE=1 writes it, and the diff is for reading.
 */
for (const [objectsFile, askedFile] of [["objects.yaml", "asked.txt"], ["policies.yaml", "policies.txt"], ["filters.yaml", "filters.txt"], ["health.yaml", "health.txt"]] as const) {
  const objects = loadAll(readFileSync(join(folder, objectsFile), "utf8")) as KubeObject[];
  const file = join(folder, askedFile);
  const cases = readFileSync(file, "utf8").split(/^(?=\$ )/m).map((text) => ({ command: text.slice(2, text.indexOf("\n")), text }));
  for (const { command, text } of cases) test(command, () => void (process.env["WHERRY_UPDATE"] ? undefined : assert.equal(answer(objects, command), text)));
  if (process.env["WHERRY_UPDATE"]) writeFileSync(file, cases.map(({ command }) => answer(objects, command)).join(""));
}

function answer(objects: readonly KubeObject[], command: string): string {
  const [method, url, ...words] = command.split(" ");
  const headers = Array.from({ length: words.length / 2 }, (_, i): [string, string] => [words[2 * i]!.slice(0, -1), words[2 * i + 1]!]);
  try {
    const from = headers.find(([name]) => name === "--from")?.[1];
    const { text, served } = explainObjects(objects, { method: method!, url: url!, headers: headers.filter(([name]) => name !== "--from"), ...(from !== undefined && { from }) });
    return `$ ${command}\n${text}[${served ? "served" : "not served"}]\n\n`;
  } catch (error) {
    if (!(error instanceof AskedError)) throw error;
    return `$ ${command}\n${error.message}\n[refused]\n\n`;
  }
}
