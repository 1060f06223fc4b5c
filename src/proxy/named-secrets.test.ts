import assert from "node:assert/strict";
import { test } from "node:test";
import { startApi } from "../../test/harness-api.ts";
import { resources } from "../api/resources.ts";
import type { KubeObject } from "../api/meta.ts";
import { systemClock } from "../base/clock.ts";
import { silentLog } from "../base/log.ts";
import { NamedSecrets, secretsNamed } from "./named-secrets.ts";

const policy = (spec: object): KubeObject => ({ apiVersion: "gateway.envoyproxy.io/v1alpha1", kind: "SecurityPolicy", metadata: { name: "p", namespace: "shop", uid: "1" }, spec }) as unknown as KubeObject;

test("which Secrets a policy names", () => {
  assert.deepEqual(secretsNamed(undefined), []);
  assert.deepEqual(secretsNamed(policy({ apiKeyAuth: { credentialRefs: [{ name: "a" }, { name: "b", namespace: "other" }, { kind: "ConfigMap", name: "c" }], extractFrom: [{ headers: ["x"] }] } })), ["shop/a", "other/b"]);
  assert.deepEqual(secretsNamed(policy({ basicAuth: { users: { name: "a" } }, oidc: { clientSecret: { name: "b" } }, extAuth: { contextExtensions: [{ name: "x", valueRef: { kind: "Secret", name: "c", key: "k" } }] } })), ["shop/a", "shop/b", "shop/c"]);
  assert.deepEqual(secretsNamed(policy({ targetRefs: [{ kind: "HTTPRoute", name: "users" }], jwt: { providers: [{ name: "users" }] } })), []);
});

test("of the Secrets of a cluster those are read that are named, whole, as long as they are", { timeout: 30_000 }, async () => {
  await using server = await startApi();
  const { client } = server;
  const put = (name: string, data: Record<string, string>) => client.create(resources.secrets, "default", { metadata: { name, annotations: { note: "hunter2" } }, data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString("base64")])) });
  await put("named", { ann: "k-ann" });
  await put("other", { password: "hunter2" });
  const waiting = new Map<string, (data: unknown) => void>();
  const told: string[] = [];
  const secrets = new NamedSecrets({ client, clock: systemClock, log: silentLog }, (key, secret) => {
    told.push(key);
    waiting.get(key)?.(secret?.data);
  });
  const change = (key: string) => new Promise<unknown>((resolve) => waiting.set(key, resolve));
  assert.equal(secrets.get("default/named"), "unknown");
  secrets.move(["default/named", "default/later"], []);
  secrets.move(["default/named"], []);
  assert.equal(secrets.get("default/named"), "unknown");
  await secrets.synced();
  const found = secrets.get("default/named");
  assert.ok(found !== "unknown" && found);
  assert.deepEqual([found.data, found.metadata.annotations], [{ ann: Buffer.from("k-ann").toString("base64") }, undefined]);
  assert.equal(secrets.get("default/later"), undefined);
  assert.equal(secrets.get("default/other"), "unknown");
  assert.deepEqual(told.toSorted(), ["default/later", "default/named"], "each is told of once it is known, there or not");

  const came = change("default/later");
  await put("later", { bob: "k-bob" });
  assert.deepEqual(await came, { bob: Buffer.from("k-bob").toString("base64") });
  const changed = change("default/named");
  await client.patch(resources.secrets, "default", "named", { data: { eve: "" } }, { type: "merge" });
  assert.deepEqual(Object.keys((await changed) as object), ["ann", "eve"]);
  const gone = change("default/later");
  await client.delete(resources.secrets, "default", "later");
  assert.equal(await gone, undefined);

  secrets.move([], ["default/named"]);
  assert.notEqual(secrets.get("default/named"), "unknown", "another still names it");
  secrets.move([], ["default/named"]);
  assert.equal(secrets.get("default/named"), "unknown");
  await secrets.stop();
});
