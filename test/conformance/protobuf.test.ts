import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { builtinSchema } from "../../src/api/kinds/table.ts";
import { decodeProtobuf } from "../../src/api/protobuf.ts";
import { walk } from "../../src/api/walker.ts";

/**
 * Upstream's round-trip fixtures: each kind with every field set, as JSON and as protobuf. They are of a later
 * release than our tables, so what the tables do not know is left out of the comparison, and counted.
 */
const archive = join(process.env.KUBERNETES_OPENAPI ?? join(import.meta.dirname, "../../../shared/data/kubernetes-openapi"), "api-roundtrip-testdata.tar.gz");

function filesOf(path: string): Map<string, Buffer> {
  const tar = gunzipSync(readFileSync(path));
  const files = new Map<string, Buffer>();
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const text = (start: number, end: number) => tar.toString("utf8", at + start, at + end).replace(/\0.*$/s, "");
    const size = Number.parseInt(text(124, 136), 8);
    files.set(text(0, 100).replace(/^.*\//, ""), tar.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}

test("every kind that we serve decodes from protobuf to what its JSON says", { skip: !existsSync(archive) && "no round-trip fixtures here; set KUBERNETES_OPENAPI to their folder" }, (t) => {
  const files = filesOf(archive);
  let kinds = 0;
  const newer = new Set<string>();
  for (const [name, bytes] of files) {
    if (!name.endsWith(".pb")) continue;
    const json = JSON.parse(files.get(name.replace(/pb$/, "json"))!.toString()) as Record<string, unknown> & { apiVersion: string; kind: string };
    if (json.apiVersion === undefined) continue;
    const [group, version] = json.apiVersion.includes("/") ? (json.apiVersion.split("/") as [string, string]) : ["", json.apiVersion];
    const schema = builtinSchema(group, version, json.kind);
    if (!schema) continue;
    kinds++;
    const decoded = walk(schema, decodeProtobuf(bytes), { partial: true });
    const expected = walk(schema, json, { partial: true });
    for (const field of expected.unknownFields) newer.add(/(\w+)"$/.exec(field)![1]!);
    assert.deepEqual(decoded.unknownFields, [], name);
    assert.deepEqual(decoded.value, expected.value, name);
  }
  t.diagnostic(`${kinds} kinds; ${newer.size} fields of later releases left out`);
  assert.ok(kinds >= 69, `${kinds} kinds`);
  assert.ok(newer.size < 60, [...newer].join(" "));
});
