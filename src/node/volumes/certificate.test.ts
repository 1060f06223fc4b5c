import assert from "node:assert/strict";
import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { test } from "node:test";
import { type PodCertificateRequest, provesPossession } from "../../api/kinds/certificates/pod-certificate-request.ts";
import { resources } from "../../api/resources.ts";
import type { Pod, Volume } from "../../api/types.ts";
import { generalNames, makeCertificate, nameOf } from "../../api/x509/certificate.ts";
import { renewRoots } from "../../api/x509/mesh-authority.ts";
import { NodeHarness } from "../testing/harness.ts";
import { type ClusterTrustBundle, trustAnchors, type TrustBundleProjection } from "./trust-bundle.ts";
import { PodVolumes } from "./volumes.ts";

const minuteMs = 60_000;
const podWith = (volumes: Volume[]) =>
  ({ apiVersion: "v1", kind: "Pod", metadata: { name: "web", namespace: "default", uid: "pod-uid" }, spec: { volumes, containers: [{ name: "c" }], serviceAccountName: "cart", nodeName: "wherry" } }) as unknown as Pod;
const projected = (more: object = {}): Volume => ({ name: "id", projected: { sources: [{ podCertificate: { signerName: "example.com/mesh", keyType: "ECDSAP256", credentialBundlePath: "bundle.pem", keyPath: "key.pem", certificateChainPath: "chain.pem", ...more } }] } });

/** A node, and a signer that a test speaks for. */
class World extends NodeHarness {
  readonly authority = renewRoots(undefined, this.clock.now()).signer;

  async prepare(): Promise<this> {
    await this.client.create(resources.serviceAccounts, "default", { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "cart" } });
    await this.client.create(resources.nodes, undefined, { apiVersion: "v1", kind: "Node", metadata: { name: "wherry" } });
    return this;
  }
  volumes(volume: Volume): PodVolumes {
    return new PodVolumes(this.ctx, podWith([volume]), join(this.dataDir, "pods", "u"), 0);
  }
  get requests(): PodCertificateRequest[] {
    return [...this.client.objects.values()].filter(({ kind }) => kind === "PodCertificateRequest") as PodCertificateRequest[];
  }
  async soon<T>(what: string, ask: () => T | undefined | false): Promise<T> {
    for (const endMs = performance.now() + 60_000; performance.now() < endMs; ) {
      const answer = ask();
      if (answer) return answer;
      await setImmediate();
    }
    throw new Error(`${what}: not so`);
  }
  async decide(request: PodCertificateRequest, status: object): Promise<void> {
    await this.client.update(resources.podCertificateRequests, "default", request.metadata.name, { ...request, status });
  }
  /** Issues for an hour, to be renewed after half of it. */
  async issue(request: PodCertificateRequest): Promise<string> {
    const fromMs = Math.floor(this.clock.now() / 1000) * 1000;
    const times = { notBefore: new Date(fromMs), notAfter: new Date(fromMs + 60 * minuteMs) };
    const key = createPrivateKey(this.authority.key);
    const cert = makeCertificate({ subject: nameOf([]), publicKey: Buffer.from(request.spec.pkixPublicKey, "base64"), alternativeNames: generalNames({ uris: ["spiffe://cluster.local/ns/default/sa/cart"] }), ...times, isCA: false, usages: ["digital signature"] }, key, this.authority);
    const status = { conditions: [{ type: "Issued", status: "True", reason: "Issued" }], certificateChain: `words\n${cert}`, notBefore: times.notBefore.toISOString(), notAfter: times.notAfter.toISOString(), beginRefreshAt: new Date(fromMs + 30 * minuteMs).toISOString() };
    await this.decide(request, status);
    return cert;
  }
}
const path = async (volumes: PodVolumes, file: string) => join((await volumes.source({ name: "id", mountPath: "/m" }, {})).source!, file);

for (const keyType of ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"]) {
  test(`${keyType}: the request is true, and the files are key and chain`, async () => {
    await using world = await new World().prepare();
    const volumes = world.volumes(projected({ keyType, maxExpirationSeconds: 7200, userAnnotations: { "example.com/a": "b" } }));
    const mounting = volumes.mount();
    const request = await world.soon("a request", () => world.requests[0]);
    const { pkixPublicKey, proofOfPossession, nodeUID, serviceAccountUID, ...spec } = request.spec;
    assert.deepEqual(spec, { signerName: "example.com/mesh", podName: "web", podUID: "pod-uid", serviceAccountName: "cart", nodeName: "wherry", maxExpirationSeconds: 7200, unverifiedUserAnnotations: { "example.com/a": "b" } });
    assert.deepEqual([nodeUID, serviceAccountUID], [(await world.client.get(resources.nodes, undefined, "wherry")).metadata.uid, (await world.client.get(resources.serviceAccounts, "default", "cart")).metadata.uid]);
    assert.deepEqual(request.metadata.ownerReferences, [{ apiVersion: "v1", kind: "Pod", name: "web", uid: "pod-uid" }]);
    const publicKey = createPublicKey({ key: Buffer.from(pkixPublicKey, "base64"), format: "der", type: "spki" });
    assert.ok(provesPossession(publicKey, "pod-uid", Buffer.from(proofOfPossession, "base64")));
    const cert = await world.issue(request);
    await mounting;
    const [bundle, key, chain] = await Promise.all(["bundle.pem", "key.pem", "chain.pem"].map(async (file) => readFileSync(await path(volumes, file), "utf8")));
    assert.equal(chain, cert, "without the words between");
    assert.equal(bundle, `${key}${chain}`);
    assert.match(key!, /^-----BEGIN PRIVATE KEY-----\n/);
    assert.ok(new X509Certificate(chain!).checkPrivateKey(createPrivateKey(key!)));
    assert.deepEqual(await Promise.all(["bundle.pem", "key.pem", "chain.pem"].map(async (file) => statSync(await path(volumes, file)).mode & 0o777)), [0o600, 0o600, 0o644]);
    await volumes.unmount();
  });
}

test("a certificate is renewed before its end, with a new key, and all files change at once", async () => {
  await using world = await new World().prepare();
  const volumes = world.volumes(projected());
  const mounting = volumes.mount();
  await world.issue(await world.soon("a request", () => world.requests[0]));
  await mounting;
  const before = { data: readlinkSync(await path(volumes, "..data")), bundle: readFileSync(await path(volumes, "bundle.pem"), "utf8") };

  world.clock.advance(29 * minuteMs);
  await setImmediate();
  assert.equal(world.requests.length, 1, "not yet");
  world.clock.advance(minuteMs);
  const second = await world.soon("a second request", () => world.requests[1]);
  assert.notEqual(second.spec.pkixPublicKey, world.requests[0]!.spec.pkixPublicKey);
  assert.equal(readFileSync(await path(volumes, "bundle.pem"), "utf8"), before.bundle, "the old one is good until the new one is there");
  const cert = await world.issue(second);
  await world.soon("the new one", () => readlinkSync(join(world.sandbox.scratch, "volumes", "pod-uid", "id", "..data")) !== before.data);
  const [bundle, key, chain] = await Promise.all(["bundle.pem", "key.pem", "chain.pem"].map(async (file) => readFileSync(await path(volumes, file), "utf8")));
  assert.deepEqual([chain, bundle], [cert, `${key}${cert}`]);
  assert.ok(new X509Certificate(chain!).checkPrivateKey(createPrivateKey(key!)));
  // And again, half an hour later.
  await volumes.refresh();
  world.clock.advance(30 * minuteMs);
  await world.soon("a third request", () => world.requests[2]);
  await volumes.unmount();
});

test("a signer that is away: the pod waits in kubelet's words, one request, and goes on when it is decided", async () => {
  await using world = await new World().prepare();
  const volumes = world.volumes(projected());
  const said = assert.rejects(volumes.mount(), { message: 'MountVolume.SetUp failed for volume "id" : credential bundle is not issued yet' });
  const request = await world.soon("a request", () => world.requests[0]);
  world.clock.advance(2_000);
  await said;
  await world.issue(request);
  await volumes.mount();
  assert.equal(world.requests.length, 1);

  // Away when it should renew: what is there stays, and Events say how late it is.
  for (let minute = 0; minute < 65; minute += 5) {
    world.clock.advance(5 * minuteMs);
    let isDone = false;
    void volumes.refresh().then(() => (isDone = true));
    // Each look at the request lasts as long as the patience does.
    await world.soon("a look", () => (isDone ? true : void world.clock.advance(100)));
  }
  assert.equal(world.requests.length, 2, "asked once");
  assert.ok(new X509Certificate(readFileSync(await path(volumes, "chain.pem"), "utf8")));
  assert.deepEqual(world.events.map(({ reason, message }) => `${reason}: ${message}`), ["CertificateOverdueForRefresh: PodCertificate refresh overdue", "CertificateExpired: PodCertificate expired"]);
  await volumes.unmount();
});

for (const [type, verb, words] of [["Denied", "was denied", "permanently denied"], ["Failed", "failed", "permanently failed"]] as const) {
  test(`${type}: an Event, and the pod waits for good`, async () => {
    await using world = await new World().prepare();
    const volumes = world.volumes(projected());
    const message = `MountVolume.SetUp failed for volume "id" : PodCertificateRequest was ${words}: reason="Because" message="of it"`;
    const said = assert.rejects(volumes.mount(), { message });
    const request = await world.soon("a request", () => world.requests[0]);
    await world.decide(request, { conditions: [{ type, status: "True", reason: "Because", message: "of it" }] });
    await said;
    await assert.rejects(volumes.mount(), { message });
    assert.equal(world.requests.length, 1);
    assert.deepEqual(world.events.map(({ reason, message }) => `${reason}: ${message}`), [`${type}: PodCertificateRequest default/${request.metadata.name} ${verb}, reason="Because", message="of it"`]);
  });
}

test("a request that somebody deleted is made again", async () => {
  await using world = await new World().prepare();
  const volumes = world.volumes(projected());
  const said = assert.rejects(volumes.mount(), { message: 'MountVolume.SetUp failed for volume "id" : credential bundle is not issued yet' });
  const request = await world.soon("a request", () => world.requests[0]);
  await world.client.delete(resources.podCertificateRequests, "default", request.metadata.name);
  await said;
  const mounting = volumes.mount();
  await world.issue(await world.soon("another request", () => world.requests.find(({ metadata }) => metadata.name !== request.metadata.name)));
  await mounting;
});

test("a key type that cannot be made is refused", async () => {
  await using world = await new World().prepare();
  await assert.rejects(world.volumes(projected({ keyType: "MLDSA65" })).mount(), /while generating keypair: unknown key type "MLDSA65"$/);
});

const roots = ["a", "b"].map(() => renewRoots(undefined, Date.UTC(2026, 0, 1)).signer.cert).sort() as [string, string];
const bundles = [
  { metadata: { name: "plain" }, spec: { trustBundle: `${roots[1]}words\n${roots[0]}` } },
  { metadata: { name: "example.com:mesh:one", labels: { tier: "live" } }, spec: { signerName: "example.com/mesh", trustBundle: roots[0] } },
  { metadata: { name: "example.com:mesh:two", labels: { tier: "test" } }, spec: { signerName: "example.com/mesh", trustBundle: `${roots[0]}${roots[1]}` } },
] as unknown as ClusterTrustBundle[];
const zero = "combination of signerName and labelSelector matched zero ClusterTrustBundles";
for (const [what, projection, expected] of [
  ["by name", { name: "plain" }, roots.join("")],
  ["by name, absent", { name: "absent" }, 'while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "absent" not found'],
  ["by name, absent and optional", { name: "absent", optional: true }, ""],
  ["by signer", { signerName: "example.com/mesh", labelSelector: {} }, roots.join("")],
  ["by signer and label", { signerName: "example.com/mesh", labelSelector: { matchLabels: { tier: "live" } } }, roots[0]],
  ["by signer without selector", { signerName: "example.com/mesh" }, zero],
  ["by another signer", { signerName: "example.com/other", labelSelector: {} }, zero],
  ["by another signer, optional", { signerName: "example.com/other", labelSelector: {}, optional: true }, ""],
] as const) {
  test(`trust anchors ${what}`, () => {
    const wish = { path: "roots.pem", ...projection } as TrustBundleProjection;
    if (expected === "" || expected.startsWith("-----")) assert.equal(trustAnchors(wish, bundles), expected);
    else assert.throws(() => trustAnchors(wish, bundles), { message: expected });
  });
}
