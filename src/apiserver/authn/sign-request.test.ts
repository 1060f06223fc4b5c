import assert from "node:assert/strict";
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
