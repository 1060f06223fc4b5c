import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { makeRequest } from "../../api/kinds/certificates/testing/request.ts";
import { openPki } from "../pki.ts";
import { subjectIdentity } from "./authenticate.ts";

test("a certificate names its authority byte by byte: Go takes it for another's otherwise", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-sign-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const pki = await openPki(folder);
  const { request } = await makeRequest({ name: "CN=ann" });
  const signed = await pki.sign({ request, usages: ["client auth"], seconds: 3600, nowMs: Date.now() });
  const der = (pem: string): Buffer => Buffer.from(pem.replaceAll(/-----.*-----|\s/g, ""), "base64");
  // CN=wherry-ca as a UTF8String, as the authority writes itself.
  const name = Buffer.concat([Buffer.from([0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 9]), Buffer.from("wherry-ca")]);
  assert.ok(der(pki.ca).includes(name));
  assert.ok(der(signed).includes(name));
});

test("what is signed is the request's subject, key and names, and no more than was asked for; another reader sees the same", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-sign-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const pki = await openPki(folder);
  const authority = new X509Certificate(pki.ca);
  const nowMs = Date.parse("2026-11-21T12:00:00Z");
  const usages = ["digital signature", "key agreement", "decipher only", "client auth", "server auth", "server auth"];
  for (const algorithm of ["P-256", "P-521", "RSA", "Ed25519"]) {
    const { request } = await makeRequest({ name: "CN=ann,O=team", dns: ["a.example"], addresses: ["10.0.0.1"], algorithm });
    const pem = await pki.sign({ request, usages, seconds: 3600, nowMs });
    const seen = new x509.X509Certificate(pem);
    assert.deepEqual([seen.subject, seen.issuer, seen.notBefore.toISOString(), seen.notAfter.toISOString()], ["CN=ann, O=team", "CN=wherry-ca", "2026-11-21T11:55:00.000Z", "2026-11-21T13:00:00.000Z"]);
    assert.deepEqual(Buffer.from(seen.publicKey.rawData), Buffer.from(new x509.Pkcs10CertificateRequest(request).publicKey.rawData));
    assert.equal(seen.getExtension(x509.KeyUsagesExtension)!.usages, x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyAgreement | x509.KeyUsageFlags.decipherOnly);
    assert.deepEqual([...seen.getExtension(x509.ExtendedKeyUsageExtension)!.usages].sort(), ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
    assert.deepEqual([seen.getExtension(x509.BasicConstraintsExtension)!.ca, seen.getExtension(x509.BasicConstraintsExtension)!.critical], [false, true]);
    assert.deepEqual(seen.getExtension(x509.SubjectAlternativeNameExtension)!.names.toJSON().map(({ value }) => value), ["a.example", "10.0.0.1"]);
    assert.equal(seen.getExtension(x509.AuthorityKeyIdentifierExtension)!.keyId, new x509.X509Certificate(pki.ca).getExtension(x509.SubjectKeyIdentifierExtension)!.keyId);
    const certificate = new X509Certificate(pem);
    assert.ok(certificate.checkIssued(authority) && certificate.verify(authority.publicKey));
  }

  const { request } = await makeRequest({ name: "CN=ann" });
  const long = new X509Certificate(await pki.sign({ request, usages: ["client auth"], seconds: 9 * 3600, nowMs }));
  assert.equal(long.validToDate.toISOString(), "2026-11-21T20:55:00.000Z", "what the beginning was put back is taken off at the end");
  const endless = new X509Certificate(await pki.sign({ request, usages: ["client auth"], seconds: 100 * 365 * 86_400, nowMs }));
  assert.equal(endless.validTo, authority.validTo, "nothing outlives who signed it");
  for (const usage of ["cert sign", "crl sign", "netscape sgc", "everything", "toString"]) {
    await assert.rejects(pki.sign({ request, usages: ["client auth", usage], seconds: 3600, nowMs }), new Error(`unrecognized usage values: ["${usage}"]`));
  }
  const spoilt = Buffer.from(request.replaceAll(/-----.*-----|\s/g, ""), "base64");
  spoilt[spoilt.length - 1]! ^= 1;
  await assert.rejects(pki.sign({ request: `-----BEGIN CERTIFICATE REQUEST-----\n${spoilt.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`, usages: ["client auth"], seconds: 3600, nowMs }), /ECDSA verification failure/);
});

test("who a certificate speaks for", () => {
  const extra = { "authentication.kubernetes.io/credential-id": ["X509SHA256=aabb"] };
  const table: [subject: Record<string, string | string[]>, identity: object | null][] = [
    [{ CN: "ann" }, { name: "ann", groups: ["system:authenticated"], extra }],
    [{ CN: "ann", O: "team" }, { name: "ann", groups: ["team", "system:authenticated"], extra }],
    [{ CN: ["one", "two"], O: ["a", "b"] }, { name: "two", groups: ["a", "b", "system:authenticated"], extra }],
    [{ CN: "ann", "1.3.6.1.4.1.57683.2": "7" }, { name: "ann", uid: "7", groups: ["system:authenticated"], extra }],
    [{ CN: "ann", "1.3.6.1.4.1.57683.2": ["7", "8"] }, null],
    [{ CN: "ann", "1.3.6.1.4.1.57683.2": "" }, null],
    [{ CN: "system:anonymous" }, { name: "system:anonymous", groups: [], extra }],
    [{ CN: "ann", O: ["system:unauthenticated"] }, { name: "ann", groups: ["system:unauthenticated"], extra }],
    [{ CN: "ann", O: ["system:authenticated", "team"] }, { name: "ann", groups: ["system:authenticated", "team"], extra }],
    [{ O: "team" }, null],
    [{}, null],
  ];
  for (const [subject, identity] of table) assert.deepEqual(subjectIdentity(subject, "AA:BB"), identity, JSON.stringify(subject));
});
