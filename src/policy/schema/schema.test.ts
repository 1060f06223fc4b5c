import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { PolicyError } from "../policy-error.ts";
import { readJson } from "./json.ts";
import { compileSchema, type Dialect, stepsFor } from "./schema.ts";

/** The cases of cases.txt: a new case is a new line. */
const blocks: { title: string; lines: { number: number; text: string }[] }[] = [];
for (const [i, text] of readFileSync(join(import.meta.dirname, "cases.txt"), "utf8").split("\n").entries()) {
  if (text.startsWith("== ")) blocks.push({ title: text.slice(3), lines: [] });
  else if (text !== "" && !text.startsWith("#")) blocks.at(-1)!.lines.push({ number: i + 1, text });
}
/** A JSON value, and what stands behind it. */
function valueIn(text: string): [value: unknown, rest: string] {
  for (let end = text.length; end > 0; end = text.lastIndexOf(" ", end - 1)) {
    try {
      return [JSON.parse(text.slice(0, end)), text.slice(end + 1)];
    } catch {
      continue;
    }
  }
  return assert.fail(`no JSON in ${text}`);
}
for (const { title, lines } of blocks) {
  test(`schema: ${title}`, () => {
    let schema: unknown;
    let document: unknown;
    let dialect: Dialect | undefined;
    const compile = () => compileSchema(schema, { ...(document !== undefined && { document }), ...(dialect && { dialect }) });
    for (const { number, text } of lines) {
      const word = text.slice(0, text.indexOf(" "));
      const rest = text.slice(word.length + 1);
      try {
        if (word === "schema") schema = JSON.parse(rest);
        else if (word === "document") document = JSON.parse(rest);
        else if (word === "dialect") dialect = rest as Dialect;
        else if (word === "ok") assert.deepEqual(compile().failures(JSON.parse(rest)), []);
        else if (word === "refused") assert.throws(compile, (error) => error instanceof PolicyError && (new RegExp(rest).test(error.message) || assert.fail(error.message)));
        else if (word === "all") {
          const [value, pointers] = valueIn(rest);
          assert.deepEqual(compile().failures(value).map(({ pointer }) => pointer).toSorted(), pointers.split(" ").toSorted());
        } else if (word === "bad") {
          const [value, wanted] = valueIn(rest.replace(/ "" /, " @ "));
          const failures = compile().failures(value);
          assert.equal(failures.map(({ pointer, why }) => `${pointer === "" ? "@" : pointer} ${why}`).join("; "), wanted);
        } else assert.fail(`nothing is called ${word}`);
      } catch (error) {
        throw new Error(`cases.txt:${number}: ${text}\n${(error as Error).message}`, { cause: error });
      }
    }
  });
}

test("alternatives that double with every level of a document come to an end, and what is not known to be right is wrong", () => {
  const schema = { type: "object", properties: { a: { anyOf: [{ $ref: "#" }, { allOf: [{ $ref: "#" }] }] }, z: { type: "integer" } } };
  let document: unknown = { z: "wrong" };
  for (let i = 0; i < 60; i++) document = { a: document };
  const [failure] = compileSchema(schema).failures(document, stepsFor(1000));
  assert.match(failure!.why, /^must be simpler: after 14000 comparisons/);
  // "not" turns it round, and must not make it right.
  assert.match(compileSchema({ not: schema }).failures(document, stepsFor(1000))[0]!.why, /^must be simpler/);
});

test("a document that is nested beyond all measure is refused, and the stack holds", () => {
  const deep = (text: string, end: string, times: number) => Buffer.from(text.repeat(times) + end.repeat(times));
  for (const [open, close] of [["[", "]"], ['{"a":', "}"]] as const) {
    const bytes = Buffer.from(open.repeat(100_000) + (open === "[" ? "" : "1") + close.repeat(100_000));
    assert.match(readJson(bytes).error!, /nested in more than 500 levels/);
  }
  const tree = compileSchema({ items: { $ref: "#" }, uniqueItems: true });
  const { value } = readJson(deep("[", "]", 400));
  assert.match(tree.failures(value).map(({ why }) => why).join(), /nested less deeply/);
});

test("what is not UTF-8 is not read, and whoever means the replacement character may", () => {
  assert.deepEqual(readJson(Buffer.from('{"a":"\ufffd \u00e9"}')), { value: { a: "\ufffd \u00e9" } });
  for (const bytes of [[0x22, 0xff, 0x22], [0x22, 0xc3, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22], [0xff, 0xfe, 0x31, 0x00]]) assert.equal(readJson(Buffer.from(bytes)).error, "must be UTF-8");
  assert.match(readJson(Buffer.from("\ufeff1")).error!, /^must be JSON/);
});

test("uniqueItems of many items takes as long as reading them does", () => {
  const unique = compileSchema({ uniqueItems: true });
  const items = Array.from({ length: 20_000 }, (_, i) => ({ i, text: "x".repeat(10) }));
  assert.deepEqual(unique.failures(items), []);
  assert.equal(unique.failures([...items, { text: "x".repeat(10), i: 7 }])[0]!.pointer, "/20000");
  // A long value at the bottom of many lists is not written out for each of them.
  let nested: unknown = "x".repeat(100_000);
  for (let i = 0; i < 100; i++) nested = [nested];
  assert.match(compileSchema({ uniqueItems: true, items: { $ref: "#" } }).failures(nested, stepsFor(100_000 / 100))[0]!.why, /^must be simpler/);
});

test("so many failures are told, and no more", () => {
  const failures = compileSchema({ items: { type: "string" } }).failures(Array.from({ length: 5_000 }, () => 1), undefined, 7);
  assert.equal(failures.length, 7);
});
