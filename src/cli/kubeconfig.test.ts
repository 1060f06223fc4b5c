import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseYaml } from "../api/yaml.ts";
import { kubeconfigFor } from "../apiserver/pki.ts";
import { mergeKubeconfig } from "./kubeconfig.ts";

test("mergeKubeconfig() adds the context and makes it current only where none is", () => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-kubeconfig-"));
  try {
    const [own, mine] = [join(folder, "own"), join(folder, "sub", "config")];
    writeFileSync(own, kubeconfigFor({ name: "wherry", url: "https://127.0.0.1:6443", ca: "CA", cert: "CERT", key: "KEY" }));
    assert.equal(mergeKubeconfig(own, mine).current, true);
    assert.equal(statSync(mine).mode & 0o777, 0o600);

    writeFileSync(mine, "apiVersion: v1\nkind: Config\ncurrent-context: prod\ncontexts:\n- name: prod\n  context: {cluster: prod, user: me}\nclusters:\n- name: prod\n  cluster: {server: https://prod.example.com}\nusers: []\n");
    const merged = mergeKubeconfig(own, mine);
    assert.equal(merged.current, false);
    assert.match(merged.message, /"prod" stays current/);
    const [config] = parseYaml(readFileSync(mine, "utf8")) as [{ "current-context": string; contexts: { name: string }[] }];
    assert.equal(config["current-context"], "prod");
    assert.deepEqual(config.contexts.map(({ name }) => name), ["prod", "wherry"]);

    const before = readFileSync(mine, "utf8");
    mergeKubeconfig(own, mine);
    assert.equal(readFileSync(mine, "utf8"), before, "a second time changes nothing");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
