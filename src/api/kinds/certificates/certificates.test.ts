import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../meta.ts";
import { certificateSigningRequest } from "./certificate-signing-request.ts";
import { parseRequest } from "./pkcs10.ts";
import { makeRequest } from "./testing/request.ts";

const base64 = (pem: string): string => Buffer.from(pem).toString("base64");

test("a certificate request is read and its signature checked, whatever the key", async () => {
  for (const algorithm of ["P-256", "P-384", "P-521", "RSA", "RSA-PSS", "Ed25519"]) {
    const { request } = await makeRequest({ name: "O=team+O=others, CN=ann", dns: ["a.example.com"], addresses: ["10.0.0.1", "2001:db8::1"], algorithm });
    const read = parseRequest(request);
    assert.equal(read.commonName, "ann", algorithm);
    assert.deepEqual(read.organizations, ["team", "others"], algorithm);
    assert.deepEqual([read.dnsNames, read.addresses, read.emails, read.uris], [["a.example.com"], ["10.0.0.1", "2001:db8:0:0:0:0:0:1"], [], []], algorithm);
    assert.equal(read.signatureError(), undefined, algorithm);
    const bytes = Buffer.from(request.replace(/-----[^-]+-----|\s/g, ""), "base64");
    bytes[bytes.length - 3]! ^= 1;
    const forged = parseRequest(`-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString("base64")}\n-----END CERTIFICATE REQUEST-----`);
    assert.match(forged.signatureError() ?? "", /verification (failure|error)$/, algorithm);
  }
});

test("what is no certificate request is refused, cut off at any byte", async () => {
  const { request } = await makeRequest({ name: "CN=ann", dns: ["a"] });
  const bytes = Buffer.from(request.replace(/-----[^-]+-----|\s/g, ""), "base64");
  const pem = (label: string, body: Buffer): string => `-----BEGIN ${label}-----\n${body.toString("base64")}\n-----END ${label}-----\n`;
  for (let length = 0; length < bytes.length; length++) assert.throws(() => parseRequest(pem("CERTIFICATE REQUEST", bytes.subarray(0, length))), Error, `${length} bytes`);
  for (const text of ["", "nonsense", pem("NEW CERTIFICATE REQUEST", bytes), pem("CERTIFICATE", bytes), `${request.slice(0, 60)}`]) assert.throws(() => parseRequest(text), { message: "PEM block type must be CERTIFICATE REQUEST" });
});

test("requests and their changes are judged in upstream's words", async () => {
  const { request } = await makeRequest({ name: "CN=ann" });
  const spec = { request: base64(request), signerName: "kubernetes.io/kube-apiserver-client", usages: ["client auth"] };
  const of = (more: object, status: object = {}): KubeObject => ({ apiVersion: "certificates.k8s.io/v1", kind: "CertificateSigningRequest", metadata: { name: "x" }, spec: { ...spec, ...more }, status }) as unknown as KubeObject;
  const says = (object: KubeObject): string => certificateSigningRequest.validate!(object).map(({ field, body }) => `${field}: ${body}`).join("; ");
  const approved = { type: "Approved", status: "True" };
  const denied = { type: "Denied", status: "True" };
  const certificate = base64("-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n");
  const creations: [more: object, status: object, errors: RegExp][] = [
    [{}, {}, /^$/],
    [{ request: base64("x") }, {}, /^spec\.request: Invalid value: "eA==": PEM block type must be CERTIFICATE REQUEST$/],
    [{ usages: [] }, {}, /^spec\.usages: Required value$/],
    [{ usages: ["client auth", "flying"] }, {}, /^spec\.usages\[1\]: Unsupported value: "flying": supported values: "any", "cert sign", "client auth", /],
    [{ usages: ["client auth", "client auth"] }, {}, /^spec\.usages\[1\]: Duplicate value: "client auth"$/],
    [{ signerName: "" }, {}, /^spec\.signerName: Required value$/],
    [{ signerName: "kubernetes.io/legacy-unknown" }, {}, /the legacy signerName is not allowed via this API version$/],
    [{ signerName: "signer" }, {}, /must be a fully qualified domain and path of the form 'example\.com\/signer-name'$/],
    [{ signerName: "local/signer" }, {}, /Invalid value: "local": should be a domain with at least two segments separated by dots$/],
    [{ signerName: "example.com/Signer" }, {}, /Invalid value: "Signer": validating label "Signer": a lowercase RFC 1123 subdomain/],
    [{ expirationSeconds: 599 }, {}, /Invalid value: 599: may not specify a duration less than 600 seconds \(10 minutes\)$/],
    [{ expirationSeconds: 600 }, {}, /^$/],
    [{}, { conditions: [approved, denied] }, /^status\.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive$/],
    [{}, { conditions: [{ type: "Approved", status: "False" }] }, /^status\.conditions\[0\]\.status: Unsupported value: "False": supported values: "True"$/],
    [{}, { conditions: [approved, approved] }, /^status\.conditions\[1\]\.type: Duplicate value: "Approved"$/],
    [{}, { certificate: base64("x") }, /^status\.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block$/],
    [{}, { certificate: base64(request) }, /only CERTIFICATE PEM blocks are allowed, found "CERTIFICATE REQUEST"$/],
    [{}, { certificate }, /x509: malformed certificate$/],
  ];
  for (const [more, status, errors] of creations) assert.match(says(of(more, status)), errors, JSON.stringify({ more, status }).slice(-200));

  const { approval } = certificateSigningRequest.parts!;
  const worlds = { main: certificateSigningRequest.validateUpdate!, approval: approval!.validateUpdate!, status: (object: KubeObject, old: KubeObject) => certificateSigningRequest.validateStatusUpdate!(object, old).filter(({ body }) => !body.includes("malformed")) };
  const changes: [world: keyof typeof worlds, before: object, after: object, errors: RegExp][] = [
    ["approval", {}, { conditions: [approved] }, /^$/],
    ["approval", { conditions: [approved] }, {}, /^status\.conditions: Forbidden: updates may not remove a condition of type "Approved"$/],
    ["approval", {}, { certificate }, /^status\.certificate: Forbidden: updates may not set certificate content$/],
    ["status", {}, { conditions: [approved] }, /^status\.conditions: Forbidden: updates may not add a condition of type "Approved"$/],
    ["status", { conditions: [approved] }, { conditions: [{ ...approved, reason: "other" }] }, /updates may not modify a condition of type "Approved"$/],
    ["status", { conditions: [approved] }, { conditions: [approved], certificate }, /^$/],
    ["status", { certificate: "QQ==" }, { certificate }, /^status\.certificate: Forbidden: updates may not modify existing certificate content$/],
    ["main", {}, {}, /^$/],
  ];
  for (const [world, before, after, errors] of changes) assert.match(worlds[world](of({}, after), of({}, before)).map(({ field, body }) => `${field}: ${body}`).join("; "), errors, JSON.stringify({ world, before, after }));
});
