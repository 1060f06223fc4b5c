import assert from "node:assert/strict";
import { test } from "node:test";
import { startApi } from "../../test/harness-api.ts";
import { resources } from "../api/resources.ts";
import { systemClock } from "../base/clock.ts";
import { silentLog } from "../base/log.ts";
import { Watches } from "./watches.ts";

const encoded = (text: string) => Buffer.from(text).toString("base64");

test("of Secrets, only the files that TLS may need are held, and of Helm's releases nothing", { timeout: 30_000 }, async () => {
  await using server = await startApi();
  const { client } = server;
  const put = (name: string, type: string, data: Record<string, string>, annotations = {}) => client.create(resources.secrets, "default", { metadata: { name, annotations }, type, data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, encoded(text)])) });
  await put("shop", "kubernetes.io/tls", { "tls.crt": "certificate", "tls.key": "key", note: "of no use here" });
  await put("istio", "Opaque", { cert: "certificate", key: "key", cacert: "authority", password: "hunter2" });
  await put("database", "Opaque", { password: "hunter2" }, { "kubectl.kubernetes.io/last-applied-configuration": "hunter2" });
  await put("sh.helm.release.v1.shop.v1", "helm.sh/release.v1", { release: "large" });

  const told: string[] = [];
  const watches = new Watches({ client, clock: systemClock, log: silentLog, publish() {} }, (kind, key) => told.push(`${kind}/${key}`));
  const secrets = watches.secrets();
  watches.start();
  await watches.synced();
  const held = Object.fromEntries(secrets.inNamespace("default").map(({ metadata, data }) => [metadata.name, data]));
  assert.deepEqual(held, {
    shop: { "tls.crt": encoded("certificate"), "tls.key": encoded("key") },
    istio: { cert: encoded("certificate"), key: encoded("key"), cacert: encoded("authority") },
    database: {},
  });
  assert.ok(!JSON.stringify(secrets.list()).includes("hunter2"));
  assert.deepEqual(told.filter((key) => key.startsWith("Secret/default/")).sort(), ["Secret/default/database", "Secret/default/istio", "Secret/default/shop"]);
  await watches.stop();
});
