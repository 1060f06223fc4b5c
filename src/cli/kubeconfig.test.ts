import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
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

test("stacks that start at the same moment all end up in it; a lock that somebody keeps is told of", async () => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-kubeconfig-"));
  try {
    const mine = join(folder, "config");
    const names = ["a", "b", "c", "d"];
    const program = `import { mergeKubeconfig } from ${JSON.stringify(new URL("kubeconfig.ts", import.meta.url).href)}; const [own, mine] = process.argv.slice(1); for (let i = 0; i < 20; i++) mergeKubeconfig(own + i, mine);`;
    await Promise.all(names.map(async (name) => {
      for (let i = 0; i < 20; i++) writeFileSync(join(folder, `${name}${i}`), kubeconfigFor({ name: `${name}${i}`, url: "https://127.0.0.1:6443", ca: "CA", cert: "CERT", key: "KEY" }));
      await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program, join(folder, name), mine]);
    }));
    const [config] = parseYaml(readFileSync(mine, "utf8")) as [{ contexts: unknown[]; users: unknown[] }];
    assert.deepEqual([config.contexts.length, config.users.length], [80, 80]);
    assert.equal(existsSync(`${mine}.lock`), false);

    writeFileSync(`${mine}.lock`, "");
    assert.match(mergeKubeconfig(join(folder, "a0"), mine).message, /being changed by another program: `wherry kubeconfig --merge` adds it, once \S+\.lock is gone/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
