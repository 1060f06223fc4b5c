import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync, type KeyObject, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { proofOf } from "../../../test/conformance/pod-certificates/cases.ts";
import { startApi } from "../../../test/harness-api.ts";
import { Informers } from "../../api/informer.ts";
import type { PodCertificateRequest } from "../../api/kinds/certificates/pod-certificate-request.ts";
import type { GroupVersionResource, KubeObject } from "../../api/meta.ts";
import { resources, systemNamespace } from "../../api/resources.ts";
import type { ConfigMap } from "../../api/types.ts";
import { generalNames, makeRequest, nameOf, publicKeyOf } from "../../api/x509/certificate.ts";
import { meshAuthoritySecret, openMeshAuthority } from "../../api/x509/mesh-authority.ts";
import { systemClock } from "../../base/clock.ts";
import { silentLog } from "../../base/log.ts";
import { systemRandom } from "../../base/random.ts";
import { Runner } from "../runner.ts";
import { MeshIdentity } from "./identity.ts";
import { meshSigner, meshTrustBundle } from "./names.ts";
import { podCertificateCleaner } from "./pod-certificates.ts";

type Json = Record<string, any>;

/** An API server, the mesh's authority, and who gives identities. */
async function start(t: TestContext) {
  const api = await startApi();
  t.after(() => api[Symbol.asyncDispose]());
  const { client } = api;
  await client.create(resources.namespaces, undefined, { metadata: { name: systemNamespace } });
  const options = { client, clock: systemClock, random: systemRandom, log: silentLog };
  const informers = new Informers(options);
  const authority = await openMeshAuthority(options);
  const mesh = new MeshIdentity({ client, informers, authority: Promise.resolve(authority), run: (definition) => new Runner(definition, { ...options, informers }) });
  await informers.start();
  mesh.start();
  t.after(async () => {
    await mesh.stop();
    await informers.stop();
    await authority.close();
  });
  const until = <T extends KubeObject>(resource: GroupVersionResource, key: string, so: (object: T | undefined) => boolean): Promise<T> =>
    new Promise((resolve, reject) => {
      const informer = informers.for<T>(resource);
      const look = () => {
        const found = informer.get(key);
        if (!so(found)) return;
        clearTimeout(timer);
        stop();
        resolve(found!);
      };
      const stop = informer.onChange(look);
      const timer = setTimeout(() => (stop(), reject(new Error(`${key} is not as expected: ${JSON.stringify(informer.get(key))}`))), 30_000);
      look();
    });
  return { client, authority, until };
}

function verdict(t: TestContext, chain: string, roots: string): string {
  const folder = mkdtempSync(join(tmpdir(), "wherry-identity-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "chain.pem"), chain);
  writeFileSync(join(folder, "roots.pem"), roots);
  return execFileSync("openssl", ["verify", "-x509_strict", "-CAfile", join(folder, "roots.pem"), join(folder, "chain.pem")], { encoding: "utf8", stdio: "pipe" }).trim().split(": ").at(-1)!;
}

test("the roots are in every namespace and in a bundle, and come back when somebody changes them", async (t) => {
  const { client, authority, until } = await start(t);
  const inMap = (map: ConfigMap | undefined): boolean => map?.data?.["root-cert.pem"] === authority.rootsPem;
  const made = await until<ConfigMap & KubeObject>(resources.configMaps, "default/istio-ca-root-cert", inMap);
  assert.deepEqual(made.metadata.labels, { "istio.io/config": "true" });
  const inBundle = (bundle: KubeObject | undefined): boolean => (bundle?.spec as Json | undefined)?.["trustBundle"] === authority.rootsPem;
  const bundle = await until<KubeObject>(resources.clusterTrustBundles, meshTrustBundle, inBundle);
  assert.equal((bundle.spec as Json)["signerName"], meshSigner);

  await client.patch(resources.configMaps, "default", "istio-ca-root-cert", { data: { "root-cert.pem": "another", mine: "kept" } });
  const restored = await until<ConfigMap & KubeObject>(resources.configMaps, "default/istio-ca-root-cert", (map) => inMap(map) && map?.data?.["mine"] !== undefined);
  assert.equal(restored.data!["mine"], "kept");
  await client.delete(resources.configMaps, "default", "istio-ca-root-cert");
  await until<ConfigMap & KubeObject>(resources.configMaps, "default/istio-ca-root-cert", (map) => inMap(map) && map?.data?.["mine"] === undefined);
  await client.delete(resources.clusterTrustBundles, undefined, meshTrustBundle);
  await until<KubeObject>(resources.clusterTrustBundles, meshTrustBundle, (found) => inBundle(found) && found!.metadata.uid !== bundle.metadata.uid);
  await client.create(resources.namespaces, undefined, { metadata: { name: "later" } });
  await until<ConfigMap & KubeObject>(resources.configMaps, "later/istio-ca-root-cert", inMap);
  await assert.rejects(client.get(resources.configMaps, "kube-system", "istio-ca-root-cert"), /not found/);

  // Another authority: everywhere.
  const before = authority.rootsPem;
  await client.delete(resources.secrets, systemNamespace, meshAuthoritySecret);
  for (const namespace of ["default", "later"]) await until<ConfigMap & KubeObject>(resources.configMaps, `${namespace}/istio-ca-root-cert`, (map) => inMap(map) && map?.data?.["root-cert.pem"] !== before);
  await until<KubeObject>(resources.clusterTrustBundles, meshTrustBundle, (found) => inBundle(found) && (found!.spec as Json)["trustBundle"] !== before);
});

test("a pod gets the identity of its service account, and nobody else's", async (t) => {
  const { client, authority, until } = await start(t);
  const uidOf = async (resource: GroupVersionResource, namespace: string | undefined, object: Json): Promise<string> => (await client.create<KubeObject>(resource, namespace, object)).metadata.uid!;
  const nodeUID = await uidOf(resources.nodes, undefined, { metadata: { name: "one" } });
  await uidOf(resources.nodes, undefined, { metadata: { name: "two" } });
  const serviceAccountUID = await uidOf(resources.serviceAccounts, "default", { metadata: { name: "cart" } });
  const adminUID = await uidOf(resources.serviceAccounts, "default", { metadata: { name: "admin" } });
  const podUID = await uidOf(resources.pods, "default", { metadata: { name: "web" }, spec: { nodeName: "one", serviceAccountName: "cart", containers: [{ name: "c", image: "a" }] } });
  const { privateKey: key } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const specWith = (of: KeyObject, more: Json = {}): Json => ({ signerName: meshSigner, podName: "web", podUID, serviceAccountName: "cart", serviceAccountUID, nodeName: "one", nodeUID, pkixPublicKey: publicKeyOf(of).toString("base64"), proofOfPossession: proofOf(of, (more["podUID"] as string | undefined) ?? podUID), ...more });
  const ask = (name: string, spec: Json) => client.create(resources.podCertificateRequests, "default", { metadata: { name }, spec });
  const decided = (name: string) => until<PodCertificateRequest>(resources.podCertificateRequests, `default/${name}`, (object) => (object?.status?.conditions ?? []).length > 0);

  for (const [name, of, maxExpirationSeconds] of [["p256", key, 86_400], ["rsa", generateKeyPairSync("rsa", { modulusLength: 3072 }).privateKey, 3600], ["ed25519", generateKeyPairSync("ed25519").privateKey, 7_862_400]] as const) {
    await ask(name, specWith(of, { maxExpirationSeconds }));
    const { status = {} } = await decided(name);
    assert.deepEqual(status.conditions!.map(({ type, status, message }) => [type, status, message]), [["Issued", "True", "issued to spiffe://cluster.local/ns/default/sa/cart"]]);
    assert.equal(verdict(t, status.certificateChain!, authority.rootsPem), "OK");
    const leaf = new X509Certificate(status.certificateChain!);
    assert.ok(leaf.checkPrivateKey(of));
    const lifeSeconds = (Date.parse(status.notAfter!) - Date.parse(status.notBefore!)) / 1000;
    assert.equal(lifeSeconds, Math.min(maxExpirationSeconds, 86_400), "no longer than was asked for, and no longer than a day");
    assert.equal((Date.parse(status.beginRefreshAt!) - Date.parse(status.notBefore!)) / 1000, lifeSeconds / 2);
  }

  const lies: [name: string, more: Json, reason: string][] = [
    ["pod-absent", { podName: "db" }, "PodNotFound"],
    ["pod-of-before", { podUID: "another" }, "PodNotFound"],
    ["node-two", { nodeName: "two" }, "NodeMismatch"],
    ["node-uid", { nodeUID: "another" }, "NodeMismatch"],
    ["node-absent", { nodeName: "three" }, "NodeMismatch"],
    ["account", { serviceAccountName: "admin", serviceAccountUID: adminUID }, "ServiceAccountMismatch"],
    ["account-uid", { serviceAccountUID: adminUID }, "ServiceAccountMismatch"],
    ["annotated", { unverifiedUserAnnotations: { "example.com/dns": "web" } }, "InvalidUnverifiedUserAnnotations"],
  ];
  await ask("foreign", specWith(key, { signerName: "example.com/mesh" }));
  for (const [name, more] of lies) await ask(name, specWith(key, more));
  for (const [name, , reason] of lies) {
    const { status } = await decided(name);
    assert.deepEqual([status!.conditions!.map(({ type }) => type), status!.conditions![0]!.reason, status!.certificateChain], [["Denied"], reason, undefined], name);
  }
  assert.deepEqual((await client.get<PodCertificateRequest>(resources.podCertificateRequests, "default", "foreign")).status?.conditions ?? [], [], "left to its own signer");
});

test("a program that is no pod gets the identity that somebody approved", async (t) => {
  const { client, authority, until } = await start(t);
  await client.create(resources.serviceAccounts, "default", { metadata: { name: "batch" } });
  const { privateKey: key } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const id = "spiffe://cluster.local/ns/default/sa/batch";
  type Signing = KubeObject & { status?: { certificate?: string; conditions?: { type: string; message?: string }[] } };
  const ask = (name: string, wish: { uris?: string[]; dnsNames?: string[]; usages?: string[]; expirationSeconds?: number }) => {
    const request = makeRequest({ subject: nameOf([["CN", name]]), alternativeNames: generalNames({ uris: wish.uris ?? [id], dnsNames: wish.dnsNames ?? [] }) }, key);
    return client.create<Signing>(resources.certificateSigningRequests, undefined, { metadata: { name }, spec: { request: Buffer.from(request).toString("base64"), signerName: meshSigner, usages: wish.usages ?? ["digital signature", "client auth"], ...(wish.expirationSeconds && { expirationSeconds: wish.expirationSeconds }) } });
  };
  const approve = (object: Signing, type = "Approved") => client.update(resources.certificateSigningRequests, undefined, object.metadata.name, { ...object, status: { conditions: [{ type, status: "True", reason: "Seen", message: "by me" }] } }, { subresource: "approval" });
  const signed = (name: string) => until<Signing>(resources.certificateSigningRequests, name, (object) => object?.status?.certificate !== undefined || (object?.status?.conditions ?? []).some(({ type }) => type === "Failed"));

  await ask("waiting", {});
  await approve(await ask("denied", {}), "Denied");
  await approve(await ask("approved", { expirationSeconds: 600 }));
  const { status } = await signed("approved");
  const chain = Buffer.from(status!.certificate!, "base64").toString();
  assert.equal(verdict(t, chain, authority.rootsPem), "OK");
  const leaf = new X509Certificate(chain);
  assert.deepEqual([leaf.subject, leaf.subjectAltName, leaf.keyUsage, leaf.checkPrivateKey(key)], [undefined, `URI:${id}`, ["1.3.6.1.5.5.7.3.2"], true], "its subject is not the request's, and it is good for what was asked");
  assert.ok(leaf.validToDate.getTime() - Date.now() <= 600_000);

  const refusals: [name: string, wish: Parameters<typeof ask>[1], message: string][] = [
    ["no-id", { uris: [] }, "exactly one URI subjectAltName is required: the SPIFFE id"],
    ["two-ids", { uris: [id, id] }, "exactly one URI subjectAltName is required: the SPIFFE id"],
    ["elsewhere", { uris: ["spiffe://example.com/ns/default/sa/batch"] }, '"spiffe://example.com/ns/default/sa/batch" is no SPIFFE id of this mesh: spiffe://cluster.local/ns/NAMESPACE/sa/SERVICE-ACCOUNT'],
    ["nobody", { uris: ["spiffe://cluster.local/ns/default/sa/nobody"] }, "there is no service account nobody in namespace default"],
    ["named", { dnsNames: ["web"] }, "DNS subjectAltNames are not allowed"],
    ["authority", { usages: ["cert sign"] }, 'usage "cert sign" is not allowed'],
    ["unsigned", { usages: ["client auth"] }, 'missing required usage: "digital signature"'],
    ["useless", { usages: ["digital signature"] }, 'missing required usage: "client auth" or "server auth"'],
  ];
  for (const [name, wish] of refusals) await approve(await ask(name, wish));
  for (const [name, , message] of refusals) {
    const { status } = await signed(name);
    assert.deepEqual([status!.certificate, status!.conditions!.find(({ type }) => type === "Failed")?.message], [undefined, message], name);
  }
  for (const name of ["waiting", "denied"]) assert.equal((await client.get<Signing>(resources.certificateSigningRequests, undefined, name)).status?.certificate, undefined, name);
});

test("requests go a quarter of an hour after they were made", () => {
  const nowMs = Date.UTC(2026, 0, 1);
  const object = (minutes: number) => ({ metadata: { name: "r", namespace: "n", uid: "u", resourceVersion: "1", creationTimestamp: new Date(nowMs - minutes * 60_000).toISOString() }, spec: {} }) as unknown as KubeObject;
  const plan = (minutes: number) => podCertificateCleaner.plan({ key: "n/r", object: object(minutes), cache: undefined as never, nowMs });
  assert.deepEqual(plan(14), { actions: [], requeueAfterMs: 60_000 });
  assert.deepEqual(plan(15).actions.map((action) => action.do), ["delete"]);
});
