import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pem, pemBlocks } from "../../base/der.ts";
import { parseRequest } from "../kinds/certificates/pkcs10.ts";
import { generalNames, makeCertificate, makeRequest, nameOf, publicKeyOf, readName } from "./certificate.ts";
import { localAuthority } from "./local-authority.ts";

const nowMs = Date.UTC(2026, 5, 1);
const life = { notBefore: new Date(nowMs), notAfter: new Date(nowMs + 90 * 86_400_000) };
const keys: [string, () => KeyObject][] = [
  ["RSA 2048", () => generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey],
  ["P-256", () => generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey],
  ["P-384", () => generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey],
  ["P-521", () => generateKeyPairSync("ec", { namedCurve: "P-521" }).privateKey],
  ["Ed25519", () => generateKeyPairSync("ed25519").privateKey],
];
const folderOf = (t: { after(run: () => void): void }): string => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-x509-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
};
/** OpenSSL's own judgement at that moment: "OK", or what it says. */
const judged = (folder: string, cert: string, ca: string, ...more: string[]): string => {
  writeFileSync(join(folder, "leaf.pem"), cert);
  writeFileSync(join(folder, "ca.pem"), ca);
  try {
    return execFileSync("openssl", ["verify", "-attime", String(nowMs / 1000 + 60), "-x509_strict", "-CAfile", join(folder, "ca.pem"), ...more, join(folder, "leaf.pem")], { encoding: "utf8", stdio: "pipe" }).trim().split(": ").at(-1)!;
  } catch (error) {
    return /error \d+ at \d+ depth lookup: (.*)/.exec((error as { stderr: string }).stderr)?.[1] ?? (error as Error).message;
  }
};

for (const [name, makeKey] of keys) {
  test(`${name}: a request is read back as it was made, and signed`, (t) => {
    const key = makeKey();
    const subject = nameOf([["C", "CH"], ["O", "Ä & Söhne"], ["CN", "web"]]);
    const alternativeNames = generalNames({ dnsNames: ["a.example.com", "*.b.test"], addresses: ["10.1.2.3", "fe80::1:2"], uris: ["spiffe://x/y"], emails: ["a@b.test"] });
    const request = parseRequest(makeRequest({ subject, alternativeNames, usages: ["digital signature", "server auth"] }, key));
    assert.equal(request.signatureError(), undefined);
    assert.deepEqual([request.dnsNames, request.addresses, request.uris, request.emails], [["a.example.com", "*.b.test"], ["10.1.2.3", "fe80:0:0:0:0:0:1:2"], ["spiffe://x/y"], ["a@b.test"]]);
    assert.deepEqual(readName(request.subject), [["C", "CH"], ["O", "Ä & Söhne"], ["CN", "web"]]);

    const caKey = makeKey();
    const ca = makeCertificate({ subject: nameOf([["CN", "an authority"]]), publicKey: publicKeyOf(caKey), ...life, isCA: true, usages: ["cert sign"] }, caKey);
    const cert = makeCertificate({ subject: request.subject, publicKey: request.publicKey, alternativeNames: request.alternativeNames, ...life, isCA: false, usages: ["digital signature", "key encipherment", "server auth"] }, caKey, { cert: ca });
    assert.equal(judged(folderOf(t), cert, ca, "-purpose", "sslserver", "-verify_hostname", "a.example.com"), "OK");
    const read = new X509Certificate(cert);
    assert.ok(read.checkPrivateKey(key));
    assert.match(read.subjectAltName!, /DNS:a\.example\.com, DNS:\*\.b\.test, email:a@b\.test, IP Address:10\.1\.2\.3, IP Address:FE80:.*:1:2, URI:spiffe:\/\/x\/y/);
    assert.deepEqual([read.validFromDate, read.validToDate], [life.notBefore, life.notAfter]);
  });
}

test("OpenSSL shows every extension as it was meant", () => {
  const key = keys[1]![1]();
  const cert = makeCertificate(
    {
      subject: nameOf([]),
      publicKey: publicKeyOf(key),
      alternativeNames: generalNames({ dnsNames: ["only.test"] }),
      notBefore: new Date(Date.UTC(2049, 11, 31, 23, 59, 58)),
      notAfter: new Date(Date.UTC(2050, 0, 1)),
      isCA: true,
      pathLength: 1,
      usages: ["cert sign", "decipher only", "microsoft sgc", "ocsp signing"],
      nameConstraints: { permitted: { dnsDomains: ["a.test"], ipRanges: ["10.0.0.0/9", "fc00::/7"] }, excluded: { emailAddresses: ["b.test"], uriDomains: ["c.test"] }, critical: true },
      crlDistributionPoints: ["http://crl.test/1"],
      ocspServers: ["http://ocsp.test"],
      issuingCertificateURLs: ["http://ca.test"],
    },
    key,
  );
  const shown = execFileSync("openssl", ["x509", "-noout", "-text"], { input: cert, encoding: "utf8" });
  for (const line of [
    /Not Before: Dec 31 23:59:58 2049 GMT/,
    /Not After : Jan {2}1 00:00:00 2050 GMT/,
    /Key Usage: critical\s+Certificate Sign, Decipher Only/,
    /Extended Key Usage:\s+Microsoft Server Gated Crypto, OCSP Signing|Extended Key Usage:\s+OCSP Signing, Microsoft Server Gated Crypto/,
    /Basic Constraints: critical\s+CA:TRUE, pathlen:1/,
    /Subject Alternative Name: critical\s+DNS:only\.test/,
    /Name Constraints: critical\s+Permitted:\s+DNS:a\.test\s+IP:10\.0\.0\.0\/255\.128\.0\.0\s+IP:FC00:0:0:0:0:0:0:0\/FE00:0:0:0:0:0:0:0\s+Excluded:\s+email:b\.test\s+URI:c\.test/,
    /CRL Distribution Points:\s+Full Name:\s+URI:http:\/\/crl\.test\/1/,
    /OCSP - URI:http:\/\/ocsp\.test\s+CA Issuers - URI:http:\/\/ca\.test/,
  ]) assert.match(shown, line);
});

test("PEM is read block by block", () => {
  const blocks = pemBlocks(`text\n${pem("A", Buffer.from([1]))}${pem("EC PRIVATE KEY", Buffer.alloc(50))}`);
  assert.deepEqual(blocks.map(({ label, bytes }) => [label, bytes.length]), [["A", 1], ["EC PRIVATE KEY", 50]]);
});

const leafOf = (authority: ReturnType<typeof localAuthority>, names: string[], signer = authority.signerOf({ names, usages: ["server auth"] }), template: { isCA?: boolean } = {}) => {
  const key = keys[1]![1]();
  const alternativeNames = generalNames({ dnsNames: names.filter((name) => !/^[\d.]+$|:/.test(name)), addresses: names.filter((name) => /^[\d.]+$|:/.test(name)) });
  return makeCertificate({ subject: nameOf([["CN", "leaf"]]), publicKey: publicKeyOf(key), alternativeNames, ...life, isCA: false, usages: ["digital signature", "server auth"], ...template }, signer.key, signer.pair);
};

test("the local authority: kept, secret, and for names that nobody can own", (t) => {
  const folder = folderOf(t);
  const authority = localAuthority(folder, nowMs);
  assert.deepEqual(localAuthority(folder, nowMs + 86_400_000).ca, authority.ca, "read again, not made anew");
  assert.equal(readFileSync(join(folder, "trust/ca.crt"), "utf8"), authority.ca.cert);
  for (const file of ["ca.key", "other.key", "ca.crt"]) assert.equal(statSync(join(folder, "trust", file)).mode & 0o777, 0o600, file);
  assert.equal(statSync(join(folder, "trust")).mode & 0o777, 0o700);
  const cases: [name: string, trustable: boolean][] = [
    ["api.ecommerce.example.com", true],
    ["shop.localhost", true],
    ["localhost", true],
    ["*.web.test", true],
    ["web.default.svc", true],
    ["web.default.svc.cluster.local", true],
    ["127.0.0.1", true],
    ["192.168.7.9", true],
    ["fd00::5", true],
    ["github.com", false],
    ["notexample.com", false],
    ["93.184.216.34", false],
    ["2606:4700::1111", false],
    ["shop", false],
  ];
  for (const [name, trustable] of cases) {
    const signer = authority.signerOf({ names: [name], usages: ["server auth"] });
    assert.equal(signer.trustable, trustable, name);
    assert.equal(judged(folder, leafOf(authority, [name], signer), signer.pair.cert), "OK", name);
    // What verifiers say when the trusted one signs it all the same.
    const forced = { ...authority.signerOf({ names: ["localhost"], usages: [] }) };
    assert.equal(judged(folder, leafOf(authority, [name], forced), authority.ca.cert), trustable ? "OK" : "permitted subtree violation", name);
  }
  assert.equal(authority.signerOf({ names: ["a.test"], usages: ["code signing"] }).trustable, false);
  // No further authority, whoever signs it.
  for (const signer of [authority.signerOf({ names: ["a.test"], usages: [] }), authority.signerOf({ names: ["a.com"], usages: [] })]) {
    const intermediateKey = keys[1]![1]();
    const intermediate = makeCertificate({ subject: nameOf([["CN", "between"]]), publicKey: publicKeyOf(intermediateKey), ...life, isCA: true, usages: ["cert sign"] }, signer.key, signer.pair);
    const leaf = leafOf(authority, ["a.test"], { pair: { cert: intermediate, key: "" }, key: intermediateKey, trustable: true });
    writeFileSync(join(folder, "between.pem"), intermediate);
    assert.equal(judged(folder, leaf, signer.pair.cert, "-untrusted", join(folder, "between.pem")), "path length constraint exceeded");
  }
});

test("the local authority: names of one's own make another authority; halves are made anew", (t) => {
  const folder = folderOf(t);
  const first = localAuthority(folder, nowMs);
  writeFileSync(join(folder, "trust/names"), "# mine\n*.shop.acme.com\n\nbad name\n");
  const second = localAuthority(folder, nowMs);
  assert.notEqual(second.ca.cert, first.ca.cert);
  assert.equal(second.other.cert, first.other.cert);
  assert.equal(second.signerOf({ names: ["www.shop.acme.com"], usages: [] }).trustable, true);
  assert.equal(second.signerOf({ names: ["acme.com"], usages: [] }).trustable, false);
  assert.equal(judged(folder, leafOf(second, ["www.shop.acme.com"]), second.ca.cert), "OK");
  writeFileSync(join(folder, "trust/ca.key"), first.ca.key);
  const third = localAuthority(folder, nowMs);
  assert.ok(new X509Certificate(third.ca.cert).checkPrivateKey(createPrivateKey(third.ca.key)));
  assert.notEqual(localAuthority(folder, nowMs + 3400 * 86_400_000).ca.cert, third.ca.cert, "near its end");
});
