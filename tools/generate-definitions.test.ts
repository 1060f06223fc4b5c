import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { generateDefinitions } from "./generate-definitions.ts";

const root = join(import.meta.dirname, "..");
const shared = join(root, "../shared");

test("the definitions that are there from the start are what the generator makes", { skip: !existsSync(join(shared, "conformance/gateway-api")) && "the projects' own definitions are not here" }, () => {
  const folder = join(root, "src/api/definitions");
  const made = generateDefinitions(shared);
  assert.deepEqual(readdirSync(folder).filter((file) => file.endsWith(".json")).sort(), Object.keys(made).sort());
  for (const [file, text] of Object.entries(made)) assert.equal(readFileSync(join(folder, file), "utf8"), text, `${file}: run tools/generate-definitions.ts`);
});
