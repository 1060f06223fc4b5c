import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { startApi } from "../../../test/harness-api.ts";
import { productDefinition } from "../product/definition.ts";
import { resources } from "../resources.ts";
import { installDefinitions, shippedDefinitionNames, shippedDefinitions, shippedNames } from "./definitions.ts";

test("the names are those of the definitions", () => {
  assert.deepEqual(shippedDefinitionNames(), Object.fromEntries(shippedNames.map((name) => [name, shippedDefinitions(name).map(({ metadata }) => metadata.name)])));
});

test("a start where nothing is missing reads no definition and writes nothing; one that is missing comes back; our own kind is this version's", async (t) => {
  await using server = await startApi();
  const { client } = server;
  const read: string[] = [];
  const { readFileSync } = fs;
  await installDefinitions(client);
  const revisions = async () => (await client.list(resources.customResourceDefinitions)).items.map(({ metadata }) => `${metadata.name} ${metadata.resourceVersion}`).sort();
  const before = await revisions();
  t.mock.method(fs, "readFileSync", (...args: Parameters<typeof readFileSync>) => (read.push(String(args[0])), readFileSync(...args)));
  (await import("node:module")).syncBuiltinESMExports();
  const files = () => read.splice(0).filter((file) => file.includes("/definitions/")).map((file) => file.slice(file.lastIndexOf("/") + 1));
  await installDefinitions(client);
  assert.deepEqual([files(), await revisions()], [["names.json"], before]);

  await client.delete(resources.customResourceDefinitions, undefined, "issuers.cert-manager.io");
  await client.patch(resources.customResourceDefinitions, undefined, "apis.api.wherry.dev", { metadata: { annotations: { "api.wherry.dev/definition": "older" } }, spec: { names: { shortNames: ["product"] } } }, { type: "merge" });
  await client.patch(resources.customResourceDefinitions, undefined, "gateways.gateway.networking.k8s.io", { metadata: { labels: { mine: "yes" } } }, { type: "merge" });
  await installDefinitions(client);
  assert.deepEqual(files(), ["names.json", "cert-manager.json"]);
  const get = (name: string) => client.get(resources.customResourceDefinitions, undefined, name);
  assert.ok(await get("issuers.cert-manager.io"));
  assert.equal((await get("gateways.gateway.networking.k8s.io")).metadata.labels?.["mine"], "yes");
  const own = await get("apis.api.wherry.dev");
  assert.notEqual(own.metadata.annotations?.["api.wherry.dev/definition"], "older");
  assert.deepEqual(own["spec"].versions[0].schema.openAPIV3Schema.properties.spec.properties, (productDefinition["spec"] as typeof own["spec"]).versions[0].schema.openAPIV3Schema.properties.spec.properties);
});
