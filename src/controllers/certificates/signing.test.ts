import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { CertificateRequest } from "../../api/cert-manager/types.ts";
import { makeRequest } from "../../api/kinds/certificates/testing/request.ts";
import { localAuthority } from "../../api/x509/local-authority.ts";
import { signLocally } from "./signing.ts";

test("the authority that machines trust signs host names that are nobody's, and nobody's mail address beside them", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-signing-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const nowMs = Date.now();
  const authority = localAuthority(folder, nowMs);
  const cases: [wish: Parameters<typeof makeRequest>[0], trustable: boolean][] = [
    [{ name: "CN=a.test", dns: ["a.test"], addresses: ["127.0.0.1"] }, true],
    [{ name: "CN=a.test" }, true],
    [{ name: "CN=a.test", dns: ["a.test", "bank.com"] }, false],
    [{ name: "CN=a.test", dns: ["a.test"], emails: ["boss@bank.com"] }, false],
    [{ name: "CN=a.test", dns: ["a.test"], emails: ["boss@a.test"] }, false],
    [{ name: "CN=a.test", emails: ["boss@a.test"] }, false],
  ];
  for (const [wish, trustable] of cases) {
    const { request } = await makeRequest(wish);
    const object = { metadata: { name: "r" }, spec: { request: Buffer.from(request).toString("base64"), issuerRef: { name: "local" } } } as unknown as CertificateRequest;
    const signed = signLocally(object, authority, nowMs);
    assert.equal(signed.trustable, trustable, JSON.stringify(wish));
    assert.equal(new X509Certificate(signed.certificate).checkIssued(new X509Certificate(authority.ca.cert)), trustable, JSON.stringify(wish));
  }
});
