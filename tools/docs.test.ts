import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { test } from "node:test";
import { errorCatalogue } from "../src/base/errors.ts";
import { verbs } from "../src/cli/index.ts";
import { pages } from "./generate-docs.ts";

const root = dirname(import.meta.dirname);
const read = (file: string) => readFileSync(join(root, file), "utf8");
const documents = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`)];

test("docs/reference/errors.md lists exactly the catalogue", () => {
  const documented = [...read("docs/reference/errors.md").matchAll(/^\| `([A-Z_]+)` \| (\d+) \| (.*) \|$/gm)].map((match) => [match[1], Number(match[2]), match[3]]);
  assert.deepEqual(documented, Object.entries(errorCatalogue).map(([code, { exit, remedy }]) => [code, exit, remedy.replaceAll("|", "\\|")]));
});

for (const [file, page] of Object.entries(pages)) {
  test(`${file} is what the code says`, async () => {
    assert.equal(read(file), await page(), `${file} is behind: run node tools/generate-docs.ts`);
  });
}

test("the README names every command, and docs/README.md every page", () => {
  const text = read("README.md") + read("CHANGELOG.md");
  for (const { name, summary } of verbs) if (summary !== "" && name !== "help") assert.match(text, new RegExp(`wherry ${name}|\`${name}\``), name);
  const index = read("docs/README.md");
  const missing = documents.filter((file) => file.startsWith("docs/") && file !== "docs/README.md" && !index.includes(`](${posix.relative("docs", file)})`));
  assert.deepEqual(missing, []);
});

test("a function that a document names at a file is in that file", () => {
  const lost: string[] = [];
  let seen = 0;
  for (const file of documents) {
    for (const [, name, target] of read(file).matchAll(/\[`([\w.#]+)`\]\(([^)#\s]+\.(?:ts|mjs))\)/g)) {
      // `Class.method`, `#private` and `function`: the last word must be a word of the file. File names lead to themselves.
      const word = name!.split(".").at(-1)!;
      if (/^(ts|mjs)$/.test(word)) continue;
      seen++;
      const text = read(posix.join(posix.dirname(file), target!));
      const all = name!.split(".").every((part) => new RegExp(`(^|[^\\w#])${part}\\b`).test(text));
      if (!all) lost.push(`${file}: ${name} is not in ${target}`);
    }
  }
  assert.deepEqual(lost, []);
  assert.ok(seen > 30, "the walks of ARCHITECTURE.md name their functions");
});

test("every command of the documents is one that there is", () => {
  const known = new Set(verbs.map(({ name }) => name));
  const unknown: string[] = [];
  for (const file of documents) {
    // In code only: a sentence may begin with the name.
    for (const [, block, inline] of read(file).matchAll(/^```\w*\n([\s\S]*?)^```|`(wherry [^`\n]+)`/gm)) {
      for (const [, verb] of (block ?? inline ?? "").matchAll(/(?:^|[$;(] ?|npx )wherry ([a-z][\w:-]*)/gm)) if (!known.has(verb!)) unknown.push(`${file}: wherry ${verb}`);
    }
  }
  assert.deepEqual(unknown, []);
});
