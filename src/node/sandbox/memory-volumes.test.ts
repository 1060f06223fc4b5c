import assert from "node:assert/strict";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { probeIsolation } from "./probe.ts";
import type { Mount } from "./sandbox.ts";
import { containerSpec, execIn, runIn, SandboxHarness } from "./testing.ts";

const possible = await probeIsolation(process.getuid?.() === 0);
const skip = possible.tools ? false : possible.finding.message;

for (const [name, without, shareProcesses] of [["", [], false], [", with processes shared", [], true], [", without tini and bwrap", ["tini", "bwrap"], false]] as const) {
  test(`volumes in memory are the pod's: all containers see them, and they outlive restarts${name}`, { skip, timeout: 20_000 }, async () => {
    await using harness = await SandboxHarness.start({ without });
    const folders = ["one", "two"].map((folder) => join(harness.dataDir, "pods", "volumes", folder));
    for (const folder of folders) mkdirSync(folder, { recursive: true });
    const pod = await harness.pod({ memoryVolumes: [{ path: folders[0]!, sizeBytes: 1 << 20 }, { path: folders[1]! }], ...(shareProcesses && { shareProcesses }) });
    const mounts = (readOnly = false): Mount[] => folders.map((source, index) => ({ kind: "bind", source, target: `/memory/${index}`, readOnly }));
    const [writer, reader] = await Promise.all([
      pod.startContainer(containerSpec(["sleep", "1000"], { name: "writer", mounts: mounts() })),
      pod.startContainer(containerSpec(["sleep", "1000"], { name: "reader", mounts: mounts(true), uid: 2000, gid: 2000 })),
    ]);
    const wrote = await execIn(writer, ["sh", "-c", "echo hello > /memory/0/file && echo two > /memory/1/file; stat -f -c %T /memory/0"]);
    assert.deepEqual([wrote.code, wrote.stdout], [0, "tmpfs\n"], wrote.stderr);
    assert.equal((await execIn(reader, ["sh", "-c", "cat /memory/0/file /memory/1/file"])).stdout, "hello\ntwo\n");
    assert.match((await execIn(reader, ["sh", "-c", "echo no > /memory/0/file"])).stderr, /Read-only file system/);
    assert.match((await execIn(writer, ["sh", "-c", "head -c 2000000 /dev/zero > /memory/0/big"])).stderr, /No space left/);
    assert.equal((await execIn(writer, ["sh", "-c", "head -c 2000000 /dev/zero > /memory/1/big"])).code, 0, "the other has a limit of its own");
    assert.deepEqual(folders.flatMap((folder) => readdirSync(folder)), [], "nothing of it lies on the machine");
    // All of them end and start again.
    for (const container of [writer, reader]) container.signal("SIGKILL");
    await Promise.all([writer.exited, reader.exited]);
    assert.equal((await runIn(pod, ["cat", "/memory/0/file"], { name: "writer", mounts: mounts() })).stdout, "hello\n");
    // Another pod's are its own.
    const other = await harness.pod({ memoryVolumes: [{ path: folders[0]! }] });
    assert.equal((await runIn(other, ["ls", "/memory/0"], { mounts: mounts().slice(0, 1) })).stdout, "");
    await pod.remove();
  });
}
