import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { parseYaml } from "../api/yaml.ts";
import { kubeconfigFor, openPki } from "./pki.ts";

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "wherry-pki-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
const dayMs = 24 * 3600 * 1000;

test("what is made once is found again, in files that only we may read", async (t) => {
  const dataDir = folder(t);
  const first = await openPki(dataDir);
  const second = await openPki(dataDir);
  assert.deepEqual([second.ca, second.server, second.admin, second.serviceAccountKey.id], [first.ca, first.server, first.admin, first.serviceAccountKey.id]);
  assert.equal(statSync(join(dataDir, "pki")).mode & 0o777, 0o700);
  for (const file of readdirSync(join(dataDir, "pki"))) assert.equal(statSync(join(dataDir, "pki", file)).mode & 0o777, 0o600, file);
});

test("the server's certificate holds every name it is called by, and is made anew for a new one, by the same authority", async (t) => {
  const dataDir = folder(t);
  const first = await openPki(dataDir);
  const cert = new X509Certificate(first.server.cert);
  for (const name of ["localhost", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]) assert.ok(cert.checkHost(name), name);
  for (const address of ["127.0.0.1", "10.96.0.1"]) assert.ok(cert.checkIP(address), address);
  assert.ok(cert.verify(new X509Certificate(first.ca).publicKey));
  const second = await openPki(dataDir, { names: ["api.example"], addresses: ["192.0.2.1"] });
  assert.equal(second.ca, first.ca);
  assert.ok(new X509Certificate(second.server.cert).checkHost("api.example"));
  assert.ok(new X509Certificate(second.server.cert).checkIP("192.0.2.1"));
});

test("leaves are replaced a month before their end; the authority stays", async (t) => {
  const dataDir = folder(t);
  const nowMs = Date.now();
  const first = await openPki(dataDir, { nowMs });
  assert.equal((await openPki(dataDir, { nowMs: nowMs + 300 * dayMs })).server.cert, first.server.cert);
  const later = await openPki(dataDir, { nowMs: nowMs + 340 * dayMs });
  assert.notEqual(later.server.cert, first.server.cert);
  assert.notEqual(later.admin.cert, first.admin.cert);
  assert.equal(later.ca, first.ca);
});

test("half a file is no certificate", async (t) => {
  const dataDir = folder(t);
  const first = await openPki(dataDir);
  writeFileSync(join(dataDir, "pki", "api.crt"), first.server.cert.slice(0, 200));
  const second = await openPki(dataDir);
  assert.ok(new X509Certificate(second.server.cert).verify(new X509Certificate(first.ca).publicKey));
});

test("a client certificate carries the name and each group", async (t) => {
  const { issueClient } = await openPki(folder(t));
  const { subject } = new X509Certificate((await issueClient("ann", ["team", "others"])).cert);
  assert.deepEqual(subject.split("\n").sort(), ["CN=ann", "O=others", "O=team"]);
});

test("a kubeconfig is YAML that names everything once", () => {
  const config = parseYaml(kubeconfigFor({ name: "wherry", url: "https://127.0.0.1:6443", ca: "CA", cert: "CERT", key: "KEY" }))[0] as { "current-context": string; users: { user: Record<string, string> }[] };
  assert.equal(config["current-context"], "wherry");
  assert.equal(Buffer.from(config.users[0]!.user["client-key-data"]!, "base64").toString(), "KEY");
});
