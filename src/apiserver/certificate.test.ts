import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { type CertificateWish, makeCertificate, type Pair } from "./certificate.ts";

const times = { notBefore: new Date("2026-01-02T03:04:05Z"), notAfter: new Date("2036-01-02T03:04:05Z") };
const authority = makeCertificate({ subject: [["CN", "an-authority"]], ...times, authority: undefined });
const server = (more: Partial<CertificateWish> = {}) => makeCertificate({ subject: [["CN", "server"]], ...times, authority, names: ["localhost", "kubernetes.default.svc"], addresses: ["127.0.0.1", "::1", "fd00:10:96::a"], ...more });

/** What OpenSSL says to a chain of two, by its strictest rules. */
function verified(t: TestContext, ca: Pair, leaf: Pair, purpose: "sslserver" | "sslclient"): string {
  const folder = mkdtempSync(join(tmpdir(), "wherry-certificate-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "ca"), ca.cert);
  writeFileSync(join(folder, "leaf"), leaf.cert);
  const { status, stdout, stderr } = spawnSync("openssl", ["verify", "-x509_strict", "-attime", "1800000000", "-purpose", purpose, "-CAfile", "ca", "leaf"], { cwd: folder, encoding: "utf8" });
  return status === null ? "leaf: OK" : `${stdout}${stderr}`.trim();
}

test("an authority and what it signs: OpenSSL has nothing against it, another reader sees the same", async (t) => {
  const leaf = server();
  assert.equal(verified(t, authority, leaf, "sslserver"), "leaf: OK");
  const client = makeCertificate({ subject: [["O", "system:masters"], ["O", "ü & Sons, Ltd."], ["CN", "kubernetes-admin"]], ...times, authority, client: true });
  assert.equal(verified(t, authority, client, "sslclient"), "leaf: OK");
  assert.match(verified(t, authority, client, "sslserver"), /unsuitable certificate purpose|unsupported certificate purpose/);

  const seen = new x509.X509Certificate(leaf.cert);
  assert.deepEqual([seen.subject, seen.issuer, seen.notBefore.toISOString(), seen.notAfter.toISOString()], ["CN=server", "CN=an-authority", "2026-01-02T03:04:05.000Z", "2036-01-02T03:04:05.000Z"]);
  assert.ok(await seen.verify({ publicKey: await new x509.X509Certificate(authority.cert).publicKey.export(), signatureOnly: true }));
  assert.deepEqual(seen.getExtension(x509.SubjectAlternativeNameExtension)!.names.toJSON().map(({ value }) => value), ["localhost", "kubernetes.default.svc", "127.0.0.1", "::1", "fd00:10:96::a"]);
  assert.deepEqual([...seen.getExtension(x509.ExtendedKeyUsageExtension)!.usages], ["1.3.6.1.5.5.7.3.1"]);
  assert.equal(seen.getExtension(x509.KeyUsagesExtension)!.usages, x509.KeyUsageFlags.digitalSignature);
  const root = new x509.X509Certificate(authority.cert);
  assert.equal(root.getExtension(x509.KeyUsagesExtension)!.usages, x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.digitalSignature);
  assert.equal(root.getExtension(x509.BasicConstraintsExtension)!.ca, true);
  assert.equal(seen.getExtension(x509.AuthorityKeyIdentifierExtension)!.keyId, root.getExtension(x509.SubjectKeyIdentifierExtension)!.keyId);
  assert.equal(new X509Certificate(client.cert).subject, "O=system:masters\nO=ü & Sons\\, Ltd.\nCN=kubernetes-admin");
});

test("an authority that the library made signs on: data directories are older than this file", async (t) => {
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = (await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as { privateKey: CryptoKey; publicKey: CryptoKey };
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: "0042", name: "CN=wherry-ca", ...times, signingAlgorithm: algorithm, keys,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true), await x509.SubjectKeyIdentifierExtension.create(keys.publicKey)],
  });
  const key = `-----BEGIN PRIVATE KEY-----\n${Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64")}\n-----END PRIVATE KEY-----\n`;
  const old = { cert: made.toString("pem"), key };
  const leaf = server({ authority: old });
  assert.equal(verified(t, old, leaf, "sslserver"), "leaf: OK");
  assert.ok(new X509Certificate(leaf.cert).checkIssued(new X509Certificate(old.cert)));
});

test("numbers and times at their edges", () => {
  const serials = new Set<string>();
  for (let round = 0; round < 50; round++) {
    const { serialNumber } = new X509Certificate(server().cert);
    assert.match(serialNumber, /^[4-7][0-9A-F]{31}$/, "positive, sixteen bytes");
    serials.add(serialNumber);
  }
  assert.equal(serials.size, 50);
  for (const end of ["2049-12-31T23:59:59Z", "2050-01-01T00:00:00Z", "2126-05-06T07:08:09Z"]) {
    assert.equal(new X509Certificate(server({ notAfter: new Date(end) }).cert).validToDate.toISOString(), end.replace("Z", ".000Z"));
  }
  // A list of names that needs lengths of two bytes.
  const names = Array.from({ length: 100 }, (_, index) => `name-${index}.example`);
  const cert = new X509Certificate(server({ names }).cert);
  for (const name of names) assert.ok(cert.checkHost(name), name);
});
