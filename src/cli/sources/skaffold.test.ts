import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readSkaffold } from "./skaffold.ts";

test("readSkaffold() refuses what it does not read, naming the field and the way out", () => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-skaffold-"));
  const file = join(folder, "skaffold.yaml");
  const cases: [string, RegExp][] = [
    ["build: {artifacts: [{image: a, buildpacks: {builder: b}}]}", /build\.artifacts\[0\]\.buildpacks is not read.*Dockerfile/],
    ["manifests: {helm: {releases: []}}", /manifests\.helm is not read.*rawYaml/],
    ["deploy: {helm: {releases: []}}", /deploy\.helm is not read/],
    ["build: {artifacts: [{context: .}]}", /build\.artifacts\[0\]\.image is missing/],
    ["manifests: {rawYaml: [k8s/none.yaml]}", /rawYaml names k8s\/none\.yaml, which does not exist/],
  ];
  try {
    for (const [text, message] of cases) {
      writeFileSync(file, `apiVersion: skaffold/v4beta11\nkind: Config\n${text}\n`);
      assert.throws(() => readSkaffold(file), message, text);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
