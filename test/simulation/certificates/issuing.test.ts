import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { test } from "node:test";
import { certManager } from "../../../src/api/cert-manager/types.ts";
import { resources } from "../../../src/api/resources.ts";
import { Stack } from "./stack.ts";

const hourMs = 3_600_000;
const certificate = (name: string, spec: string, metadata = ""): string => `{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: ${name}${metadata}}, spec: {secretName: ${name}-tls, ${spec}}}\n---\n`;
const selfSigned = "{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: self}, spec: {selfSigned: {}}}\n---\n";

test("a Certificate is issued as cert-manager does it, step by step", async () => {
  await using stack = await Stack.start();
  await stack.apply(selfSigned + certificate("web", "issuerRef: {name: self}, commonName: web, dnsNames: [web.test, '*.web.test'], ipAddresses: [10.0.0.1], subject: {organizations: ['A, B']}, secretTemplate: {labels: {team: a}}, additionalOutputFormats: [{type: CombinedPEM}, {type: DER}]", ", labels: {app: web}"));
  const { certificate: issued, secret, leaf, field } = await stack.issued("web");
  assert.deepEqual(stack.conditions(issued), { Ready: "True Ready: Certificate is up to date and has not expired" });
  assert.equal(issued["status"].notAfter, leaf.validToDate.toISOString().replace(".000", ""));
  assert.equal(leaf.validToDate.getTime() - leaf.validFromDate.getTime(), 90 * 24 * hourMs);
  assert.equal(Date.parse(issued["status"].renewalTime), leaf.validFromDate.getTime() + 60 * 24 * hourMs);
  assert.equal(leaf.subjectAltName, "DNS:web.test, DNS:*.web.test, IP Address:10.0.0.1");
  assert.equal(leaf.publicKey.asymmetricKeyDetails!.modulusLength, 2048);
  assert.ok(leaf.checkPrivateKey(createPrivateKey(field("tls.key"))));
  assert.match(field("tls.key"), /BEGIN RSA PRIVATE KEY/);
  assert.equal(field("ca.crt"), field("tls.crt"));
  assert.equal(field("tls-combined.pem"), `${field("tls.key")}\n${field("tls.crt")}`);
  assert.equal(secret["type"], "kubernetes.io/tls");
  assert.deepEqual(secret.metadata.labels, { team: "a", "controller.cert-manager.io/fao": "true" });
  assert.deepEqual(secret.metadata.annotations, {
    "cert-manager.io/alt-names": "web.test,*.web.test",
    "cert-manager.io/certificate-name": "web",
    "cert-manager.io/common-name": "web",
    "cert-manager.io/ip-sans": "10.0.0.1",
    "cert-manager.io/issuer-group": "cert-manager.io",
    "cert-manager.io/issuer-kind": "Issuer",
    "cert-manager.io/issuer-name": "self",
    "cert-manager.io/subject-organizations": '"A, B"',
    "cert-manager.io/uri-sans": "",
  });
  const request = (await stack.get(certManager.certificateRequests, "web-1"))!;
  assert.deepEqual(stack.conditions(request), { Approved: "True cert-manager.io: Certificate request has been approved by cert-manager.io", Ready: "True Issued: Certificate fetched from issuer successfully" });
  assert.deepEqual(request.metadata.labels, { app: "web" });
  await stack.event("web", "Normal Issuing: The certificate has been successfully issued");
  const events = await stack.events("web");
  assert.deepEqual(
    events.map((text) => text.replace(/"web-[0-9a-f]{5}"/, '"web-…"')).sort(),
    ["Normal Issuing: Issuing certificate as Secret does not exist", 'Normal Generated: Stored new private key in temporary Secret resource "web-…"', 'Normal Requested: Created new CertificateRequest resource "web-1"', "Normal Issuing: The certificate has been successfully issued"].sort(),
  );
  await stack.until("the temporary key is gone", async () => (await stack.list(resources.secrets)).length === 1);
});

test("reasons to issue anew: the Secret is gone or spoilt, the spec changed, its time has come", async () => {
  await using stack = await Stack.start();
  const spec = "issuerRef: {name: self}, privateKey: {algorithm: ECDSA}, duration: 3h, renewBefore: 1h";
  await stack.apply(selfSigned + certificate("web", `${spec}, dnsNames: [web.test]`));
  const first = await stack.issued("web");
  await stack.client.delete(resources.secrets, "default", "web-tls");
  const second = await stack.issued("web", 2);
  assert.notEqual(second.leaf.serialNumber, first.leaf.serialNumber);
  assert.notEqual(second.field("tls.key"), first.field("tls.key"), "keys are rotated");

  await stack.apply(certificate("web", `${spec}, dnsNames: [web.test, more.test]`));
  const third = await stack.issued("web", 3);
  assert.equal(third.leaf.subjectAltName, "DNS:web.test, DNS:more.test");
  await stack.event("web", "Fields on existing CertificateRequest resource not up to date: [spec.dnsNames]");

  await stack.client.patch(resources.secrets, "default", "web-tls", { data: { "tls.key": Buffer.from("nonsense").toString("base64") } }, { type: "merge" });
  const fourth = await stack.issued("web", 4);
  await stack.event("web", "Issuing certificate as Secret contains invalid private key data");

  // Nothing happens until an hour before the end, and then at once.
  stack.clock.advance(Date.parse(fourth.certificate["status"].renewalTime) - stack.clock.now() - 60_000);
  for (let turn = 0; turn < 20; turn++) await stack.until("time passes", async () => true);
  assert.equal((await stack.get(certManager.certificates, "web"))!["status"].revision, 4);
  stack.clock.advance(60_000);
  const fifth = await stack.issued("web", 5);
  assert.ok(fifth.leaf.validFromDate.getTime() >= Date.parse(fourth.certificate["status"].renewalTime));
  await stack.event("web", "Renewing certificate as renewal was scheduled at 2026-06-01 02:0");
  assert.deepEqual((await stack.list(certManager.certificateRequests)).map(({ metadata }) => metadata.name), ["web-5"], "of the old requests none is kept");
});

test("a key may stay: rotationPolicy Never", async () => {
  await using stack = await Stack.start();
  const spec = "issuerRef: {name: self}, privateKey: {algorithm: Ed25519, rotationPolicy: Never, encoding: PKCS8}";
  await stack.apply(selfSigned + certificate("web", `${spec}, dnsNames: [web.test]`));
  const first = await stack.issued("web");
  await stack.apply(certificate("web", `${spec}, dnsNames: [other.test]`));
  const second = await stack.issued("web", 2);
  assert.equal(second.field("tls.key"), first.field("tls.key"));
  await stack.event("web", 'Reusing private key stored in existing Secret resource "web-tls"');
  await stack.apply(certificate("web", "issuerRef: {name: self}, dnsNames: [other.test], privateKey: {algorithm: RSA, rotationPolicy: Never}"));
  await stack.event("web", "User intervention required");
});

test("an authority of one's own: self-signed root, issuer, intermediate, leaf", async () => {
  await using stack = await Stack.start();
  await stack.apply(`{apiVersion: cert-manager.io/v1, kind: ClusterIssuer, metadata: {name: self}, spec: {selfSigned: {}}}
---
{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: root, namespace: cert-manager}, spec: {secretName: root-tls, isCA: true, commonName: root, privateKey: {algorithm: ECDSA}, issuerRef: {name: self, kind: ClusterIssuer}}}
---
{apiVersion: cert-manager.io/v1, kind: ClusterIssuer, metadata: {name: root}, spec: {ca: {secretName: root-tls}}}
---
{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: between}, spec: {ca: {secretName: between-tls, crlDistributionPoints: ['http://crl.test/']}}}
---
${certificate("between", "isCA: true, commonName: between, privateKey: {algorithm: ECDSA, size: 384}, issuerRef: {name: root, kind: ClusterIssuer}")}
${certificate("leaf", "dnsNames: [leaf.test], usages: [server auth, client auth], privateKey: {algorithm: ECDSA}, issuerRef: {name: between}")}`);
  const root = await stack.issued("root", 1, "cert-manager");
  const between = await stack.issued("between");
  const leaf = await stack.issued("leaf");
  const chain = leaf.field("tls.crt").match(/-----BEGIN[^]*?-----END CERTIFICATE-----\n/g)!;
  assert.deepEqual(chain.map((pem) => new X509Certificate(pem).subject), [leaf.leaf.subject, between.leaf.subject]);
  assert.equal(leaf.field("ca.crt"), root.field("tls.crt"));
  assert.ok(leaf.leaf.checkIssued(between.leaf) && between.leaf.checkIssued(root.leaf) && leaf.leaf.verify(between.leaf.publicKey) && between.leaf.verify(root.leaf.publicKey));
  assert.ok(between.leaf.ca && root.leaf.ca && !leaf.leaf.ca);
  assert.equal(stack.conditions(await stack.get(certManager.issuers, "between"))["Ready"], "True KeyPairVerified: Signing CA verified");
  const request = (await stack.get(certManager.certificateRequests, "leaf-1"))!;
  assert.ok(!("PubliclyTrusted" in stack.conditions(request)));
});

test("ClusterIssuers of elsewhere are served by the local authority, which says so", async () => {
  await using stack = await Stack.start();
  const ref = (name: string) => `privateKey: {algorithm: ECDSA}, issuerRef: {name: ${name}, kind: ClusterIssuer}`;
  await stack.apply(`{apiVersion: cert-manager.io/v1, kind: ClusterIssuer, metadata: {name: staging}, spec: {acme: {server: 'https://acme-staging-v02.api.letsencrypt.org/directory', privateKeySecretRef: {name: account}, solvers: [{http01: {ingress: {ingressClassName: nginx}}}]}}}
---
${certificate("seed", `dnsNames: [api.ecommerce.example.com], ${ref("letsencrypt-prod")}`)}${certificate("acme", `dnsNames: [shop.test], ${ref("staging")}`)}${certificate("own", `dnsNames: [shop.acme.com], ${ref("staging")}`)}${certificate("authority", `commonName: ca, isCA: true, ${ref("staging")}`)}`);
  const seed = await stack.issued("seed");
  assert.match(stack.conditions(seed.certificate)["PubliclyTrusted"]!, /^False IssuerNotDefined: there is no ClusterIssuer "letsencrypt-prod" in this stack: signed by Wherry's local CA\. Certificates of Wherry's local CA are not publicly trusted; `wherry trust` has this machine trust it$/);
  for (const name of ["seed", "seed-1"]) await stack.event(name, "Warning IssuerNotDefined: there is no ClusterIssuer");
  const trusted = new X509Certificate(seed.field("ca.crt"));
  assert.match(trusted.subject, /CN=Wherry local CA /);
  assert.ok(seed.leaf.checkIssued(trusted) && seed.leaf.verify(trusted.publicKey));
  const acme = await stack.issued("acme");
  assert.match(stack.conditions(acme.certificate)["PubliclyTrusted"]!, /^False LocalCA: https:\/\/acme-staging-v02\.api\.letsencrypt\.org\/directory was not asked/);
  const own = await stack.issued("own");
  assert.match(stack.conditions(own.certificate)["PubliclyTrusted"]!, /`wherry trust` does not cover it either/);
  assert.notEqual(own.field("ca.crt"), acme.field("ca.crt"));
  const issuer = await stack.get(certManager.clusterIssuers, "staging", undefined);
  assert.match(stack.conditions(issuer)["Ready"]!, /^True LocalCA: .* is not asked: it would have to reach this machine by its public names\. Wherry's local CA signs instead, .*not publicly trusted/);
  await stack.event("staging", "Normal LocalCA:");
  await stack.event("authority", "the local CA signs no further authorities");
});

test("what stands in the way is said: issuers that are missing or not ready, specs that nobody can serve", async () => {
  await using stack = await Stack.start();
  const key = "privateKey: {algorithm: ECDSA}";
  await stack.apply(
    selfSigned +
      `{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: empty}, spec: {ca: {secretName: none}}}\n---\n` +
      `{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: vault}, spec: {vault: {server: 'https://v', path: p, auth: {tokenSecretRef: {name: t}}}}}\n---\n` +
      certificate("missing", `dnsNames: [a.test], ${key}, issuerRef: {name: nobody}`) +
      certificate("unready", `dnsNames: [a.test], ${key}, issuerRef: {name: empty}`) +
      certificate("keystore", `dnsNames: [a.test], ${key}, issuerRef: {name: self}, keystores: {pkcs12: {create: true, password: x}}`) +
      certificate("nameless", `${key}, issuerRef: {name: self}`) +
      certificate("wrong", `dnsNames: [a.test], ipAddresses: [1.2.3], duration: 1m, privateKey: {size: 1024}, issuerRef: {name: self}`),
  );
  const ready = (name: string, text: RegExp) => stack.until(`${name}: ${text.source}`, async () => text.test(stack.conditions(await stack.get(certManager.certificates, name))["Ready"] ?? ""));
  const pending = (name: string, text: RegExp) => stack.until(`${name}: ${text.source}`, async () => text.test(stack.conditions(await stack.get(certManager.certificateRequests, name))["Ready"] ?? ""));
  await pending("missing-1", /^False Pending: Referenced "Issuer" not found: issuer\.cert-manager\.io "nobody" not found$/);
  await pending("unready-1", /^False Pending: Referenced issuer does not have a Ready status condition$/);
  await ready("keystore", /^False NotSupported: not served by Wherry: spec\.keystores\.pkcs12$/);
  await ready("nameless", /^False InvalidSpec: spec: Invalid value: at least one of commonName/);
  await ready("wrong", /^False InvalidSpec: spec\.ipAddresses\[0\].*spec\.duration.*spec\.privateKey\.size/);
  const issuer = (name: string) => stack.until(name, () => stack.get(certManager.issuers, name)).then((found) => stack.conditions(found)["Ready"]);
  assert.equal(await issuer("empty"), 'False ErrGetKeyPair: Error getting keypair for CA issuer: secrets "none" not found');
  assert.equal(await issuer("vault"), "False NotSupported: spec.vault is not served by Wherry: selfSigned, ca and acme are");
  for (const [name, issuerRef] of [["nonsense", "{name: self}"], ["nonsense-local", "{name: prod, kind: ClusterIssuer}"]]) {
    await stack.apply(`{apiVersion: cert-manager.io/v1, kind: CertificateRequest, metadata: {name: ${name}, annotations: {cert-manager.io/private-key-secret-name: some-key}}, spec: {request: bm9uc2Vuc2U=, issuerRef: ${issuerRef}}}`);
  }
  await pending("nonsense", /^False Pending: Referenced secret default\/some-key not found/);
  await pending("nonsense-local", /^False Failed: Error generating certificate template: /);
  // Then it comes, and who waited goes on.
  await stack.apply("{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: nobody}, spec: {selfSigned: {}}}");
  await stack.issued("missing");
});

test("a request that is denied fails the Certificate, which rests an hour; a changed spec does not wait", async () => {
  await using stack = await Stack.start();
  const spec = "privateKey: {algorithm: ECDSA}, issuerRef: {name: late}";
  await stack.apply(certificate("web", `dnsNames: [a.test], ${spec}`));
  const request = await stack.until("a request", () => stack.get(certManager.certificateRequests, "web-1"));
  await stack.until("approved", async () => "Approved" in stack.conditions(await stack.get(certManager.certificateRequests, "web-1")));
  const denied = { type: "Denied", status: "True", reason: "Policy", message: "not that name", lastTransitionTime: "2026-06-01T00:00:00Z" };
  await stack.client.patch(certManager.certificateRequests, "default", "web-1", { status: { conditions: [denied] } }, { type: "merge", subresource: "status" });
  await stack.event("web", "Warning Policy: The certificate request has failed to complete and will be retried: not that name");
  const failed = (await stack.get(certManager.certificates, "web"))!;
  assert.equal(failed["status"].failedIssuanceAttempts, 1);
  assert.match(stack.conditions(failed)["Issuing"]!, /^False Policy:/);
  await stack.apply("{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: late}, spec: {selfSigned: {}}}");
  assert.equal((await stack.get(certManager.certificateRequests, "web-1"))!.metadata.uid, request.metadata.uid, "it rests");
  await stack.apply(certificate("web", `dnsNames: [b.test], ${spec}`));
  const { certificate: issued } = await stack.issued("web");
  assert.ok(!("failedIssuanceAttempts" in issued["status"]) && !("lastFailureTime" in issued["status"]));
});

test("controllers that end at any moment go on where they were", async () => {
  await using stack = await Stack.start();
  await stack.apply(selfSigned);
  for (let steps = 0; steps < 12; steps++) {
    const name = `web${steps}`;
    await stack.apply(certificate(name, "dnsNames: [a.test], privateKey: {algorithm: ECDSA}, issuerRef: {name: self}"));
    let left = steps;
    await stack.until("some steps", async () => left-- === 0);
    await stack.stopControllers();
    await stack.startControllers();
  }
  for (let steps = 0; steps < 12; steps++) await stack.issued(`web${steps}`);
  assert.equal((await stack.list(certManager.certificateRequests)).length, 12);
  await stack.until("no key is left over", async () => (await stack.list(resources.secrets)).length === 12);
});

test("two Certificates for one Secret: the older has it, the other says so", async () => {
  await using stack = await Stack.start();
  const spec = "privateKey: {algorithm: ECDSA}, issuerRef: {name: self}";
  await stack.apply(`${selfSigned}{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: one}, spec: {secretName: shared, dnsNames: [one.test], ${spec}}}`);
  await stack.issued("one");
  await stack.apply(`{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: two}, spec: {secretName: shared, dnsNames: [two.test], ${spec}}}`);
  await stack.until("two is told", async () => stack.conditions(await stack.get(certManager.certificates, "two"))["Ready"]?.startsWith('False IncorrectCertificate: Secret was issued for "one"'));
  stack.clock.advance(10 * 60_000);
  assert.equal((await stack.issued("one")).leaf.subjectAltName, "DNS:one.test");
  await stack.client.delete(certManager.certificates, "default", "one");
  assert.equal((await stack.issued("two")).leaf.subjectAltName, "DNS:two.test");
});

test("labels and annotations of a Secret follow the template; what others put there stays", async () => {
  await using stack = await Stack.start();
  const spec = "dnsNames: [a.test], privateKey: {algorithm: ECDSA}, issuerRef: {name: self}";
  await stack.apply(selfSigned + certificate("web", `${spec}, secretTemplate: {labels: {a: '1', b: '1'}, annotations: {note: x}}`));
  await stack.issued("web");
  await stack.client.patch(resources.secrets, "default", "web-tls", { metadata: { labels: { mine: "yes" }, annotations: { note: "spoilt" } }, data: { extra: "eA==" } }, { type: "merge" });
  await stack.apply(certificate("web", `${spec}, secretTemplate: {labels: {a: '2'}, annotations: {note: x}}`));
  const secret = await stack.until("as wanted", async () => {
    const found = (await stack.get(resources.secrets, "web-tls"))!;
    return found.metadata.labels!["a"] === "2" && found;
  });
  assert.deepEqual(secret.metadata.labels, { a: "2", "controller.cert-manager.io/fao": "true", mine: "yes" });
  assert.equal(secret.metadata.annotations!["note"], "x");
  assert.equal(secret["data"].extra, "eA==");
  assert.equal((await stack.issued("web")).certificate["status"].revision, 1, "nothing was issued anew");
});
