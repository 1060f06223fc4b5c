import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { resources } from "../../../src/api/resources.ts";
import { hasKubectl, startApi } from "../../harness-api.ts";
import { kubectl } from "../../needs.ts";
import { forMinor, runVerbs } from "./verbs.ts";

const conformance = process.env["WHERRY_CONFORMANCE"] === "1";
const transcripts = conformance ? ["create", "get", "change", "apply", "cluster"] : ["create", "get"];
const minors = conformance ? ["1.27", "1.28", "1.29", "1.30", "1.31", "1.32", "1.33"] : ["1.33"];

test("lines for some versions only", () => {
  const text = "$ a\n{..1.32} old\n{1.33..} new\nboth\n{1.31..1.32} $ b\nof b\n$ c\nof c";
  assert.equal(forMinor(text, "1.33"), "$ a\nnew\nboth\n$ c\nof c");
  assert.equal(forMinor(text, "1.31"), "$ a\nold\nboth\n$ b\nof b\n$ c\nof c");
});

for (const minor of minors) {
  test(`kubectl ${minor}: every verb that needs no running pod, word by word`, { timeout: 600_000 }, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    for (const name of transcripts) {
      await t.test(name, async (t) => {
        await using server = await startApi();
        await server.client.create(resources.services, "default", { metadata: { name: "kubernetes" }, spec: { clusterIP: "10.96.0.1", ports: [{ name: "https", port: 443, targetPort: 6443 }] } });
        const folder = mkdtempSync(join(tmpdir(), "wherry-verbs-"));
        t.after(() => rmSync(folder, { recursive: true, force: true }));
        await runVerbs({ file: join(import.meta.dirname, `${name}.transcript`), kubectl: kubectl(minor)!, minor, kubeconfig: server.kubeconfig("verbs", server.pki.admin), folder, pair: server.pki.admin });
      });
    }
  });
}
