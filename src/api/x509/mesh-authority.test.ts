import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { startApi } from "../../../test/harness-api.ts";
import { FakeClock } from "../../base/clock.ts";
import { systemRandom } from "../../base/random.ts";
import { resources, systemNamespace } from "../resources.ts";
import type { Secret } from "../types.ts";
import { makeCertificate, nameOf, publicKeyOf } from "./certificate.ts";
import { meshAuthoritySecret, openMeshAuthority, parseSpiffeId, renewRoots, spiffeId } from "./mesh-authority.ts";

const dayMs = 86_400_000;
const beginMs = Date.UTC(2026, 5, 1);

/** OpenSSL's judgement of a chain at that moment, as a client's and as a server's: "OK", or what it says. */
function judged(t: TestContext, chainPem: string, rootsPem: string, atMs: number): string {
  const folder = mkdtempSync(join(tmpdir(), "wherry-mesh-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "chain.pem"), chainPem);
  writeFileSync(join(folder, "roots.pem"), rootsPem);
  const verdicts = ["sslclient", "sslserver"].map((purpose) => {
    try {
      return execFileSync("openssl", ["verify", "-attime", String(Math.floor(atMs / 1000)), "-x509_strict", "-purpose", purpose, "-CAfile", join(folder, "roots.pem"), "-untrusted", join(folder, "chain.pem"), join(folder, "chain.pem")], { encoding: "utf8", stdio: "pipe" }).trim().split(": ").at(-1)!;
    } catch (error) {
      return /error \d+ at \d+ depth lookup: (.*)/.exec((error as { stderr: string }).stderr)?.[1] ?? (error as Error).message;
    }
  });
  return [...new Set(verdicts)].join(" / ");
}

for (const [id, expected] of [
  ["spiffe://cluster.local/ns/shop/sa/cart", ["cluster.local", "shop", "cart"]],
  ["spiffe://other.example/ns/a/sa/b.c-d", ["other.example", "a", "b.c-d"]],
  ["spiffe://cluster.local/ns/shop/sa/cart/", undefined],
  ["spiffe://cluster.local/ns/shop/sa/", undefined],
  ["spiffe://cluster.local/ns/sh%6fp/sa/cart", undefined],
  ["spiffe://cluster.local/ns/shop/sa/cart?x=1", undefined],
  ["spiffe://cluster.local:80/ns/shop/sa/cart", undefined],
  ["spiffe://CLUSTER.local/ns/shop/sa/cart", undefined],
  ["spiffe://cluster.local/ns/shop/../sa/cart", undefined],
  ["https://cluster.local/ns/shop/sa/cart", undefined],
  ["spiffe://cluster.local/ns/shop/sa/cart\n", undefined],
] as const) {
  test(`the id ${JSON.stringify(id)}`, () => {
    const found = parseSpiffeId(id);
    assert.deepEqual(found && [found.trustDomain, found.namespace, found.serviceAccount], expected);
    if (found?.trustDomain === "cluster.local") assert.equal(spiffeId(found.namespace, found.serviceAccount), id);
  });
}

test("ten years and more of roots: who verifies has always heard of who signs, and keys go when they sign no more", () => {
  let state = renewRoots(undefined, beginMs);
  const signers = new Set<string>();
  let known = state.roots;
  for (let day = 0; day < 25 * 365; day++) {
    const nowMs = beginMs + day * dayMs;
    const before = state;
    state = renewRoots(state, nowMs);
    signers.add(state.signer.cert);
    assert.ok(new X509Certificate(state.signer.cert).validToDate.getTime() - nowMs > 300 * dayMs, `day ${day}: the signer is near its end`);
    if (state.signer !== before.signer) assert.ok(known.includes(state.signer.cert), `day ${day}: somebody who read the roots a day ago does not know the signer`);
    assert.ok(state.roots.includes(before.signer.cert), `day ${day}: what was signed yesterday is trusted no more`);
    known = state.roots;
  }
  assert.equal(signers.size, 3);
  assert.equal(renewRoots(state, beginMs + 25 * 365 * dayMs - dayMs), state, "nothing to do is the same object");
});

test("a stack that slept past the end of its root has a new one at once", () => {
  const old = renewRoots(undefined, beginMs);
  const nowMs = beginMs + 4000 * dayMs;
  const state = renewRoots(old, nowMs);
  assert.notEqual(state.signer.cert, old.signer.cert);
  assert.deepEqual([state.next, state.roots], [undefined, [state.signer.cert]]);
});

test("the authority: made once, kept, followed, and what it issues is an X.509-SVID", async (t) => {
  const api = await startApi();
  t.after(() => api[Symbol.asyncDispose]());
  await api.client.create(resources.namespaces, undefined, { metadata: { name: systemNamespace } });
  const clock = new FakeClock(beginMs);
  const open = async () => {
    const authority = await openMeshAuthority({ client: api.client, clock, random: systemRandom });
    t.after(() => authority.close());
    return authority;
  };
  const authority = await open();
  const id = spiffeId("shop", "cart");

  const own = authority.issue({ spiffeId: id, lifetimeSeconds: 600 });
  assert.equal(judged(t, own.chainPem, authority.rootsPem, beginMs), "OK");
  assert.equal(judged(t, own.chainPem, authority.rootsPem, beginMs + 601_000), "certificate has expired");
  const read = new X509Certificate(own.chainPem);
  assert.ok(read.checkPrivateKey(createPrivateKey(own.keyPem!)));
  assert.deepEqual([read.subject, read.subjectAltName, read.ca, read.validFromDate, read.validToDate], [undefined, `URI:${id}`, false, own.notBefore, own.notAfter]);
  assert.deepEqual([own.notBefore.getTime() - beginMs, own.notAfter.getTime() - beginMs], [-120_000, 600_000]);
  const shown = execFileSync("openssl", ["x509", "-noout", "-text"], { input: own.chainPem, encoding: "utf8" });
  for (const line of [/Subject Alternative Name: critical/, /Key Usage: critical\s+Digital Signature\n/, /TLS Web Server Authentication, TLS Web Client Authentication/, /CA:FALSE/]) assert.match(shown, line);

  for (const pair of [generateKeyPairSync("rsa", { modulusLength: 3072 }), generateKeyPairSync("ed25519"), generateKeyPairSync("ec", { namedCurve: "P-384" })]) {
    const issued = authority.issue({ spiffeId: id, publicKey: pair.publicKey.export({ type: "spki", format: "der" }), lifetimeSeconds: 40 * 86_400 });
    assert.equal(judged(t, issued.chainPem, authority.rootsPem, beginMs), "OK");
    assert.deepEqual([issued.keyPem, issued.notAfter.getTime() - beginMs], [undefined, dayMs], "no key that is not ours, and no life longer than a day");
    assert.ok(new X509Certificate(issued.chainPem).publicKey.equals(createPublicKey(pair.privateKey)));
  }

  // Kept over a restart.
  const { rootsPem } = authority;
  const again = await open();
  assert.equal(again.rootsPem, rootsPem);
  assert.equal(judged(t, own.chainPem, again.rootsPem, beginMs), "OK");

  const secret = await api.client.get<Secret>(resources.secrets, systemNamespace, meshAuthoritySecret);
  assert.deepEqual(Object.keys(secret.data!).sort(), ["ca.crt", "tls.crt", "tls.key"]);

  // An authority of the user's own, below a root whose key is elsewhere.
  const told = Promise.withResolvers<string>();
  authority.onRootsChange(told.resolve);
  const [rootKey, caKey] = [generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey, generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey];
  const life = { notBefore: new Date(beginMs - dayMs), notAfter: new Date(beginMs + 30 * dayMs), isCA: true, usages: ["cert sign"] };
  const root = makeCertificate({ subject: nameOf([["CN", "company root"]]), publicKey: publicKeyOf(rootKey), ...life }, rootKey);
  const ca = makeCertificate({ subject: nameOf([["CN", "mesh of a company"]]), publicKey: publicKeyOf(caKey), ...life }, rootKey, { cert: root });
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const theirs = { "tls.crt": base64(ca), "tls.key": base64(caKey.export({ type: "pkcs8", format: "pem" }) as string), "ca.crt": base64(`${root}${rootsPem}`) };
  await api.client.update(resources.secrets, systemNamespace, meshAuthoritySecret, { ...secret, data: theirs });
  assert.equal(await told.promise, `${root}${rootsPem}`);
  const below = authority.issue({ spiffeId: id });
  assert.equal(below.chainPem.match(/BEGIN/g)!.length, 2, "the certificate, and the one that leads to the root");
  assert.equal(judged(t, below.chainPem, root, beginMs), "OK");
  assert.equal(judged(t, own.chainPem, authority.rootsPem, beginMs), "OK", "whose roots are still in the bundle");

  // Deleted: a new one, and nothing of before is believed.
  const renewed = Promise.withResolvers<string>();
  authority.onRootsChange(renewed.resolve);
  await api.client.delete(resources.secrets, systemNamespace, meshAuthoritySecret);
  const fresh = await renewed.promise;
  assert.equal(judged(t, authority.issue({ spiffeId: id }).chainPem, fresh, beginMs), "OK");
  assert.notEqual(judged(t, own.chainPem, fresh, beginMs), "OK");
});

for (const [what, data, message] of [
  ["no certificate", {}, "tls.crt holds no certificate"],
  ["no authority", "leaf", "the certificate in tls.crt is no certificate authority"],
  ["another's key", "key", "tls.key is not the key of tls.crt"],
] as const) {
  test(`a Secret with ${what} is an error that says so, not an authority, until it is deleted`, async (t) => {
    const api = await startApi();
    t.after(() => api[Symbol.asyncDispose]());
    await api.client.create(resources.namespaces, undefined, { metadata: { name: systemNamespace } });
    const good = renewRoots(undefined, beginMs);
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const key = privateKey.export({ type: "pkcs8", format: "pem" }) as string;
    const leaf = makeCertificate({ subject: nameOf([["CN", "leaf"]]), publicKey: publicKeyOf(privateKey), notBefore: new Date(beginMs), notAfter: new Date(beginMs + dayMs), isCA: false, usages: [] }, privateKey);
    const texts = data === "leaf" ? { "tls.crt": leaf, "tls.key": key } : data === "key" ? { "tls.crt": good.signer.cert, "tls.key": key } : { "tls.crt": "", "tls.key": "" };
    await api.client.create(resources.secrets, systemNamespace, { type: "kubernetes.io/tls", metadata: { name: meshAuthoritySecret }, data: Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, Buffer.from(text).toString("base64")])) });
    const said = Promise.withResolvers<string>();
    const log = { debug() {}, info() {}, warn() {}, error: (line: string, fields?: Readonly<Record<string, unknown>>) => said.resolve(`${line}: ${String(fields?.["error"])}`), child: () => log };
    const opening = openMeshAuthority({ client: api.client, clock: new FakeClock(beginMs), random: systemRandom, log });
    assert.equal(await said.promise, `Secret wherry-system/wherry-mesh-ca: the mesh's certificate authority is not renewed: ${message}`);
    await api.client.delete(resources.secrets, systemNamespace, meshAuthoritySecret);
    const authority = await opening;
    await authority.close();
    assert.match(authority.rootsPem, /BEGIN CERTIFICATE/);
  });
}
