import assert from "node:assert/strict";
import { test } from "node:test";
import { startApi } from "../../../test/harness-api.ts";
import type { KubeObject } from "../../api/meta.ts";
import { productDefinition } from "../../api/product/definition.ts";
import { productVersion } from "../../api/product/kinds.ts";
import { resources } from "../../api/resources.ts";
import { ServedKinds } from "./kinds.ts";

test("a kind that a stack makes by itself is waited for; another that is not there is not", async () => {
  await using server = await startApi();
  const { client } = server;
  const object = (apiVersion: string, kind: string) => ({ apiVersion, kind, metadata: { name: "one" } }) as KubeObject;
  const kinds = ServedKinds.of(client, [object(productVersion, "API")]);
  await client.create(resources.customResourceDefinitions, undefined, productDefinition);
  assert.deepEqual((await kinds).find(productVersion, "API"), { resource: { group: "api.wherry.dev", version: "v1alpha1", resource: "apis" }, namespaced: true, singular: "api.api.wherry.dev" });
  const others = await ServedKinds.of(client, [object("nobody.example.com/v1", "Thing"), object(productVersion, "API")]);
  assert.equal(others.find("nobody.example.com/v1", "Thing"), undefined);
});
