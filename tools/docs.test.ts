import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { errorCatalogue } from "../src/base/errors.ts";
import { verbs } from "../src/cli/index.ts";

const root = dirname(import.meta.dirname);
const read = (file: string) => readFileSync(join(root, file), "utf8");

test("docs/reference/errors.md lists exactly the catalogue", () => {
  const documented = [...read("docs/reference/errors.md").matchAll(/^\| `([A-Z_]+)` \| (\d+) \| (.*) \|$/gm)].map((match) => [match[1], Number(match[2]), match[3]]);
  assert.deepEqual(documented, Object.entries(errorCatalogue).map(([code, { exit, remedy }]) => [code, exit, remedy.replaceAll("|", "\\|")]));
});

test("the README names every command", () => {
  const text = read("README.md") + read("CHANGELOG.md");
  for (const { name, summary } of verbs) if (summary !== "" && name !== "help") assert.match(text, new RegExp(`wherry ${name}|\`${name}\``), name);
});
