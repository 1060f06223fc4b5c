import { constants, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import type { HttpClient } from "../../../src/api/http-client.ts";
import type { StatusError } from "../../../src/api/status.ts";
import { generalNames, makeCertificate, nameOf, publicKeyOf } from "../../../src/api/x509/certificate.ts";

/**
 * PodCertificateRequests and ClusterTrustBundles, good and bad, one after the other to one API server; what it says is the same
 * for Wherry and for kube-apiserver, and stands in answers.txt.
 */
type Json = Record<string, any>;
const path = "/apis/certificates.k8s.io/v1beta1";
const requests = `${path}/namespaces/default/podcertificaterequests`;
const minuteMs = 60_000;

const keys = {
  P256: generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey,
  P384: generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey,
  P521: generateKeyPairSync("ec", { namedCurve: "P-521" }).privateKey,
  P224: generateKeyPairSync("ec", { namedCurve: "secp224r1" }).privateKey,
  secp256k1: generateKeyPairSync("ec", { namedCurve: "secp256k1" }).privateKey,
  Ed25519: generateKeyPairSync("ed25519").privateKey,
  X25519: generateKeyPairSync("x25519").privateKey,
  RSA2048: generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey,
  RSA3072: generateKeyPairSync("rsa", { modulusLength: 3072 }).privateKey,
  RSA4096: generateKeyPairSync("rsa", { modulusLength: 4096 }).privateKey,
} as const;

export function proofOf(key: KeyObject, podUID: string, padding: number = constants.RSA_PKCS1_PSS_PADDING): string {
  if (key.asymmetricKeyType === "x25519") return "AA==";
  const options = key.asymmetricKeyType === "rsa" ? { key, padding, ...(padding === constants.RSA_PKCS1_PSS_PADDING && { saltLength: constants.RSA_PSS_SALTLEN_MAX_SIGN }) } : key;
  return sign(key.asymmetricKeyType === "ed25519" ? null : "sha256", Buffer.from(podUID), options).toString("base64");
}

export const specOf = (key: KeyObject, more: Json = {}): Json => {
  const podUID = (more["podUID"] as string | undefined) ?? "pod-uid";
  return { signerName: "example.com/mesh", podName: "web", podUID, serviceAccountName: "default", serviceAccountUID: "account-uid", nodeName: "one", nodeUID: "node-uid", pkixPublicKey: publicKeyOf(key).toString("base64"), proofOfPossession: proofOf(key, podUID), ...more };
};

const authorityKey = keys.P256;
const certificate = (wish: { key?: KeyObject; fromMs: number; toMs: number; isCA?: boolean; dnsNames?: string[]; emails?: string[]; name?: string }): string =>
  makeCertificate({ subject: nameOf([["CN", wish.name ?? "x"]]), publicKey: publicKeyOf(wish.key ?? authorityKey), alternativeNames: generalNames({ dnsNames: wish.dnsNames ?? [], emails: wish.emails ?? [] }), notBefore: new Date(wish.fromMs), notAfter: new Date(wish.toMs), isCA: wish.isCA ?? false, usages: [] }, authorityKey);

const wholeSecond = (ms: number): number => Math.floor(ms / 1000) * 1000;
const at = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+/, "");

/** All answers, a line each. */
export async function answers(client: HttpClient): Promise<string> {
  const lines: string[] = [];
  const ask = async (label: string, method: string, url: string, body?: Json, headers: Record<string, string> = {}): Promise<Json | undefined> => {
    try {
      const { text } = await client.raw(method, url, body, headers);
      const object = JSON.parse(text) as Json;
      const shown = object["kind"] === "Table" ? (object["rows"] as Json[]).map((row) => (row["cells"] as unknown[]).join(" | ")).join(" / ") : brief(object);
      lines.push(`${label}: ${shown}`);
      return object;
    } catch (error) {
      const { code, message } = error as StatusError;
      lines.push(`${label}: ${code} ${plain(message)}`);
      return undefined;
    }
  };
  const nowMs = wholeSecond(Date.now());

  lines.push("# requests");
  let number = 0;
  const make = (label: string, spec: Json, metadata: Json = {}) => ask(label, "POST", requests, { metadata: { name: `r${++number}`, ...metadata }, spec });
  for (const [name, key] of Object.entries(keys)) await make(`key ${name}`, specOf(key));
  const good = specOf(keys.P256);
  await make("proof of another pod", specOf(keys.P256, { proofOfPossession: proofOf(keys.P256, "other-uid") }));
  await make("proof by another key", specOf(keys.Ed25519, { proofOfPossession: proofOf(keys.P256, "pod-uid") }));
  await make("proof that is no signature", specOf(keys.P256, { proofOfPossession: "AAAA" }));
  await make("no proof", specOf(keys.RSA3072, { proofOfPossession: "" }));
  await make("RSA, PKCS #1 v1.5", specOf(keys.RSA3072, { proofOfPossession: proofOf(keys.RSA3072, "pod-uid", constants.RSA_PKCS1_PADDING) }));
  await make("no key", { ...good, pkixPublicKey: "" });
  await make("a key that is none", { ...good, pkixPublicKey: Buffer.from("nonsense").toString("base64") });
  await make("a key too large", { ...good, pkixPublicKey: Buffer.alloc(10_241).toString("base64") });
  await make("a proof too large", { ...good, proofOfPossession: Buffer.alloc(10_241).toString("base64") });
  for (const [label, more] of [
    ["no signer", { signerName: "" }],
    ["a signer without domain", { signerName: "mesh" }],
    ["a signer of one label", { signerName: "mesh/one" }],
    ["legacy-unknown", { signerName: "kubernetes.io/legacy-unknown" }],
    ["names", { podName: "A_", serviceAccountName: "-", nodeName: "." }],
    ["no uids", { serviceAccountUID: "", nodeUID: "" }],
    ["long uids", { serviceAccountUID: "x".repeat(129), nodeUID: "y".repeat(128) }],
    ["59 minutes", { maxExpirationSeconds: 3599 }],
    ["an hour", { maxExpirationSeconds: 3600 }],
    ["91 days", { maxExpirationSeconds: 7_862_400 }],
    ["more than 91 days", { maxExpirationSeconds: 7_862_401 }],
    ["two days by Kubernetes", { signerName: "kubernetes.io/x", maxExpirationSeconds: 172_800 }],
    ["two days by a part of Kubernetes", { signerName: "sig.kubernetes.io/x", maxExpirationSeconds: 172_800 }],
    ["annotations", { unverifiedUserAnnotations: { "Example.com/A": "b" } }],
    ["annotations without domain", { unverifiedUserAnnotations: { a: "b" } }],
    ["annotations without name", { unverifiedUserAnnotations: { "example.com/": "b" } }],
    ["annotations too large", { unverifiedUserAnnotations: { "example.com/a": "b".repeat(262_144) } }],
  ] as [string, Json][]) await make(label, specOf(keys.Ed25519, more));
  await make("a pod without uid", specOf(keys.Ed25519, { podUID: "" }));
  await make("a status of one's own", good, { generation: 7, labels: { a: "b" } });
  await ask("no spec", "POST", requests, { metadata: { name: "empty" } });
  await ask("unknown fields", "POST", `${requests}?fieldValidation=Strict`, { metadata: { name: "strict" }, spec: { ...good, odd: 1 } });

  lines.push("# changes");
  await ask("made", "POST", requests, { metadata: { name: "one" }, spec: good, status: { certificateChain: "x" } });
  const merge = { "content-type": "application/merge-patch+json" };
  await ask("a label", "PATCH", `${requests}/one`, { metadata: { labels: { a: "b" } } }, merge);
  await ask("another pod", "PATCH", `${requests}/one`, { spec: { podName: "other" } }, merge);
  await ask("a status by the main door", "PATCH", `${requests}/one`, { status: { certificateChain: "x" } }, merge);
  await ask("unconditionally", "PUT", `${requests}/one`, { metadata: { name: "one" }, spec: good });

  lines.push("# status");
  const status = (label: string, value: Json, name = "one") => ask(label, "PATCH", `${requests}/${name}/status`, { status: value }, merge);
  const condition = (type: string, more: Json = {}): Json => ({ type, status: "True", reason: "Because", message: "of it", lastTransitionTime: at(nowMs), ...more });
  const issued = (wish: Partial<Parameters<typeof certificate>[0]> = {}, more: Json = {}): Json => {
    const fromMs = wish.fromMs ?? nowMs - minuteMs;
    const toMs = wish.toMs ?? fromMs + 120 * minuteMs;
    return { conditions: [condition("Issued")], certificateChain: certificate({ key: keys.P256, ...wish, fromMs, toMs }), notBefore: at(fromMs), notAfter: at(toMs), beginRefreshAt: at(fromMs + 60 * minuteMs), ...more };
  };
  await status("nothing but a chain", { certificateChain: "x" });
  await status("an unknown condition", { conditions: [condition("Suggested")] });
  await status("issued and denied", { conditions: [condition("Issued"), condition("Denied")] });
  await status("issued: no", { conditions: [condition("Issued", { status: "False" })] });
  await status("without reason", { conditions: [condition("Denied", { reason: "" })] });
  await status("a reason in words", { conditions: [condition("Denied", { reason: "as it is" })] });
  await status("denied with a chain", { conditions: [condition("Denied")], certificateChain: "x" });
  await status("issued without anything", { conditions: [condition("Issued")] });
  await status("a key as chain", issued({}, { certificateChain: `-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n` }));
  await status("a chain of nothing", issued({}, { certificateChain: `-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n` }));
  await status("to another key", issued({ key: keys.P384 }));
  await status("without times", issued({}, { notBefore: null, notAfter: null, beginRefreshAt: null }));
  await status("another beginning", issued({}, { notBefore: at(nowMs) }));
  await status("long ago", issued({ fromMs: nowMs - 6 * minuteMs }));
  await status("soon", issued({ fromMs: nowMs + 7 * minuteMs }));
  await status("another end", issued({}, { notAfter: at(nowMs) }));
  await status("59 minutes", issued({ toMs: nowMs + 58 * minuteMs }));
  await status("two days", issued({ toMs: nowMs + 2880 * minuteMs }));
  await status("refreshed at once", issued({}, { beginRefreshAt: at(nowMs + 8 * minuteMs) }));
  await status("refreshed late", issued({}, { beginRefreshAt: at(nowMs + 110 * minuteMs) }));
  await status("names with dots", issued({ dnsNames: [".a", "b..c"] }));
  await status("an address that is none", issued({ emails: ["no address"] }));
  const chain = issued()["certificateChain"] as string;
  await status("then a key", issued({}, { certificateChain: `${chain}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n` }));
  await status("then nothing", issued({}, { certificateChain: `${chain}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n` }));
  await status("a chain too large", issued({}, { certificateChain: "x".repeat(102_401) }));
  await status("issued", issued());
  await status("issued again", { notAfter: at(nowMs + 1) });
  await status("taken back", { conditions: [] });
  await ask("made two", "POST", requests, { metadata: { name: "two" }, spec: good });
  await status("denied", { conditions: [condition("Denied", { reason: "UnsupportedKeyType" })] }, "two");
  await status("denied, then failed", { conditions: [condition("Failed")] }, "two");
  await ask("made three", "POST", requests, { metadata: { name: "three" }, spec: specOf(keys.P256, { podName: "db" }) });
  await status("failed, no time given", { conditions: [condition("Failed", { lastTransitionTime: null })] }, "three");
  const table = { accept: "application/json;as=Table;v=v1;g=meta.k8s.io" };
  await ask("as a table", "GET", `${requests}?fieldSelector=spec.podName%3Ddb`, undefined, table);
  for (const name of ["one", "two"]) await ask(`as a table, ${name}`, "GET", `${requests}/${name}`, undefined, table);
  await ask("by node and signer", "GET", `${requests}?fieldSelector=spec.nodeName%3Done,spec.signerName%3Dother.com%2Fx`, undefined, table);
  await ask("by an odd field", "GET", `${requests}?fieldSelector=spec.podUID%3Dx`);

  lines.push("# who may sign");
  const rbac = "/apis/rbac.authorization.k8s.io/v1";
  await client.raw("POST", `${rbac}/clusterroles`, { metadata: { name: "status-writer" }, rules: [{ apiGroups: ["certificates.k8s.io"], resources: ["podcertificaterequests/status", "clustertrustbundles"], verbs: ["*"] }] });
  await client.raw("POST", `${rbac}/clusterroles`, { metadata: { name: "mesh-signer" }, rules: [{ apiGroups: ["certificates.k8s.io"], resources: ["signers"], resourceNames: ["example.com/mesh"], verbs: ["sign", "attest"] }] });
  await client.raw("POST", `${rbac}/clusterroles`, { metadata: { name: "domain-signer" }, rules: [{ apiGroups: ["certificates.k8s.io"], resources: ["signers"], resourceNames: ["example.com/*"], verbs: ["sign", "attest"] }] });
  for (const [user, roles] of [["ann", ["status-writer"]], ["ben", ["status-writer", "mesh-signer"]], ["cat", ["status-writer", "domain-signer"]]] as const)
    for (const role of roles) await client.raw("POST", `${rbac}/clusterrolebindings`, { metadata: { name: `${user}-${role}` }, roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role }, subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: user }] });
  for (const user of ["ann", "ben", "cat"]) {
    await ask(`made for ${user}`, "POST", requests, { metadata: { name: `of-${user}` }, spec: good });
    await ask(`${user} signs`, "PATCH", `${requests}/of-${user}/status`, { status: issued() }, { ...merge, "impersonate-user": user });
  }
  await ask("made for dan", "POST", requests, { metadata: { name: "of-dan" }, spec: good });
  await ask("ann denies", "PATCH", `${requests}/of-dan/status`, { status: { conditions: [condition("Denied")] } }, { ...merge, "impersonate-user": "ann" });

  lines.push("# bundles");
  const bundles = `${path}/clustertrustbundles`;
  const authority = certificate({ fromMs: nowMs, toMs: nowMs + minuteMs, isCA: true });
  const bundle = (label: string, name: string, spec: Json, headers: Record<string, string> = {}) => ask(label, "POST", bundles, { metadata: { name }, spec }, headers);
  await bundle("of nobody", "plain", { trustBundle: authority });
  await bundle("of nobody with a colon", "a:b", { trustBundle: authority });
  await bundle("of a signer", "example.com:mesh:roots", { signerName: "example.com/mesh", trustBundle: authority });
  await bundle("of a signer by another name", "roots", { signerName: "example.com/mesh", trustBundle: authority });
  await bundle("of a signer, odd", "example.com:mesh:Roots", { signerName: "example.com/mesh", trustBundle: authority });
  await bundle("of a signer that is none", "mesh:roots", { signerName: "mesh", trustBundle: authority });
  await bundle("empty", "empty", { trustBundle: "" });
  await bundle("a key", "key", { trustBundle: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" });
  await bundle("headers", "headers", { trustBundle: authority.replace("-----\n", "-----\nA: b\n\n") });
  await bundle("nothing in it", "nothing", { trustBundle: `${authority}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n` });
  await bundle("no authority", "leaf", { trustBundle: certificate({ fromMs: nowMs, toMs: nowMs + minuteMs }) });
  await bundle("twice", "twice", { trustBundle: `${authority}${certificate({ fromMs: nowMs, toMs: nowMs + minuteMs, isCA: true, name: "y" })}${authority}` });
  await bundle("with words between", "words", { trustBundle: `ours\n${authority}theirs\n` });
  await bundle("too large", "large", { trustBundle: " ".repeat(1_048_577) });
  await ask("generated", "POST", bundles, { metadata: { generateName: "example.com:mesh:" }, spec: { signerName: "example.com/mesh", trustBundle: authority } });
  await ask("generated by another name", "POST", bundles, { metadata: { generateName: "roots-" }, spec: { signerName: "example.com/mesh", trustBundle: authority } });
  await ask("another signer", "PATCH", `${bundles}/plain`, { spec: { signerName: "example.com/other" } }, merge);
  await ask("another bundle", "PATCH", `${bundles}/plain`, { spec: { trustBundle: "x" } }, merge);
  await ask("a label", "PATCH", `${bundles}/plain`, { metadata: { labels: { a: "b" } } }, merge);
  await bundle("ann attests for nobody", "of-ann", { trustBundle: authority }, { "impersonate-user": "ann" });
  await bundle("ann attests", "example.com:mesh:ann", { signerName: "example.com/mesh", trustBundle: authority }, { "impersonate-user": "ann" });
  await bundle("ben attests", "example.com:mesh:ben", { signerName: "example.com/mesh", trustBundle: authority }, { "impersonate-user": "ben" });
  await ask("ann changes a label", "PATCH", `${bundles}/example.com:mesh:roots`, { metadata: { labels: { a: "b" } } }, { ...merge, "impersonate-user": "ann" });
  await ask("ann changes an owner", "PATCH", `${bundles}/example.com:mesh:roots`, { metadata: { ownerReferences: [{ apiVersion: "v1", kind: "Node", name: "n", uid: "u" }] } }, { ...merge, "impersonate-user": "ann" });
  await ask("ann removes", "DELETE", `${bundles}/example.com:mesh:ben`, undefined, { "impersonate-user": "ann" });
  await ask("as a table", "GET", `${bundles}?fieldSelector=spec.signerName%3Dexample.com%2Fmesh,metadata.name%3Dexample.com:mesh:roots`, undefined, table);
  await ask("as a table, of nobody", "GET", `${bundles}/plain`, undefined, table);

  lines.push("# volumes of pods");
  await client.raw("POST", "/api/v1/namespaces/default/serviceaccounts", { metadata: { name: "projects" } });
  const project = (label: string, ...sources: Json[]) =>
    ask(label, "POST", "/api/v1/namespaces/default/pods?dryRun=All", { metadata: { name: "projects" }, spec: { serviceAccountName: "projects", automountServiceAccountToken: false, containers: [{ name: "c", image: "a" }], volumes: [{ name: "v", projected: { sources } }] } });
  const asks = (more: Json = {}): Json => ({ podCertificate: { signerName: "example.com/mesh", keyType: "ECDSAP256", credentialBundlePath: "credentials.pem", ...more } });
  const trusts = (more: Json = {}): Json => ({ clusterTrustBundle: { name: "roots", path: "roots.pem", ...more } });
  await project("both", asks(), trusts());
  for (const keyType of ["RSA2048", "RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "", "MLDSA65"]) await project(`key type ${keyType}`, asks({ keyType }));
  for (const maxExpirationSeconds of [3599, 3600, 7_862_400, 7_862_401]) await project(`for ${maxExpirationSeconds} seconds`, asks({ maxExpirationSeconds }));
  await project("for two days by Kubernetes", asks({ signerName: "kubernetes.io/x", maxExpirationSeconds: 172_800 }));
  await project("no signer", asks({ signerName: "" }));
  await project("a signer that is none", asks({ signerName: "mesh" }));
  await project("annotations without domain", asks({ userAnnotations: { a: "b" } }));
  await project("no file", asks({ credentialBundlePath: "" }));
  await project("files apart", asks({ credentialBundlePath: "", keyPath: "key.pem", certificateChainPath: "chain.pem" }));
  await project("one file for both", asks({ keyPath: "same", certificateChainPath: "same" }));
  await project("one file twice", asks(), asks());
  await project("files outside", asks({ credentialBundlePath: "../a", keyPath: "/b", certificateChainPath: "..c" }));
  await project("a bundle and a certificate in one file", asks({ credentialBundlePath: "roots.pem" }), trusts());
  await project("a bundle by nothing", trusts({ name: null }));
  await project("a bundle by both", trusts({ signerName: "example.com/mesh" }));
  await project("a bundle by an empty name", trusts({ name: "" }));
  await project("a bundle by an odd name", trusts({ name: "Roots" }));
  await project("a signer's bundle", trusts({ name: "example.com:mesh:roots" }));
  await project("a signer's bundle, odd", trusts({ name: "example.com:mesh:Roots" }));
  await project("a bundle by name and selector", trusts({ labelSelector: {} }));
  await project("by signer", trusts({ name: null, signerName: "example.com/mesh", labelSelector: {}, optional: true }));
  await project("by a signer that is none", trusts({ name: null, signerName: "mesh" }));
  await project("by an empty signer", trusts({ name: null, signerName: "" }));
  await project("by signer and an odd selector", trusts({ name: null, signerName: "example.com/mesh", labelSelector: { matchLabels: { "a b": "c" } } }));
  await project("a bundle without path", trusts({ path: "" }));
  await project("a bundle outside", trusts({ path: "../roots" }));
  return `${lines.join("\n")}\n`;
}

/** What differs from run to run: keys, chains, times, generated names; and how Go prints its own types. */
const plain = (text: string): string =>
  text
    .replaceAll(/"-----BEGIN CERTIFICATE(?:[^"\\]|\\.)*"/g, '"CHAIN"')
    .replaceAll(/"[A-Za-z0-9+/=]{40,}"/g, '"BYTES"')
    .replaceAll(/"\d{4}-\d\d-\d\dT[\d:.]+Z"/g, '"TIME"')
    .replaceAll(/Invalid value: \{.*?\}: /g, "Invalid value: {…}: ")
    .replaceAll(/(example\.com:mesh:|roots-)[a-z0-9]{5}(?=["\s])/g, "$1GENERATED");

function brief({ kind, metadata = {}, spec = {}, status }: Json): string {
  const { name, labels, generation } = metadata as Json;
  const fields = (of: Json): string => Object.keys(of).sort().join(" ");
  const conditions = ((status?.["conditions"] ?? []) as Json[]).map(({ type, reason, lastTransitionTime }) => `${type} ${reason}${lastTransitionTime ? "" : " (no time)"}`);
  return plain(JSON.stringify([kind, name, { ...(labels && { labels }), ...(generation && { generation }) }, fields(spec as Json), (spec as Json)["maxExpirationSeconds"] ?? 0, ...(status ? [fields(status as Json), ...conditions] : [])]));
}
