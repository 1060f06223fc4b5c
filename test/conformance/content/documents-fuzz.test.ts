import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseYaml } from "../../../src/api/yaml.ts";
import { randomInt, type Random, seededRandom } from "../../../src/base/random.ts";
import { checkRule } from "../../../src/policy/route-table.ts";
import { readDocument } from "../../../src/proxy/product/document.ts";
import { DocumentError } from "../../../src/proxy/product/json.ts";
import { NotHonoured } from "../../../src/proxy/product/not-honoured.ts";
import { compileOperations } from "../../../src/proxy/product/operations.ts";

/**
 * The documents of src/proxy/product/cases/documents with one to three of their values replaced by others: each operation is served by
 * filters that can be made, or refused in words; nothing else comes of it. FUZZ_FROM=N begins elsewhere, FUZZ_SEEDS=N runs so many.
 */
const from = Number(process.env["FUZZ_FROM"] ?? 1);
const seeds = Number(process.env["FUZZ_SEEDS"] ?? (process.env["WHERRY_CONFORMANCE"] ? 5_000 : 200));
const folder = join(import.meta.dirname, "../../../src/proxy/product/cases/documents");
const documents = readdirSync(folder).flatMap((file) => readFileSync(join(folder, file), "utf8").split(/^== .*\n/m).slice(1).map((block) => JSON.stringify(parseYaml(block.split(/^--/m)[0]!)[0])));

const junk: unknown[] = [null, true, 0, -1, 1.5, 1e308, "", "x", "'", "''", "/", "{", "{a}", "{a+}", "${stageVariables.x}", "$request.header.x", "${request.path.a}", "#/paths", "(", "a.*b|a", "#if(", "$input.path('$[?(1)]')", [], [null], [[]], {}, { $ref: "#/x" }, { $ref: "#" }, { $ref: "#/" }, { $ref: "#/%" }, { __proto__: null, constructor: 1 }, { "": {} }, "__proto__", "constructor"];

function mutated(text: string, random: Random): Record<string, unknown> {
  const document = JSON.parse(text) as Record<string, unknown>;
  for (let i = 1 + randomInt(random, 3); i > 0; i--) {
    let holder = document as Record<string, unknown>;
    for (;;) {
      const names = Object.keys(holder);
      if (names.length === 0) break;
      const name = names[randomInt(random, names.length)]!;
      const inner = holder[name];
      if (typeof inner === "object" && inner !== null && randomInt(random, 5) > 0) {
        holder = inner as Record<string, unknown>;
        continue;
      }
      const what = Array.isArray(holder) ? 5 : randomInt(random, 6);
      if (what === 0) delete holder[name];
      else if (what === 1) holder[["__proto__x", "constructor", "x-amazon-apigateway-x", "$ref", "toString"][randomInt(random, 5)]!] = inner;
      else holder[name] = JSON.parse(JSON.stringify(junk[randomInt(random, junk.length)]));
      break;
    }
  }
  return document;
}

test("documents with odd values in them are served or refused in words", () => {
  let [served, refused, none] = [0, 0, 0];
  for (let seed = from; seed < from + seeds; seed++) {
    const random = seededRandom(seed);
    const document = mutated(documents[randomInt(random, documents.length)]!, random);
    const shown = `seed ${seed}: ${JSON.stringify(document)}`;
    try {
      const stage = { name: "live", parentRefs: [{ name: "edge" }], backendRef: { name: "web", port: 80 }, ...(randomInt(random, 2) === 0 && { path: "/v1", cache: {}, validation: "All" as const }), variables: { x: "y" }, backends: [{ uri: "https://petshop.example.com", backendRef: { name: "web", port: 80 } }] };
      for (const { name, matches, filters, refusal } of compileOperations(readDocument(document), { api: "it", id: "shop/it.live", stage, epoch: "1" } as never)) {
        if (refusal === undefined) served++;
        else refused++;
        assert.ok(refusal === undefined || /\S+ .+/.test(refusal), shown);
        if (refusal === undefined) assert.equal(checkRule({ name, matches, filters, backends: [] })?.message, undefined, shown);
      }
    } catch (error) {
      assert.ok(error instanceof DocumentError || error instanceof NotHonoured, `${shown}\n${(error as Error).stack}`);
      assert.ok(error.message.length > 3, shown);
      none++;
    }
    assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
  }
  assert.ok(served > seeds / 2 && refused > seeds / 20 && none > seeds / 50, `${served} served, ${refused} refused, ${none} none`);
});
