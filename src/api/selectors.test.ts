import assert from "node:assert/strict";
import { test } from "node:test";
import { labelSelectorOf, parseFieldSelector, parseLabelSelector, SelectorError } from "./selectors.ts";

test("parseLabelSelector() matches as upstream", () => {
  const labels = { app: "web", tier: "front", "example.com/rank": "10", empty: "", in: "x" };
  const cases: [selector: string, matches: boolean, printed?: string][] = [
    ["", true],
    ["  ", true, ""],
    ["app=web", true],
    ["app==web", true],
    ["app = web , tier = front", true, "app=web,tier=front"],
    ["app=db", false],
    ["app!=db", true],
    ["app!=web", false],
    ["missing!=x", true],
    ["app in (web,db)", true, "app in (db,web)"],
    ["app in (db)", false],
    ["missing in (x)", false],
    ["app notin (db, cache)", true, "app notin (cache,db)"],
    ["missing notin (x)", true],
    ["app", true],
    ["missing", false],
    ["!missing", true],
    ["!app", false],
    ["! missing", true, "!missing"],
    ["empty=", true],
    ["empty", true],
    ["empty in ()", true],
    ["empty in (,a)", true],
    ["empty in (a,)", true, "empty in (,a)"],
    ["app in (a,,web)", true, "app in (,a,web)"],
    ["example.com/rank>9", true],
    ["example.com/rank > 10", false, "example.com/rank>10"],
    ["example.com/rank<11", true],
    ["app>1", false],
    ["in=x", true],
    ["in in (in,x)", true],
    ["tier,app", true, "app,tier"],
    ["app=web,tier=back", false],
    ["constructor", false],
  ];
  for (const [selector, matches, printed] of cases) {
    const parsed = parseLabelSelector(selector);
    assert.equal(parsed.matches(labels), matches, selector);
    assert.equal(parsed.toString(), printed ?? selector, selector);
    assert.equal(parseLabelSelector(parsed.toString()).matches(labels), matches, `${selector}, printed and read`);
  }
  assert.equal(parseLabelSelector("!a").matches(undefined), true);
});

test("parseLabelSelector() refuses with upstream's text", () => {
  const cases: [selector: string, message: string | RegExp][] = [
    ["app=web,", "found '', expected: identifier after ','"],
    [",app", "found ',', expected: !, identifier, or 'end of string'"],
    ["app=web tier", "found 'tier', expected: ',' or 'end of string'"],
    ["app in web", "unable to parse requirement: found 'web' expected: '('"],
    ["app in (web", "unable to parse requirement: found '', expected: ',' or ')'"],
    ["app in (=)", "unable to parse requirement: found '=', expected: ',', ')' or identifier"],
    ["app (web)", "unable to parse requirement: found '(', expected: in, notin, =, ==, !=, gt, lt"],
    ["app=(", "unable to parse requirement: found '(', expected: identifier"],
    ["!", "unable to parse requirement: found '', expected: identifier"],
    ["app web", "unable to parse requirement: found 'web', expected: in, notin, =, ==, !=, gt, lt"],
    ["app>x", `unable to parse requirement: values[0]: Invalid value: "x": for 'Gt', 'Lt' operators, the value must be an integer`],
    ["a/b/c=x", /^unable to parse requirement: <nil>: Invalid value: "a\/b\/c": a/],
    ["-a=x", /^unable to parse requirement: <nil>: Invalid value: "-a": name part must consist of/],
    [`app=${"x".repeat(64)}`, /^unable to parse requirement: values\[0\]\[app\]: Invalid value: "x{64}": must be no more than 63/],
    ["app=-x", /^unable to parse requirement: values\[0\]\[app\]: Invalid value: "-x": a valid label must be an empty string or/],
  ];
  for (const [selector, message] of cases) {
    assert.throws(() => parseLabelSelector(selector), (error) => error instanceof SelectorError && (typeof message === "string" ? (assert.equal(error.message, message), true) : (assert.match(error.message, message), true)), selector);
  }
});

test("labelSelectorOf() reads LabelSelector objects", () => {
  assert.equal(labelSelectorOf(undefined), undefined);
  assert.equal(labelSelectorOf({})!.matches({}), true);
  const selector = labelSelectorOf({
    matchLabels: { app: "web" },
    matchExpressions: [
      { key: "tier", operator: "In", values: ["front", "back"] },
      { key: "old", operator: "DoesNotExist" },
      { key: "track", operator: "NotIn", values: ["canary"] },
      { key: "zone", operator: "Exists" },
    ],
  })!;
  assert.equal(selector.toString(), "app=web,!old,tier in (back,front),track notin (canary),zone");
  assert.equal(selector.matches({ app: "web", tier: "back", zone: "" }), true);
  assert.equal(selector.matches({ app: "web", tier: "back", zone: "", old: "1" }), false);
  assert.equal(selector.matches({ app: "web", tier: "back", zone: "", track: "canary" }), false);
  assert.equal(selector.matches({ app: "web", tier: "back" }), false);
  assert.throws(() => labelSelectorOf({ matchExpressions: [{ key: "a", operator: "Is" }] }), { message: '"Is" is not a valid label selector operator' });
  assert.throws(() => labelSelectorOf({ matchExpressions: [{ key: "a", operator: "In" }] }), { message: "values: Invalid value: []string{}: for 'in', 'notin' operators, values set can't be empty" });
});

test("parseFieldSelector() matches, escapes and refuses as upstream", () => {
  const fields = { "metadata.name": "a", "status.phase": "Running", odd: "a,b=c\\" };
  const cases: [selector: string, matches: boolean][] = [
    ["", true],
    ["metadata.name=a", true],
    ["metadata.name==a", true],
    ["metadata.name=b", false],
    ["status.phase!=Failed,status.phase!=Succeeded", true],
    ["status.phase!=Running", false],
    ["spec.nodeName=", true],
    ["spec.nodeName!=", false],
    ["odd=a\\,b\\=c\\\\", true],
    ["metadata.name=a,,", true],
  ];
  for (const [selector, matches] of cases) {
    const parsed = parseFieldSelector(selector);
    assert.equal(parsed.matches(fields), matches, selector);
    assert.equal(parseFieldSelector(parsed.toString()).matches(fields), matches, `${selector}, printed and read`);
  }
  assert.equal(parseFieldSelector("metadata.name=x,a!=b").exactValue("metadata.name"), "x");
  assert.equal(parseFieldSelector("metadata.name!=x").exactValue("metadata.name"), undefined);
  for (const [selector, message] of [
    ["metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"],
    ["a=b=c", "invalid field selector: unescaped character in value: 61"],
    ["a=b\\x", "invalid field selector: invalid escape sequence: \\x"],
    ["a=b\\", "invalid field selector: invalid escape sequence: \\"],
  ] as const) {
    assert.throws(() => parseFieldSelector(selector), { message }, selector);
  }
});
