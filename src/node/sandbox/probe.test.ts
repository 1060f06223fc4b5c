import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { WherryError } from "../../base/errors.ts";
import { silentLog } from "../../base/log.ts";
import { createSandbox } from "./index.ts";
import { libcOf, ownsPodUids, type Platform, probeIsolation, thisPlatform } from "./probe.ts";

const isRoot = process.getuid?.() === 0;
const possible = await probeIsolation(isRoot);

test("a missing program is named with its package", async () => {
  const { tools, finding } = await probeIsolation(isRoot, ["ip", "nsenter"]);
  assert.equal(tools, undefined);
  assert.deepEqual([finding.enforced, finding.message, finding.remedy], [false, "Pods run as plain processes: nsenter, ip not found.", "apt-get install util-linux iproute2"]);
});

const platforms: [string, string, Platform["libc"], RegExp | undefined][] = [
  ["linux", "x64", "glibc", undefined],
  ["linux", "arm64", "glibc", undefined],
  ["linux", "x64", "unknown", undefined],
  ["linux", "x64", "musl", /musl .* is not supported: .* built for glibc/],
  ["linux", "riscv64", "glibc", /Linux on riscv64 is not supported/],
  ["darwin", "arm64", "unknown", /macOS is not supported: .* no namespaces .* virtual machine/],
  ["win32", "x64", "unknown", /Windows is not supported; the Windows Subsystem for Linux is/],
  ["freebsd", "x64", "unknown", /freebsd is not supported/],
];
for (const [system, cpu, libc, refused] of platforms) {
  for (const isolation of ["auto", "plain"] as const) {
    test(`${system} on ${cpu} with ${libc}, --isolation=${isolation}: ${refused ? "refused" : "goes on"}`, async () => {
      const sandbox = createSandbox({ dataDir: "/tmp/wherry-no-such-dir", isolation, log: silentLog, cgroups: false, platform: { system, cpu, libc } });
      if (!refused) return void assert.match((await sandbox).mode, /^(isolated|plain)$/);
      await assert.rejects(sandbox, (error) => error instanceof WherryError && error.code === "PLATFORM_UNSUPPORTED" && error.exitCode === 8 && refused.test(error.message) && /Linux x64 or arm64 with glibc/.test(error.remedy));
    });
  }
}

test("the C library, by what a process has loaded", () => {
  const line = (file: string) => `7f2c4a228000-7f2c4a350000 r-xp 00028000 fe:01 1234 ${file}\n7ffd0-7ffd1 rw-p 00000000 00:00 0 [stack]\n`;
  assert.deepEqual(["/lib/ld-musl-x86_64.so.1", "/usr/lib/libc.musl-aarch64.so.1", "/usr/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libc-2.31.so", "/home/me/musl/libc.so.6", "/opt/static-node"].map((file) => libcOf(line(file))), ["musl", "musl", "glibc", "glibc", "glibc", "unknown"]);
  assert.notEqual(thisPlatform().libc, "musl");
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
