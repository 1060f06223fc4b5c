import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../src/api/meta.ts";
import { startApi } from "../harness-api.ts";
import { startWebhookServer } from "../webhook-server.ts";

const definitions = { group: "apiextensions.k8s.io", version: "v1", resource: "customresourcedefinitions" };
const v1 = { group: "shop.example", version: "v1", resource: "boxes" };
const v2 = { ...v1, version: "v2" };

const version = (name: string, spec: object, storage: boolean) => ({
  name,
  served: true,
  storage,
  subresources: { status: {}, ...(storage && { scale: { specReplicasPath: ".spec.size", statusReplicasPath: ".status.size" } }) },
  schema: { openAPIV3Schema: { type: "object", properties: { spec: { type: "object", properties: spec }, status: { type: "object", properties: { size: { type: "integer" } } } } } },
});

const boxes = (clientConfig: object) => ({
  metadata: { name: "boxes.shop.example" },
  spec: {
    group: "shop.example",
    scope: "Namespaced",
    names: { plural: "boxes", kind: "Box" },
    versions: [version("v1", { size: { type: "integer" } }, true), version("v2", { dimensions: { type: "object", properties: { size: { type: "integer" }, unit: { type: "string", default: "cm" } } } }, false)],
    conversion: { strategy: "Webhook", webhook: { clientConfig, conversionReviewVersions: ["v1"] } },
  },
});
const box = (apiVersion: string, name: string, spec: object) => ({ apiVersion, kind: "Box", metadata: { name }, spec });

function converted(object: KubeObject, apiVersion: string): KubeObject {
  const spec = object["spec"] as { size?: number; dimensions?: { size?: number } };
  return { ...object, apiVersion, spec: apiVersion.endsWith("v2") ? { dimensions: { size: spec.size } } : { size: spec.dimensions?.size } };
}

test("versions that a webhook converts", async (t) => {
  await using webhook = await startWebhookServer();
  await using api = await startApi();
  let refuse = "";
  let lie: (object: KubeObject) => KubeObject = (object) => object;
  webhook.on("/convert", (request) => {
    const { uid, desiredAPIVersion, objects } = request as unknown as { uid: string; desiredAPIVersion: string; objects: KubeObject[] };
    const response = refuse ? { uid, result: { status: "Failure", message: refuse } } : { uid, convertedObjects: objects.map((object) => lie(converted(object, desiredAPIVersion))), result: { status: "Success" } };
    return { raw: { apiVersion: "apiextensions.k8s.io/v1", kind: "ConversionReview", response } };
  });
  await api.client.create(definitions, undefined, boxes({ url: `${webhook.url}/convert`, caBundle: webhook.caBundle }));
  const stored = (name: string) => api.api.store.get(`/shop.example/boxes/default/${name}`)!.object as KubeObject;

  await t.test("written in one version, stored in another, read in both", async () => {
    const created = await api.client.create<KubeObject>(v2, "default", box("shop.example/v2", "one", { dimensions: { size: 5 } }));
    assert.deepEqual(created["spec"], { dimensions: { size: 5, unit: "cm" } });
    assert.equal(stored("one").apiVersion, "shop.example/v1");
    assert.deepEqual(stored("one")["spec"], { size: 5 });
    assert.deepEqual((await api.client.get<KubeObject>(v1, "default", "one"))["spec"], { size: 5 });
    assert.deepEqual((await api.client.get<KubeObject>(v2, "default", "one"))["spec"], { dimensions: { size: 5, unit: "cm" } });
  });
  await t.test("a list is one review, and what has not changed is asked for once", async () => {
    for (const name of ["two", "three"]) await api.client.create(v1, "default", box("shop.example/v1", name, { size: 1 }));
    const before = webhook.asked.length;
    for (let round = 0; round < 2; round++) {
      const { items } = await api.client.list<KubeObject>(v2, { namespace: "default" });
      assert.deepEqual(items.map((item) => (item["spec"] as { dimensions: { size: number } }).dimensions.size), [5, 1, 1]);
    }
    assert.equal(webhook.asked.length - before, 1);
  });
  await t.test("updates, patches, apply and deletions", async () => {
    const one = await api.client.get<KubeObject>(v2, "default", "one");
    await api.client.update(v2, "default", "one", { ...one, spec: { dimensions: { size: 6 } } });
    assert.deepEqual(stored("one")["spec"], { size: 6 });
    assert.equal(stored("one").metadata.generation, 2);
    await api.client.patch(v2, "default", "one", { spec: { dimensions: { size: 7 } } });
    assert.deepEqual(stored("one")["spec"], { size: 7 });
    await api.client.patch(v1, "default", "one", { spec: { size: 8 } });
    assert.deepEqual((await api.client.get<KubeObject>(v2, "default", "one"))["spec"], { dimensions: { size: 8, unit: "cm" } });
    await api.client.patch(v2, "default", "one", box("shop.example/v2", "one", { dimensions: { size: 9 } }), { type: "apply", fieldManager: "somebody", force: true });
    assert.deepEqual(stored("one")["spec"], { size: 9 });
    await api.client.update(v2, "default", "one", { ...(await api.client.get<KubeObject>(v2, "default", "one")), status: { size: 3 } }, { subresource: "status" });
    assert.deepEqual(stored("one")["status"], { size: 3 });
    const gone = await api.client.delete<KubeObject>(v2, "default", "three");
    assert.equal(gone.apiVersion, "shop.example/v2");
  });
  await t.test("over HTTP: an object, a list, a watch", async () => {
    const http = api.http();
    assert.deepEqual((await http.get<KubeObject>(v2, "default", "one"))["spec"], { dimensions: { size: 9, unit: "cm" } });
    const { metadata, items } = await http.list<KubeObject>(v2, { namespace: "default" });
    assert.deepEqual(items.map((item) => [item.metadata.name, item.apiVersion]), [["one", "shop.example/v2"], ["two", "shop.example/v2"]]);
    const events = http.watch<KubeObject>(v2, { namespace: "default", resourceVersion: metadata.resourceVersion })[Symbol.asyncIterator]();
    const next = events.next();
    for (let size = 20; size < 23; size++) await api.client.patch(v1, "default", "two", { spec: { size } });
    const seen = [(await next).value!, (await events.next()).value!, (await events.next()).value!];
    assert.deepEqual(seen.map(({ type, object }) => [type, object["spec"]]), [20, 21, 22].map((size) => ["MODIFIED", { dimensions: { size, unit: "cm" } }]));
    await events.return?.();
  });
  await t.test("what the webhook refuses, or gets wrong, is an error and changes nothing", async () => {
    const before = stored("two");
    refuse = "not today";
    await assert.rejects(api.client.create(v2, "default", box("shop.example/v2", "four", {})), /Internal error occurred: conversion webhook for shop\.example\/v2, Kind=Box failed: not today/);
    refuse = "";
    lie = (object) => ({ ...object, metadata: { ...object.metadata, name: "other" } });
    await assert.rejects(api.client.update(v2, "default", "two", { ...box("shop.example/v2", "two", { dimensions: { size: 1 } }), metadata: { name: "two", resourceVersion: before.metadata.resourceVersion } }), /invalid metadata of converted object at index 0: name must not change/);
    lie = (object) => ({ ...object, apiVersion: "shop.example/v9" });
    await assert.rejects(api.client.create(v2, "default", box("shop.example/v2", "four", {})), /invalid groupVersion \(expected shop\.example\/v1, received shop\.example\/v9\)/);
    assert.equal(stored("two"), before);
    assert.equal(api.api.store.get("/shop.example/boxes/default/four"), undefined);
  });
  await t.test("a webhook that is down holds up nobody who looks at metadata only", async () => {
    lie = (object) => object;
    const { spec } = boxes({ url: `${webhook.url}/convert`, caBundle: webhook.caBundle });
    const [one, two] = spec.versions;
    await api.client.patch(definitions, undefined, "boxes.shop.example", { spec: { versions: [{ ...one, storage: false, subresources: { status: {} } }, { ...two, storage: true }] } });
    refuse = "down";
    assert.deepEqual((await api.client.list<KubeObject>(v2)).items.map(({ metadata, apiVersion }) => [metadata.name, apiVersion]), [["one", "shop.example/v2"], ["two", "shop.example/v2"]]);
    await assert.rejects(api.client.get(v2, "default", "one"), /failed: down/);
    await assert.rejects(api.http().list(v2, { namespace: "default" }), /failed: down/);
    await api.client.delete(definitions, undefined, "boxes.shop.example");
    while (api.api.registry.byResource("shop.example", "v2", "boxes")) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(api.api.store.range("/shop.example/"), []);
  });
});
