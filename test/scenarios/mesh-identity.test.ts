import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPrivateKey, generateKeyPairSync, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { generalNames, makeRequest, nameOf } from "../../src/api/x509/certificate.ts";
import { eventually } from "../../src/proxy/testing/network.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";

for (const isolation of ["auto", "plain"] as const) {
  test(`${isolation}: a pod reads who it is, and OpenSSL believes it by the trust bundle`, { timeout: 300_000 }, async (t) => {
    if (isolation === "plain" && !process.env["WHERRY_CONFORMANCE"]) return t.skip("the same in plain mode: npm run conformance");
    if (!needs(t, "kubectl", "openssl")) return;
    await using wherry = await startWherry({ test: t, isolation });
    const run = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await wherry.kubectl(...args);
      assert.equal(code, 0, `${args.join(" ")}: ${stderr}`);
      return stdout;
    };
    const folder = mkdtempSync(join(tmpdir(), "wherry-identity-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const verdict = (chain: string, roots: string): string => {
      writeFileSync(join(folder, "chain.pem"), chain);
      writeFileSync(join(folder, "roots.pem"), roots);
      return execFileSync("openssl", ["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", join(folder, "roots.pem"), join(folder, "chain.pem")], { encoding: "utf8", stdio: "pipe" }).trim().split(": ").at(-1)!;
    };
    await run("apply", "-f", join(import.meta.dirname, "mesh-identity.yaml"));
    await run("wait", "--for=condition=Ready", "pod/web", "--timeout=100s");
    const read = (file: string) => run("exec", "web", "--", "sh", "-c", `cat "$IDENTITY/${file}"`);
    const [credentials, key, chain, roots] = await Promise.all(["credentials.pem", "tls/key.pem", "tls/chain.pem", "roots.pem"].map(read));
    const bundle = await run("get", "clustertrustbundle", "wherry.dev:mesh:roots", "-o", "jsonpath={.spec.trustBundle}");
    assert.equal(roots, bundle);
    assert.equal(await run("get", "configmap", "istio-ca-root-cert", "-o", "jsonpath={.data.root-cert\\.pem}"), bundle);
    for (const [pair, certificate] of [[credentials, credentials!.slice(credentials!.indexOf("-----BEGIN CERTIFICATE"))], [key, chain]] as const) {
      assert.equal(verdict(certificate!, bundle), "OK");
      const leaf = new X509Certificate(certificate!);
      assert.ok(leaf.checkPrivateKey(createPrivateKey(pair!)));
      assert.equal(leaf.subjectAltName, "URI:spiffe://cluster.local/ns/default/sa/cart");
    }
    assert.match(await run("get", "podcertificaterequests"), /NAME +PODNAME +SERVICEACCOUNTNAME +NODENAME +SIGNERNAME +STATE +UNVERIFIEDUSERANNOTATIONS\n(?:[^\n]*\n)*req-\w+ +web +cart +wherry +wherry\.dev\/mesh +Issued +<none>\n/);

    // Whose signer nobody is: it waits, and says so.
    const waiting = await eventually(async () => /FailedMount.*credential bundle is not issued yet/.exec(await run("events", "--for", "pod/waits"))?.[0], 60_000);
    assert.ok(waiting);
    assert.match(await run("get", "pod", "waits"), /ContainerCreating|Pending/);

    // A program of the machine, approved by hand.
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const request = makeRequest({ subject: nameOf([["CN", "batch"]]), alternativeNames: generalNames({ uris: ["spiffe://cluster.local/ns/default/sa/cart"] }) }, privateKey);
    writeFileSync(join(folder, "csr.json"), JSON.stringify({ apiVersion: "certificates.k8s.io/v1", kind: "CertificateSigningRequest", metadata: { name: "batch" }, spec: { request: Buffer.from(request).toString("base64"), signerName: "wherry.dev/mesh", usages: ["digital signature", "client auth"] } }));
    await run("apply", "-f", join(folder, "csr.json"));
    assert.equal(await run("get", "csr", "batch", "-o", "jsonpath={.status.certificate}"), "");
    await run("certificate", "approve", "batch");
    const signed = await eventually(async () => (await run("get", "csr", "batch", "-o", "jsonpath={.status.certificate}")) || undefined, 60_000);
    assert.equal(verdict(Buffer.from(signed!, "base64").toString(), bundle), "OK");

    // Another authority: what pods trust changes under them.
    await run("delete", "secret", "wherry-mesh-ca", "-n", "wherry-system");
    const renewed = await eventually(async () => {
      const now = await run("get", "clustertrustbundle", "wherry.dev:mesh:roots", "-o", "jsonpath={.spec.trustBundle}");
      return now !== bundle && now;
    }, 60_000);
    assert.ok(await eventually(async () => (await read("roots.pem")) === renewed, 60_000));
  });
}
