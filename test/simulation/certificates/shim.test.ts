import assert from "node:assert/strict";
import { test } from "node:test";
import { certManager } from "../../../src/api/cert-manager/types.ts";
import type { GroupVersionResource } from "../../../src/api/meta.ts";
import { resources } from "../../../src/api/resources.ts";
import { Stack } from "./stack.ts";

const gateways: GroupVersionResource = { group: "gateway.networking.k8s.io", version: "v1", resource: "gateways" };
const ingress = (name: string, annotations: string, tls: string, labels = ""): string => `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: ${name}, annotations: {${annotations}}${labels}}
spec: {tls: ${tls}, defaultBackend: {service: {name: web, port: {number: 80}}}}
---
`;
const gateway = (listeners: string, annotations = "cert-manager.io/cluster-issuer: prod, cert-manager.io/private-key-algorithm: ECDSA"): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, annotations: {${annotations}}}
spec: {gatewayClassName: wherry, listeners: [${listeners}]}
`;
const ecdsa = "cert-manager.io/private-key-algorithm: ECDSA";

test("the seed's Ingress has a certificate: made, changed and removed with it", async () => {
  await using stack = await Stack.start();
  await stack.apply(ingress("shop", `cert-manager.io/cluster-issuer: letsencrypt-prod, ${ecdsa}`, "[{hosts: [api.ecommerce.example.com], secretName: ecommerce-tls}]", ", labels: {app: shop}"));
  const { certificate, leaf } = await stack.issued("ecommerce-tls");
  assert.equal(leaf.subjectAltName, "DNS:api.ecommerce.example.com");
  assert.deepEqual(certificate["spec"], {
    dnsNames: ["api.ecommerce.example.com"],
    secretName: "ecommerce-tls",
    issuerRef: { name: "letsencrypt-prod", kind: "ClusterIssuer", group: "cert-manager.io" },
    usages: ["digital signature", "key encipherment"],
    privateKey: { algorithm: "ECDSA" },
  });
  const { ownerReferences, labels } = certificate.metadata;
  assert.deepEqual([labels, ownerReferences], [{ app: "shop" }, [{ uid: (await stack.get(resources.ingresses, "shop"))!.metadata.uid, apiVersion: "networking.k8s.io/v1", kind: "Ingress", name: "shop", controller: true, blockOwnerDeletion: true }]]);
  await stack.event("shop", 'Normal CreateCertificate: Successfully created Certificate "ecommerce-tls"');

  await stack.apply(ingress("shop", `cert-manager.io/cluster-issuer: letsencrypt-prod, ${ecdsa}, cert-manager.io/common-name: shop, cert-manager.io/duration: 24h, cert-manager.io/renew-before: 2h`, "[{hosts: [api.ecommerce.example.com, www.ecommerce.example.com], secretName: ecommerce-tls}]", ", labels: {app: shop}"));
  const second = await stack.issued("ecommerce-tls", 2);
  assert.equal(second.leaf.subject, "CN=shop");
  assert.equal(second.leaf.validToDate.getTime() - second.leaf.validFromDate.getTime(), 24 * 3_600_000);
  assert.equal(second.leaf.subjectAltName, "DNS:api.ecommerce.example.com, DNS:www.ecommerce.example.com");
  await stack.event("shop", 'Normal UpdateCertificate: Successfully updated Certificate "ecommerce-tls"');

  await stack.apply(ingress("shop", `cert-manager.io/cluster-issuer: letsencrypt-prod, ${ecdsa}`, "[{hosts: [other.test], secretName: other-tls}]", ", labels: {app: shop}"));
  await stack.issued("other-tls");
  await stack.until("the first Certificate is gone", async () => !(await stack.get(certManager.certificates, "ecommerce-tls")));
  await stack.event("shop", 'Normal DeleteCertificate: Successfully deleted unrequired Certificate "ecommerce-tls"');
  assert.ok(await stack.get(resources.secrets, "ecommerce-tls"), "its Secret stays, as cert-manager leaves it");
  await stack.client.delete(resources.ingresses, "default", "shop");
  await stack.until("the second went with the Ingress", async () => (await stack.list(certManager.certificates)).length === 0);
});

test("annotations that make no sense are told, and nothing is made", async () => {
  const cases: [annotations: string, tls: string, told: string][] = [
    ["cert-manager.io/cluster-issuer: a, cert-manager.io/issuer: b", "[{hosts: [a.test], secretName: a}]", 'Could not determine issuer for ingress due to bad annotations: both "cert-manager.io/issuer" and "cert-manager.io/cluster-issuer" may not be set'],
    ["cert-manager.io/cluster-issuer: a, cert-manager.io/issuer-kind: b", "[{hosts: [a.test], secretName: a}]", 'both "cert-manager.io/cluster-issuer" and "cert-manager.io/issuer-kind" may not be set'],
    ["kubernetes.io/tls-acme: 'true'", "[{hosts: [a.test], secretName: a}]", "failed to determine issuer name to be used for ingress resource"],
    ["cert-manager.io/cluster-issuer: a", "[{hosts: [a.test]}]", "Skipped a TLS block: spec.tls[0].secretName: Required value"],
    ["cert-manager.io/cluster-issuer: a", "[{secretName: a}]", "Skipped a TLS block: spec.tls[0].hosts: Required value"],
    ["cert-manager.io/cluster-issuer: a", "[{hosts: [a.test], secretName: a}, {hosts: [b.test], secretName: a}]", 'spec.tls[0].secretName: Invalid value: "a": this secret name must only appear in a single TLS entry but is also used in spec.tls[1].secretName'],
    ["cert-manager.io/cluster-issuer: a, cert-manager.io/duration: 5m", "[{hosts: [a.test], secretName: a}]", 'invalid ingress annotation "cert-manager.io/duration": duration must be greater than or equal to 1h0m0s'],
    ["cert-manager.io/cluster-issuer: a, cert-manager.io/usages: 'server auth, flying'", "[{hosts: [a.test], secretName: a}]", 'invalid key usage name "flying"'],
    ["cert-manager.io/cluster-issuer: a, cert-manager.io/private-key-size: '512'", "[{hosts: [a.test], secretName: a}]", 'invalid private key size for RSA algorithm "512"'],
    ["cert-manager.io/cluster-issuer: a, cert-manager.io/secret-template: '{\"annotations\": {\"cert-manager.io/x\": \"y\"}}'", "[{hosts: [a.test], secretName: a}]", "secretTemplate must not have cert-manager.io/ annotations"],
  ];
  await using stack = await Stack.start();
  await stack.apply(cases.map(([annotations, tls], index) => ingress(`wrong${index}`, annotations, tls)).join(""));
  for (const [index, [, , told]] of cases.entries()) assert.match(await stack.event(`wrong${index}`, told), /^Warning BadConfig: /);
  assert.deepEqual(await stack.list(certManager.certificates), []);
});

test("every annotation sets its field", async () => {
  await using stack = await Stack.start();
  const annotations = `cert-manager.io/issuer: own, cert-manager.io/issuer-kind: Issuer, cert-manager.io/issuer-group: cert-manager.io, cert-manager.io/alt-names: 'b.test,c.test', cert-manager.io/ip-sans: '10.0.0.1, ::1', cert-manager.io/email-sans: a@b.test, cert-manager.io/usages: 'server auth, digital signature', cert-manager.io/revision-history-limit: '3', cert-manager.io/renew-before-percentage: '40', cert-manager.io/private-key-algorithm: ECDSA, cert-manager.io/private-key-size: '384', cert-manager.io/private-key-encoding: PKCS8, cert-manager.io/private-key-rotation-policy: Never, cert-manager.io/secret-template: '{"labels": {"a": "b"}}', cert-manager.io/subject-organizations: '"A, B",C', cert-manager.io/subject-countries: CH, cert-manager.io/subject-serialnumber: '7'`;
  await stack.apply(`${ingress("all", annotations, "[{hosts: [a.test, 10.9.8.7], secretName: all}]")}{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: own}, spec: {selfSigned: {}}}`);
  const { certificate, leaf, secret } = await stack.issued("all");
  assert.deepEqual(certificate["spec"], {
    dnsNames: ["a.test", "b.test", "c.test"],
    ipAddresses: ["10.9.8.7", "10.0.0.1", "::1"],
    emailAddresses: ["a@b.test"],
    secretName: "all",
    issuerRef: { name: "own", kind: "Issuer", group: "cert-manager.io" },
    usages: ["server auth", "digital signature"],
    revisionHistoryLimit: 3,
    renewBeforePercentage: 40,
    privateKey: { algorithm: "ECDSA", size: 384, encoding: "PKCS8", rotationPolicy: "Never" },
    secretTemplate: { labels: { a: "b" } },
    subject: { organizations: ["A, B", "C"], countries: ["CH"], serialNumber: "7" },
  });
  assert.equal(leaf.publicKey.asymmetricKeyDetails!.namedCurve, "secp384r1");
  assert.equal(secret.metadata.labels!["a"], "b");
  assert.equal(Date.parse(certificate["status"].renewalTime), leaf.validToDate.getTime() - 0.4 * 90 * 86_400_000);
});

test("Gateways: a certificate for each Secret that listeners name, with all their host names", async () => {
  await using stack = await Stack.start({ gateways: true });
  const listener = (name: string, hostname: string, more: string) => `{name: ${name}, port: 443, ${hostname && `hostname: ${hostname}, `}protocol: HTTPS, tls: ${more}}`;
  const tls = (secret: string) => `{certificateRefs: [{name: ${secret}}]}`;
  const all = [listener("a", "a.test", tls("web")), listener("b", "'*.b.test'", tls("web")), listener("c", "c.test", tls("other")), listener("ignored", "d.test", tls("ignored"))];
  const annotations = `cert-manager.io/cluster-issuer: prod, ${ecdsa}, cert-manager.io/ignore-tls-listeners: 'x, ignored'`;
  await stack.apply(gateway([...all, listener("nameless", "", tls("nameless")), listener("elsewhere", "e.test", "{certificateRefs: [{name: far, namespace: other}]}"), "{name: http, port: 80, protocol: HTTP}", "{name: through, port: 443, hostname: f.test, protocol: TLS, tls: {mode: Passthrough}}"].join(", "), annotations));
  const { certificate, leaf } = await stack.issued("web");
  assert.equal(leaf.subjectAltName, "DNS:a.test, DNS:*.b.test");
  assert.deepEqual(certificate.metadata.annotations, { "acme.cert-manager.io/http01-parentrefkind": "Gateway", "acme.cert-manager.io/http01-parentrefname": "gw" });
  assert.equal(certificate.metadata.ownerReferences![0]!.kind, "Gateway");
  await stack.issued("other");
  await stack.event("gw", "Warning BadConfig: Skipped a listener block: spec.listeners[4].hostname: Required value: the hostname cannot be empty");
  await stack.event("gw", 'spec.listeners[5].tls.certificateRef[0].namespace: Invalid value: "other": cross-namespace secret references are not allowed in listeners');
  assert.deepEqual((await stack.list(certManager.certificates)).map(({ metadata }) => metadata.name).sort(), ["other", "web"]);
  await stack.apply(gateway(all.slice(0, 1).join(), annotations));
  await stack.until("one is left", async () => (await stack.list(certManager.certificates)).length === 1);
  assert.equal((await stack.issued("web", 2)).leaf.subjectAltName, "DNS:a.test");
  await stack.apply(`{apiVersion: gateway.networking.k8s.io/v1, kind: ListenerSet, metadata: {name: more, annotations: {cert-manager.io/issuer: own, ${ecdsa}}}, spec: {parentRef: {name: gw}, listeners: [${listener("g", "g.test", tls("more"))}]}}
---
{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: own}, spec: {selfSigned: {}}}`);
  const more = await stack.issued("more");
  assert.deepEqual([more.leaf.subjectAltName, more.certificate.metadata.ownerReferences![0]!.kind, more.certificate["spec"].issuerRef.kind], ["DNS:g.test", "ListenerSet", "Issuer"]);
  await stack.client.delete(gateways, "default", "gw");
  await stack.until("the Gateway's are gone", async () => (await stack.list(certManager.certificates)).map(({ metadata }) => metadata.name).join() === "more");
});

test("what somebody else made under that name is left alone", async () => {
  await using stack = await Stack.start();
  await stack.apply(`{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: own}, spec: {selfSigned: {}}}
---
{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: mine}, spec: {secretName: mine, dnsNames: [mine.test], privateKey: {algorithm: ECDSA}, issuerRef: {name: own}}}`);
  await stack.issued("mine");
  await stack.apply(ingress("shop", `cert-manager.io/cluster-issuer: prod, ${ecdsa}`, "[{hosts: [shop.test], secretName: mine}, {hosts: [b.test], secretName: b}]"));
  await stack.issued("b");
  assert.equal((await stack.issued("mine")).leaf.subjectAltName, "DNS:mine.test");
});
