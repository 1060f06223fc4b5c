import assert from "node:assert/strict";
import { test } from "node:test";
import type { MappedPart } from "../../../src/api/traffic-content.ts";
import { FakeClock } from "../../../src/base/clock.ts";
import { randomInt, type Random, seededRandom } from "../../../src/base/random.ts";
import { requestRules } from "../../../src/policy/filters/request-rules.ts";
import { compileParts, headerValue } from "../../../src/policy/mapped-value.ts";
import { PolicyError } from "../../../src/policy/policy-error.ts";
import { readJson } from "../../../src/policy/schema/json.ts";
import { compileRegular } from "../../../src/policy/schema/regular.ts";
import { compileSchema, stepsFor, type Validator } from "../../../src/policy/schema/schema.ts";
import { globalsOf } from "../../../src/policy/template/globals.ts";
import { compileTemplate, TemplateError } from "../../../src/policy/template/render.ts";
import { handle, requestView, toolsAt } from "../../../src/policy/testing/request.ts";
import { type Json, validates } from "./reference.ts";

/**
 * What filters make of foreign schemas, documents, templates and patterns, by a seed: schemas against a slow reading of their specification,
 * patterns against JavaScript's own, templates and rules against what they promise: no value of JavaScript's shows, nothing is polluted,
 * and whatever fails says so in its own words. FUZZ_FROM=N begins elsewhere, FUZZ_SEEDS=N runs so many.
 */
const from = Number(process.env["FUZZ_FROM"] ?? 1);
const seeds = Number(process.env["FUZZ_SEEDS"] ?? (process.env["WHERRY_CONFORMANCE"] ? 5_000 : 300));

const pick = <T>(random: Random, list: readonly T[]): T => list[randomInt(random, list.length)]!;
const chance = (random: Random, of: number): boolean => randomInt(random, of) === 0;
const names = ["a", "b", "ab", "__proto__", "constructor", "x/y~z", ""];
const texts = ["", "a", "ab", "🛶", "aab", "__proto__", "1", "true", "b1"];
const numbers = [0, -0, 1, -1, 1.5, 2, 3, 0.3, 10, 1e3, -2.5];

function document(random: Random, level = 0): Json {
  switch (randomInt(random, level > 3 ? 4 : 6)) {
    case 0:
      return pick(random, texts);
    case 1:
      return pick(random, numbers);
    case 2:
      return chance(random, 2);
    case 3:
      return null;
    case 4:
      return Array.from({ length: randomInt(random, 4) }, () => document(random, level + 1));
    default:
      return object(random, 4, () => document(random, level + 1));
  }
}
/** As JSON.parse makes them: a member may have any name. */
function object(random: Random, most: number, value: () => Json): Record<string, Json> {
  const result: Record<string, Json> = {};
  for (let i = randomInt(random, most); i > 0; i--) Object.defineProperty(result, pick(random, names), { value: value(), enumerable: true, configurable: true, writable: true });
  return result;
}

function schema(random: Random, level = 0): Json {
  if (level > 3 || chance(random, 12)) return chance(random, 4) ? false : chance(random, 2) ? true : { type: pick(random, ["string", "integer", "object"]) };
  const inner = (): Json => schema(random, level + 1);
  const count = (): number => randomInt(random, 4);
  const keywords: Record<string, () => Json> = {
    type: () => (chance(random, 2) ? pick(random, ["string", "number", "integer", "boolean", "null", "array", "object"]) : [pick(random, ["string", "integer", "object"]), pick(random, ["array", "null", "number"])]),
    const: () => document(random, 2),
    enum: () => [document(random, 2), document(random, 3), document(random, 3)],
    minimum: () => pick(random, numbers),
    maximum: () => pick(random, numbers),
    exclusiveMinimum: () => pick(random, numbers),
    exclusiveMaximum: () => pick(random, numbers),
    multipleOf: () => pick(random, [1, 2, 0.5, 0.1, 1.5]),
    minLength: count,
    maxLength: count,
    pattern: () => pick(random, ["^a", "b$", "a+b", "^$", "[0-9]", "(a|b)*c?", "^.$"]),
    minItems: count,
    maxItems: count,
    uniqueItems: () => true,
    items: inner,
    prefixItems: () => Array.from({ length: 1 + count() }, inner),
    contains: inner,
    unevaluatedItems: inner,
    minProperties: count,
    maxProperties: count,
    required: () => [pick(random, names)],
    properties: () => object(random, 4, inner),
    patternProperties: () => ({ [pick(random, ["^a", "b", "^_", "."])]: inner() }),
    additionalProperties: inner,
    propertyNames: inner,
    dependentRequired: () => object(random, 3, () => [pick(random, names)]),
    dependentSchemas: () => object(random, 3, inner),
    unevaluatedProperties: inner,
    allOf: () => [inner(), inner()],
    anyOf: () => [inner(), inner()],
    oneOf: () => [inner(), inner()],
    not: inner,
    $ref: () => pick(random, ["#/$defs/one", "#/$defs/two"]),
  };
  const result: Record<string, Json> = {};
  for (let i = 1 + randomInt(random, 4); i > 0; i--) {
    const keyword = pick(random, Object.keys(keywords));
    result[keyword] = keywords[keyword]!();
    if (keyword === "contains" && chance(random, 2)) result["minContains"] = count();
    if (keyword === "contains" && chance(random, 2)) result["maxContains"] = count();
  }
  if (chance(random, 6)) for (const keyword of ["if", "then", "else"]) if (keyword === "if" || chance(random, 2)) result[keyword] = inner();
  return result;
}

test("random schemas judge random documents as their specification does, and say what is wrong with each that is", () => {
  let [judged, valid, refused] = [0, 0, 0];
  for (let seed = from; seed < from + seeds; seed++) {
    const random = seededRandom(seed);
    const given = schema(random);
    const root = { ...(typeof given === "object" ? (given as Record<string, Json>) : { allOf: [given] }), $defs: { one: schema(random, 3), two: schema(random, 2) } };
    let validator: Validator;
    try {
      validator = compileSchema(root);
    } catch (error) {
      assert.ok(error instanceof PolicyError && /refers to itself/.test(error.reason), `seed ${seed}: ${JSON.stringify(root)}: ${String(error)}`);
      refused++;
      continue;
    }
    for (let i = 0; i < 8; i++) {
      const value = document(random);
      const failures = validator.failures(value, stepsFor(100_000));
      const expected = validates(root, value, root);
      const shown = `seed ${seed}: ${JSON.stringify(root)} of ${JSON.stringify(value)}: ${JSON.stringify(failures)}`;
      assert.equal(failures.length === 0, expected, shown);
      for (const { pointer, why } of failures) assert.ok(why !== "" && (pointer === "" || isThere(value, pointer)), shown);
      judged++;
      if (expected) valid++;
    }
  }
  assert.ok(valid > judged / 20 && valid < judged * 0.95 && refused < seeds / 2, `${valid} of ${judged} valid, ${refused} refused`);
});

/** What a pointer names, or what it would be in. */
function isThere(value: Json, pointer: string): boolean {
  let at: unknown = value;
  for (const part of pointer.slice(1).split("/").slice(0, -1)) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    // A name itself may be what is wrong.
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, name)) return false;
    at = (at as Record<string, unknown>)[name];
  }
  return typeof at === "object" && at !== null;
}

test("random bytes are read as JSON.parse reads them, but for names that are there twice", () => {
  const pieces = ['{"a":1}', '"', ":", "{", "}", "[", "]", ",", '\\"', "\\\\", '"a"', '"a":', "1", "null", " ", "\\u0061", '{"\\u0061":1,"a":2}', '{"a":{"a":1},"b":[{"a":":"}]}', "é", "\u2028", "{}"];
  let twice = 0;
  for (let seed = from; seed < from + seeds * 5; seed++) {
    const random = seededRandom(seed);
    const text = chance(random, 3) ? JSON.stringify(document(random)) : Array.from({ length: 1 + randomInt(random, 6) }, () => pick(random, pieces)).join("");
    let parsed: unknown;
    let isJson = true;
    try {
      parsed = JSON.parse(text);
    } catch {
      isJson = false;
    }
    const { value, error } = readJson(Buffer.from(text));
    if (!isJson) assert.ok(error, text);
    else if (error === undefined) assert.deepEqual(value, parsed);
    else {
      assert.match(error, /two members/);
      // What was lost is what is not written again.
      assert.notEqual(JSON.stringify(parsed).split('":').length, text.replaceAll(/"\s+:/g, '":').split('":').length, text);
      twice++;
    }
  }
  assert.ok(twice > 0);
});

test("random patterns find what JavaScript's own find", () => {
  const atoms = ["a", "b", "ab", ".", "[ab]", "[^a]", "\\d", "\\w", "\\s", "(a|b)", "(?:ab)?", "a*", "b+?", "a{1,2}", "\\u0061", "[\\s\\d]", "\\.", "\\/", "x"];
  const alphabet = ["a", "b", "x", "1", " ", "\u00a0", ".", "/", "_", "\t"];
  for (let seed = from; seed < from + seeds; seed++) {
    const random = seededRandom(seed);
    const source = `${chance(random, 3) ? "^" : ""}${Array.from({ length: 1 + randomInt(random, 5) }, () => pick(random, atoms)).join(chance(random, 6) ? "|" : "")}${chance(random, 3) ? "$" : ""}`;
    const [ours, theirs] = [compileRegular(source, "pattern"), new RegExp(source, "u")];
    for (let i = 0; i < 10; i++) {
      const text = Array.from({ length: randomInt(random, 6) }, () => pick(random, alphabet)).join("");
      assert.equal(ours.test(text), theirs.test(text), `seed ${seed}: ${source} in ${JSON.stringify(text)}`);
    }
  }
});

const hostile = [
  "$x", "$input", "$context", "$util", "$stageVariables", "$input.path('$')", "$input.path('$..a')", "$input.json('$')", ".constructor", ".__proto__", ".prototype", "['__proto__']", '["constructor"]', ".toString()", ".constructor('return 1')", ".call", ".apply()", ".valueOf()", "[0]", "[-1]", "[1..3]", "[1..99999]",
  "#set($x = ", "#set($x.__proto__ = ", "#set($x['__proto__'] = {'p': 1})", "#set($x = {})", "#set($x = [])", "#set($context.requestOverride.header.x = 1)", ")", "(", "#if(", "#if(true)", "#else", "#elseif(1)", "#end", "#end", "#end", "#foreach($x in ", "#foreach($x in [1..50])", "#break", "#stop", "#*", "*#", "##", "#[[", "]]#", "\\", "'", '"', '"$x$x"', "{'a': $x}", "1", "-", "+", " == ", " && ", "!", "null",
  ".put('__proto__', $x)", ".putAll($x)", ".keySet()", ".entrySet()", ".values()", ".add($x)", ".addAll($x)", ".get('constructor')", ".get(0)", ".remove('a')", ".replaceAll('(a+)+$', '$1$1')", ".replaceAll('', 'ab')", ".replace('', 'ab')", ".matches('(a|a)*b')", ".split('')", ".split('a(.*b)?')", ".replaceAll('a.*b|a', '$0$0')", "$input.path($x)", "$input.json(\"$x['a']..\")", "$util.parseJson($x)", "$util.urlDecode($x)", "$util.base64Decode($x)", "$util.escapeJavaScript($x)", ".substring(1)", ".charAt(0)", ".concat($x)", ".size()", "\n",
];

test("templates of hostile pieces make text or fail as they say, and touch nothing", () => {
  const { exchange } = handle(() => {}, requestView({ method: "POST", target: "/?a=1&__proto__=2", headers: { "x-a": "1" } }));
  let [rendered, failed] = [0, 0];
  for (let seed = from; seed < from + seeds * 3; seed++) {
    const random = seededRandom(seed);
    const template = Array.from({ length: 2 + randomInt(random, 14) }, () => pick(random, hostile)).join("");
    const body = JSON.stringify(document(random));
    try {
      const { names: given } = globalsOf(exchange, exchange.request, body, new Map(), { variables: { v: "1" } }, 0);
      const result = compileTemplate(template)({ names: given, charactersMax: 5_000 });
      assert.ok(result.length <= 5_000, template);
      assert.doesNotMatch(result, /native code|\[object |=>|function \(/, `seed ${seed}: ${template}`);
      rendered++;
    } catch (error) {
      assert.ok(error instanceof TemplateError, `seed ${seed}: ${JSON.stringify(template)} of ${body}: ${(error as Error).stack}`);
      failed++;
    }
    assert.deepEqual(Reflect.ownKeys(Object.prototype).length, prototypeKeys, `seed ${seed}: ${template}`);
    assert.ok(({} as Record<string, unknown>)["p"] === undefined && ([] as unknown as Record<string, unknown>)["p"] === undefined);
  }
  assert.ok(rendered > seeds / 20 && failed > seeds / 20, `${rendered} rendered, ${failed} failed`);
});
const prototypeKeys = Reflect.ownKeys(Object.prototype).length;

test("mapped values are texts of what is there, and a header of one is one header", () => {
  const { exchange } = handle(() => {}, requestView({ method: "POST", target: "/?a=1&a=2&__proto__=3", headers: { "x-a": "1", "__proto__": "2" } }));
  const paths = ["", "$", "$.a", "$..a", "$['__proto__']", "$.constructor", "$[0]", "$[*]", "$..*", "$['a','ab','']", "$[-1:]"];
  const contexts = ["identity.sourceIp", "path", "constructor", "__proto__.x", "authorizer.claims.__proto__", "requestOverride.header", "identity", "error.message"];
  const part = (random: Random): MappedPart => pick(random, [() => ({ text: pick(random, [...texts, "a\r\nb: c"]) }), () => ({ header: pick(random, ["x-a", "X-A", "none"]) }), () => ({ query: pick(random, names), all: chance(random, 2) }), () => ({ path: pick(random, names) }), () => ({ body: pick(random, paths) }), () => ({ context: pick(random, contexts) }), () => ({ responseHeader: pick(random, names) })])();
  let [found, failed] = [0, 0];
  for (let seed = from; seed < from + seeds * 3; seed++) {
    const random = seededRandom(seed);
    const parts = Array.from({ length: 1 + randomInt(random, 3) }, () => part(random));
    const body = chance(random, 4) ? pick(random, ["", "{", "[[[", "\u0000", "\"a\r\nb\""]) : JSON.stringify(document(random));
    try {
      const values = compileParts(parts)({ exchange, request: exchange.request, path: new Map([["a", "p/q"]]), body, stage: undefined, nowMs: 0, error: { message: "wrong" } });
      for (const value of values) assert.ok(typeof value === "string" && !/native code|\[object |=>|function \(/.test(value), `seed ${seed}: ${value}`);
      assert.doesNotMatch(headerValue(values), /[\r\n\0]/, `seed ${seed}`);
      if (values.length > 0) found++;
    } catch (error) {
      assert.ok(error instanceof TemplateError, `seed ${seed}: ${JSON.stringify(parts)} of ${body}: ${(error as Error).stack}`);
      failed++;
    }
    assert.equal(Reflect.ownKeys(Object.prototype).length, prototypeKeys, `seed ${seed}`);
  }
  assert.ok(found > seeds, `${found} found, ${failed} failed`);
});

test("rules look at any request, and a pattern that is hidden once is found", () => {
  const make = requestRules({ type: "requestRules", rules: [{ name: "r", deny: { in: ["path", "query", "headers", "body"], pattern: "attack" } }] }, toolsAt(new FakeClock()));
  const percent = (text: string, random: Random): string => [...text].map((char) => (chance(random, 2) ? `%${char.charCodeAt(0).toString(16)}` : char)).join("");
  const unicode = (text: string, random: Random): string => [...text].map((char) => (chance(random, 2) ? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}` : char)).join("");
  for (let seed = from; seed < from + seeds; seed++) {
    const random = seededRandom(seed);
    const noise = (): string => Array.from({ length: randomInt(random, 6) }, () => pick(random, ["a", "%", "%zz", "%41", "\\", '"', "+", "=", "&", "é", "\\u12"])).join("") + "-";
    const places = [
      { target: `/?q=${noise()}${percent("attack", random)}${noise()}` },
      { target: "/", headers: { "x-a": `${noise()}attack` } },
      { target: "/", body: `${noise()}attack${noise()}` },
      { target: "/", body: `"${unicode("attack", random)}"` },
      { target: "/", body: `a=${percent("attack", random)}`, headers: { "content-type": "application/x-www-form-urlencoded" } },
    ];
    for (const { target, headers = {}, body } of places) {
      const { answer, forwarded } = handle(make((exchange, outcome) => outcome.forward(exchange)), requestView({ method: "POST", target, headers: headers as Record<string, string> }), { body });
      assert.ok(!forwarded && answer?.status === 403, `seed ${seed}: ${target} ${JSON.stringify(headers)} ${body}`);
    }
  }
});
