import assert from "node:assert/strict";
import { test } from "node:test";
import type { PodTemplateSpec } from "../api/types.ts";
import { hashOf, safeEncode, sameTemplate, stableJson } from "./pod-template.ts";

const template = (labels: Record<string, string>, image = "app:1"): PodTemplateSpec => ({ metadata: { labels }, spec: { containers: [{ name: "app", image }] } });

test("hashes: upstream's letters, stable, told apart by collision count", () => {
  const hash = hashOf(template({ app: "web" }));
  assert.match(hash, /^[bcdfghjklmnpqrstvwxz2456789]{1,10}$/);
  assert.equal(hashOf({ spec: { containers: [{ image: "app:1", name: "app" }] }, metadata: { labels: { app: "web" } } }), hash, "the order of keys means nothing");
  assert.equal(hash, "75744cdcf4", "it names existing ReplicaSets: another value would roll every Deployment anew");
  const others = [hashOf(template({ app: "web" }, "app:2")), hashOf(template({ app: "web" }), 0), hashOf(template({ app: "web" }), 1)];
  assert.equal(new Set([hash, ...others]).size, 4);
  // The digits 0 to 9 in rand.SafeEncodeString.
  assert.equal(safeEncode("0123456789"), "456789bcdf");
});

test("stable text leaves out what is absent", () => {
  assert.equal(stableJson({ b: undefined, a: [1, { d: null, c: "x" }] }), '{"a":[1,{"c":"x"}]}');
});

test("templates are the same but for the controller's own label", () => {
  assert.ok(sameTemplate(template({ app: "web", "pod-template-hash": "x" }), template({ app: "web" })));
  assert.ok(sameTemplate({ metadata: { labels: { "pod-template-hash": "x" } } }, { metadata: {} }));
  assert.ok(!sameTemplate(template({ app: "web" }), template({ app: "web" }, "app:2")));
  assert.ok(!sameTemplate(template({ app: "web" }), template({ app: "web", tier: "a" })));
});
