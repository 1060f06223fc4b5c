import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { apply } from "../../src/cli/sources/apply.ts";
import { applyManifests, judgeManifests } from "../../src/cli/sources/apply-project.ts";
import { readManifests } from "../../src/cli/sources/manifests.ts";
import type { KubeObject } from "../../src/api/meta.ts";
import { startApi } from "../harness-api.ts";

const definition = (extra = "") => `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: boats.example.com }
spec:
  group: example.com
  scope: Namespaced
  names: { kind: Boat, plural: boats, singular: boat }
  versions:
  - { name: v1, served: true, storage: true, schema: { openAPIV3Schema: { type: object, properties: { spec: { type: object, properties: { oars: { type: integer${extra} } } } } } } }
`;
const boat = (oars: unknown) => `apiVersion: example.com/v1\nkind: Boat\nmetadata: { name: red, namespace: fleet }\nspec: { oars: ${String(oars)} }\n`;

test("wherry up: a folder with objects of a kind and, later in the alphabet, what defines it", async () => {
  await using server = await startApi();
  const folder = join(server.folder, "project");
  const dataDir = join(server.folder, "data");
  for (const path of [folder, dataDir]) mkdirSync(path);
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  const up = async () => {
    const manifests = readManifests(folder);
    const broken = await judgeManifests(server.client, manifests, dataDir);
    assert.deepEqual([...broken.values()], []);
    await applyManifests(server.client, manifests, dataDir);
  };
  const boats = { group: "example.com", version: "v1", resource: "boats" };
  write("a-boat.yaml", boat(2));
  write("z-definition.yaml", `---\napiVersion: v1\nkind: Namespace\nmetadata: { name: fleet }\n---\n${definition()}`);
  await up();
  assert.equal((await server.client.get(boats, "fleet", "red"))["spec"].oars, 2);
  // What is served already is judged by its schema, before anything is applied.
  write("a-boat.yaml", boat('"many"'));
  const broken = await judgeManifests(server.client, readManifests(folder), dataDir);
  assert.match([...broken.values()][0]!.message, /a-boat\.yaml: Boat\.example\.com "red" is invalid: spec\.oars: .*must be of type integer/);
  // A definition of the stack counts where the folder has none.
  write("z-definition.yaml", "");
  write("a-boat.yaml", boat(3));
  await up();
  assert.equal((await server.client.get(boats, "fleet", "red"))["spec"].oars, 3);
  write("b-unknown.yaml", "apiVersion: example.com/v2\nkind: Raft\nmetadata: { name: x }\n");
  await assert.rejects(applyManifests(server.client, readManifests(folder), dataDir), /there is no kind "Raft" in version "example\.com\/v2"/);
});

test("wherry up applies as kubectl does: strictly, and against what is there", async () => {
  await using server = await startApi();
  const client = server.http();
  const map = (extra: object = {}) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "m" }, data: { a: "1" }, ...extra }) as unknown as KubeObject;
  const maps = { group: "", version: "v1", resource: "configmaps" };
  await assert.rejects(apply(client, maps, "default", map({ dta: {} })), /strict decoding error: unknown field "dta"/);
  assert.equal(await apply(client, maps, "default", map()), "created");
  assert.equal(await apply(client, maps, "default", map()), "unchanged");
  await client.patch(maps, "default", "m", { data: { a: "2", b: "3" } }, { type: "merge" });
  assert.equal(await apply(client, maps, "default", map()), "configured");
  assert.deepEqual((await client.get(maps, "default", "m"))["data"], { a: "1", b: "3" });
  await assert.rejects(apply(client, maps, "default", map({ data: { a: "4" }, bogus: 1 })), /unknown field "bogus"/);
  assert.deepEqual((await client.get(maps, "default", "m"))["data"], { a: "1", b: "3" });
});
