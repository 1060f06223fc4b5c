import assert from "node:assert/strict";
import { test } from "node:test";
import { readings } from "./path-readings.ts";

const cases: [path: string, among: string[]][] = [
  ["/a/b", ["/a/b"]],
  ["/a%2Fb", ["/a%2Fb", "/a/b"]],
  ["/a%5Cb", ["/a/b"]],
  ["/a;x=1/b;y", ["/a/b"]],
  ["/a;/%2Fb", ["/a/b"]],
  ["/a%252Fb", ["/a/b"]],
  ["/x%252F..%252Fa", ["/a"]],
  ["/x/%252e%252e/a/", ["/a/"]],
  ["/%25", ["/%25"]],
  ["/%2F", ["/"]],
];
for (const [path, among] of cases) test(`${path} may be read as ${among.join(" and ")}`, () => assert.deepEqual(among.filter((one) => !readings(path).includes(one)), []));
test("a path that nobody reads otherwise has one reading", () => assert.deepEqual(readings("/a.b/c~d/e+f"), ["/a.b/c~d/e+f"]));
