import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { generateTables } from "./generate-kinds.ts";

const root = join(import.meta.dirname, "..");
const data = process.env.KUBERNETES_OPENAPI ?? join(root, "../shared/data/kubernetes-openapi");

test("the tables of the built-in kinds are what the generator makes", { skip: !existsSync(data) && "no OpenAPI documents here; set KUBERNETES_OPENAPI to their folder" }, () => {
  const folder = join(root, "src/api/kinds/tables");
  const made = generateTables(data);
  assert.deepEqual(readdirSync(folder).sort(), Object.keys(made).sort());
  for (const [file, text] of Object.entries(made)) assert.equal(readFileSync(join(folder, file), "utf8"), text, `${file}: run tools/generate-kinds.ts`);
});
