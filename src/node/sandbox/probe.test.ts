import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { ownsPodUids, probeIsolation } from "./probe.ts";

const isRoot = process.getuid?.() === 0;
const possible = await probeIsolation(isRoot);

test("a missing program is named with its package", async () => {
  const { tools, finding } = await probeIsolation(isRoot, ["ip", "nsenter"]);
  assert.equal(tools, undefined);
  assert.deepEqual([finding.enforced, finding.message, finding.remedy], [false, "Pods run as plain processes: nsenter, ip not found.", "apt-get install util-linux iproute2"]);
});

test("uid maps", () => {
  assert.equal(ownsPodUids("         0          0 4294967295\n"), true);
  assert.equal(ownsPodUids("0 0 1\n100000 100000 65536\n"), true);
  assert.equal(ownsPodUids("0 1000 1\n1 100000 65536\n"), false);
});

/** What createSandbox says in a machine made worse by `spoil`. */
function modeWhen(unshare: string[], spoil: string): string {
  const code = `import { createSandbox } from ${JSON.stringify(new URL("index.ts", import.meta.url).href)};
const { silentLog } = await import(${JSON.stringify(new URL("../../base/log.ts", import.meta.url).href)});
const sandbox = await createSandbox({ dataDir: "/tmp/wherry-no-such-dir", isolation: "auto", log: silentLog });
console.log(sandbox.mode, sandbox.findings[0].message, "|", sandbox.findings[0].remedy);`;
  const { stdout, stderr } = spawnSync("unshare", [...unshare, "sh", "-c", `${spoil}; exec "$0" --input-type=module -e "$1"`, process.execPath, code], { encoding: "utf8" });
  return stdout || stderr;
}

test("a kernel that allows no user namespaces means plain mode, with the remedy", { skip: possible.tools ? false : possible.finding.message }, () => {
  assert.match(modeWhen(["-U", "--map-root-user"], "echo 0 > /proc/sys/user/max_user_namespaces"), /^plain .*refuses user namespaces.*\| sysctl -w user\.max_user_namespaces/);
});

test("a masked /proc, as in containers, means plain mode", { skip: isRoot && possible.tools ? false : "needs root" }, () => {
  assert.match(modeWhen(["-m"], "mount --bind /dev/null /proc/keys"), /^plain .*hides parts of \/proc/);
});
