import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { needs } from "../needs.ts";
import { type Line, readLedger } from "./store-ledger.ts";

/** A real file system of 8 MB that fills up, in a mount namespace of its own. */
test("on a full disk writes are refused, nothing acknowledged is lost, and with room they are taken again", (context) => {
  if (!needs(context, "unshare", "mount", "dd")) return;
  const folder = mkdtempSync(join(tmpdir(), "wherry-store-full-"));
  const [disk, ledger, dump] = [join(folder, "disk"), join(folder, "ledger"), join(folder, "dump")];
  mkdirSync(disk);
  try {
    const mounted = spawnSync("unshare", ["-Urm", "mount", "-t", "tmpfs", "-o", "size=8m", "none", disk]);
    if (mounted.status !== 0) return context.skip("needs user and mount namespaces");
    const script = 'mount -t tmpfs -o size=8m none "$1" && dd if=/dev/zero of="$1/ballast" bs=1M count=4 2>/dev/null && mkdir "$1/data" && shift && exec "$@"';
    const writer = [process.execPath, join(import.meta.dirname, "store-writer.ts"), "--data-dir", join(disk, "data"), "--ledger", ledger, "--writers", "16", "--size", "3000", "--until-full", "--ballast", join(disk, "ballast"), "--dump", dump];
    const result = spawnSync("unshare", ["-Urm", "sh", "-c", script, "sh", disk, ...writer], { encoding: "utf8", timeout: 60_000 });
    assert.equal(result.status, 0, result.stderr);
    assert.match(result.stderr, /error store .*disk .* is full.* code=DISK_FULL remedy=/);
    assert.equal(result.stderr.match(/DISK_FULL/g)!.length, 1, "it is said once");
    assert.match(result.stderr, /there is room again/);

    const seen = (file: string) => JSON.parse(readFileSync(file, "utf8")) as { revision: number; entries: { key: string; revision: number; n: number }[] };
    const lines = readLedger(ledger);
    const after = lines.filter(({ key }) => key.includes("/w999-"));
    const before = lines.filter((line) => !after.includes(line));
    assert.ok(before.length > 100 && after.length === 5);
    // Exactly the acknowledged writes, in memory and on disk: none lost, none applied in half, no revision skipped.
    assert.deepEqual(seen(`${dump}.full`), { revision: before.length + 1, entries: state(before) });
    assert.deepEqual(seen(dump), { revision: lines.length + 1, entries: state(lines) });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

function state(lines: readonly Line[]): { key: string; revision: number; n: number }[] {
  const last = new Map([...lines].sort((a, b) => a.revision - b.revision).map((line) => [line.key, line]));
  return [...last.values()].filter(({ type }) => type === "put").map(({ key, revision, n }) => ({ key, revision, n })).sort((a, b) => (a.key < b.key ? -1 : 1));
}
