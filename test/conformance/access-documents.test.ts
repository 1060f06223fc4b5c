import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readAuditPolicy } from "../../src/apiserver/audit/policy.ts";
import { openStructuredAuthentication } from "../../src/apiserver/authn/oidc/authenticator.ts";
import { Encryption } from "../../src/apiserver/encryption/encryption.ts";
import { FakeClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";

/** The files that the how-to pages print are taken as they stand there. */
const page = (name: string): string => readFileSync(join(import.meta.dirname, "..", "..", "docs", "how-to", name), "utf8");
const fileIn = (text: string, name: string): string => {
  const block = [...text.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, body]) => body!).find((body) => body.startsWith(`# ${name}`));
  assert.ok(block, name);
  return block;
};

test("the configurations on the pages can be followed", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-pages-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const access = page("give-access.md");
  assert.equal(readAuditPolicy(file("audit.yaml", fileIn(access, "audit.yaml"))).rules.length, 6);
  // Its issuer does not answer here: nothing is dialled, since the address is taken out of the way.
  const authentication = fileIn(access, "authentication.yaml").replace("https://login.example.com", "https://127.0.0.1:1");
  openStructuredAuthentication({ file: file("authentication.yaml", authentication), clock: new FakeClock(0), log: silentLog, ownIssuers: [], timeoutMs: 100 });
  const encryption = fileIn(page("encrypt-secrets.md"), "encryption.yaml").replace("<what the command above printed>", Buffer.alloc(32, "k").toString("base64"));
  const { bytes } = new Encryption(file("encryption.yaml", encryption)).toDisk("/core/secrets/default/s", Buffer.from("{}"));
  assert.match(bytes.toString("latin1"), /^k8s:enc:aesgcm:v1:2026-11:/);
});
