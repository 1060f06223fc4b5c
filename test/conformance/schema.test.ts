import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { PolicyError } from "../../src/policy/policy-error.ts";
import { compileSchema, type Dialect, type SchemaOptions, type Validator } from "../../src/policy/schema/schema.ts";

/**
 * The public suite for JSON Schema judges the one of filters: whatever schema is honoured judges every document as the suite does, and
 * what is not honoured is refused for a reason that stands here.
 */
const folder = join(import.meta.dirname, "../../.cache/schema-tests/repository/tests");

interface Group {
  description: string;
  schema: unknown;
  tests: { description: string; data: unknown; valid: boolean }[];
}

/** Why a schema may be refused, by what the compiler says. */
const refusals: { why: RegExp; because: string }[] = [
  { why: /must lead into this document/, because: "references beyond the document" },
  { why: /is not honoured here below the root of a document/, because: "identifiers within a document" },
  { why: /is not a keyword that is honoured here/, because: "keywords that are not honoured, or unknown" },
  { why: /refers to itself for the same value/, because: "loops" },
  { why: /stands beside \$ref/, because: "what says nothing beside $ref" },
  { why: /is not a dialect that is known here/, because: "other dialects" },
  { why: /is not known here; supported values/, because: "formats that are not known" },
  { why: /names an anchor that is not there|leads nowhere/, because: "references that need identifiers" },
  { why: /must be a schema: an object, true or false/, because: "references to what is no schema" },
  { why: /invalid|unknown|unexpected|missing|bad|error parsing/i, because: "patterns that RE2 does not have" },
  { why: /must have at least one value/, because: "an empty enum" },
];

/** Documents that are judged, at least, and schemas that are refused, at most. */
const drafts: { folder: string; dialect: Dialect; judged: number; refused: number }[] = [
  { folder: "draft2020-12", dialect: "2020-12", judged: 1160, refused: 65 },
  { folder: "draft7", dialect: "draft-07", judged: 860, refused: 32 },
  { folder: "draft4", dialect: "draft-04", judged: 580, refused: 18 },
];

/** What we judge otherwise, and why. */
const known: { test: RegExp; why: string }[] = [
  { test: /^\/draft2020-12\/optional\/format\/hostname\.json: validation of A-label \(punycode\) host names: /, why: "names in other scripts are not decoded: IDNA 2008 needs tables of all characters" },
];

function judge(file: string, options: SchemaOptions, wrong: string[], refused: Map<string, number>): number {
  let judged = 0;
  for (const group of JSON.parse(readFileSync(file, "utf8")) as Group[]) {
    let validator: Validator;
    try {
      validator = compileSchema(group.schema, options);
    } catch (error) {
      assert.ok(error instanceof PolicyError, `${file}: ${group.description}: ${String(error)}`);
      const known = refusals.find(({ why }) => why.test(error.reason));
      if (known) refused.set(known.because, (refused.get(known.because) ?? 0) + 1);
      else wrong.push(`${file}: ${group.description}: refused: ${error.message}`);
      continue;
    }
    for (const { description, data, valid } of group.tests) {
      judged++;
      const failures = validator.failures(data);
      if ((failures.length === 0) !== valid) {
        const name = `${file.slice(folder.length)}: ${group.description}: ${description}`;
        if (!known.some((one) => one.test.test(name))) wrong.push(`${name}: ${valid ? `refused: ${failures[0]?.why}` : "passes"}`);
      }
    }
  }
  return judged;
}

for (const { folder: draft, dialect, ...bounds } of drafts) {
  test(`JSON Schema's public suite: ${draft}`, (context) => {
    if (!existsSync(folder)) return context.skip("the suite is not here: tools/schema-tests.sh brings it");
    const wrong: string[] = [];
    const refused = new Map<string, number>();
    let judged = 0;
    const required = join(folder, draft);
    for (const file of readdirSync(required)) if (file.endsWith(".json")) judged += judge(join(required, file), { dialect, formats: "ignored" }, wrong, refused);
    context.diagnostic(`${judged} documents judged; schemas refused: ${[...refused].map(([why, count]) => `${count} ${why}`).join(", ")}`);
    assert.deepEqual(wrong, []);
    const refusedCount = [...refused.values()].reduce((sum, count) => sum + count, 0);
    assert.ok(judged >= bounds.judged && refusedCount <= bounds.refused, `${judged} judged, ${refusedCount} refused`);
  });
}

test("JSON Schema's public suite: formats", (context) => {
  const formats = join(folder, "draft2020-12/optional/format");
  if (!existsSync(formats)) return context.skip("the suite is not here: tools/schema-tests.sh brings it");
  const wrong: string[] = [];
  const refused = new Map<string, number>();
  let judged = 0;
  for (const file of readdirSync(formats)) if (file.endsWith(".json")) judged += judge(join(formats, file), { dialect: "2020-12" }, wrong, refused);
  context.diagnostic(`${judged} documents judged; schemas refused: ${[...refused].map(([why, count]) => `${count} ${why}`).join(", ")}`);
  assert.deepEqual(wrong, []);
  assert.ok(judged > 500);
});
