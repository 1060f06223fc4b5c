import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { describeFromTypings } from "./typings.ts";

test("words come from the comments of typings, by group and version", (t) => {
  const root = mkdtempSync(join(tmpdir(), "wherry-typings-"));
  t.after(() => rmSync(root, { recursive: true }));
  const put = (path: string, text: string): void => {
    const file = join(root, "node_modules", path);
    mkdirSync(join(file, ".."), { recursive: true });
    writeFileSync(file, text);
  };
  const typing = (name: string, own: string) => `/**
 * ${own}
 */
export interface I${name} {
    /**
     * First line.
     *
     * - a list
     */
    "one"?: string;
    "silent": string;
    /**
     * Of two.
     */
    "two": string;
}
/**
 * The class.
 */
export declare class ${name} {
    "one"?: string;
}
`;
  put("kubernetes-models/package.json", "{}");
  put("kubernetes-models/v1/Thing.d.ts", typing("Thing", "A thing."));
  put("kubernetes-models/rbac.authorization.k8s.io/v1/Rule.d.ts", typing("Rule", "A rule."));
  put("@kubernetes-models/apimachinery/package.json", "{}");
  put("@kubernetes-models/apimachinery/apis/meta/v1/ObjectMeta.d.ts", typing("ObjectMeta", "Metadata."));
  const describe = describeFromTypings(join(root, "index.js"));
  assert.equal(describe("io.k8s.api.core.v1.Thing"), "A thing.");
  assert.equal(describe("io.k8s.api.core.v1.Thing", "one"), "First line.\n\n- a list");
  assert.equal(describe("io.k8s.api.core.v1.Thing", "silent"), undefined);
  assert.equal(describe("io.k8s.api.core.v1.Thing", "two"), "Of two.");
  assert.equal(describe("io.k8s.api.rbac.v1.Rule"), "A rule.");
  assert.equal(describe("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"), "Metadata.");
  assert.equal(describe("io.k8s.api.core.v1.Unknown"), undefined);
  assert.equal(describe("com.example.v1.Widget", "spec"), undefined);
});

test("without the package nothing is said", (t) => {
  const root = mkdtempSync(join(tmpdir(), "wherry-typings-"));
  t.after(() => rmSync(root, { recursive: true }));
  assert.equal(describeFromTypings(join(root, "index.js"))("io.k8s.api.core.v1.Pod"), undefined);
});
