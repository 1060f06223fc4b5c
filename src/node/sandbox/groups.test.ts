import assert from "node:assert/strict";
import { chmodSync, chownSync, lstatSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { probeIsolation } from "./probe.ts";
import type { Mount } from "./sandbox.ts";
import { containerSpec, execIn, runIn, SandboxHarness } from "./testing.ts";

const possible = await probeIsolation(process.getuid?.() === 0);
const skip = process.getuid?.() !== 0 ? "an ordinary user has one group to give" : possible.tools ? false : possible.finding.message;

for (const without of [[], ["tini", "bwrap"]]) {
  test(`groups of a pod${without.length > 0 ? `, without ${without.join(" and ")}` : ""}`, { skip, timeout: 20_000 }, async () => {
    await using harness = await SandboxHarness.start({ without });
    const groups = [{ inside: 2000, host: 150_000 }, { inside: 3000, host: 150_001 }];
    const memory = join(harness.dataDir, "volumes", "memory");
    mkdirSync(memory, { recursive: true });
    const pod = await harness.pod({ groups, memoryVolumes: [{ path: memory, group: 150_000 }] });
    const folder = join(harness.dataDir, "volumes", "shared");
    mkdirSync(folder, { recursive: true });
    chownSync(folder, 0, 150_000);
    chmodSync(folder, 0o2770);
    const mounts: Mount[] = [{ kind: "bind", source: folder, target: "/data", readOnly: false }, { kind: "bind", source: memory, target: "/memory", readOnly: false }];
    const look = "id -u; id -G; stat -c '%g %a' /data /memory; cd /data && echo hello > $1 && stat -c '%u %g' $1; stat -c %g /tmp";

    // Each container has its own group and the pod's, by the numbers that the pod knows.
    const main = await pod.startContainer(containerSpec(["sleep", "1000"], { name: "main", mounts }));
    const seen = "1000\n1000 2000 3000\n2000 2770\n2000 2777\n1000 2000\n1000\n";
    assert.equal((await runIn(pod, ["sh", "-c", look, "sh", "one"], { name: "one", mounts })).stdout, seen);
    assert.equal((await execIn(main, ["sh", "-c", look, "sh", "two"])).stdout, seen, "and so has an exec");
    assert.deepEqual([lstatSync(join(folder, "one")).uid, lstatSync(join(folder, "one")).gid], [pod.hostUid, 150_000]);

    // A container whose own group is one of them; another user of the same pod.
    assert.equal((await runIn(pod, ["sh", "-c", look, "sh", "three"], { name: "three", mounts, uid: 5, gid: 2000 })).stdout, "5\n2000 3000\n2000 2770\n2000 2777\n5 2000\n2000\n");

    // A pod of the same group reads what the first wrote; one without it does not.
    const friend = await harness.pod({ groups: groups.slice(0, 1) });
    assert.equal((await runIn(friend, ["cat", "/data/one"], { mounts })).stdout, "hello\n");
    const stranger = await runIn(await harness.pod(), ["cat", "/data/one"], { mounts: mounts.slice(0, 1) });
    assert.match(stranger.stderr, /Permission denied/);

    // No more than these, and no way to others.
    const python = (body: string) => ["/usr/bin/python3", "-c", `import os\ntry:\n    ${body}; print("GOT")\nexcept OSError as e: print("NO", e.errno)`];
    for (const attack of ["os.setgroups([2000])", "os.setgid(3000)", "os.setgroups([])", "os.write(os.open('/proc/self/gid_map', os.O_WRONLY), b'0 0 1')"]) assert.match((await execIn(main, python(attack))).stdout, /^NO/, attack);
    const status = (await execIn(main, ["sh", "-c", "grep -E '^Cap(Eff|Amb)|^NoNewPrivs' /proc/self/status | tr -d '\\t' | tr '\\n' ' '; cat /proc/self/setgroups"])).stdout;
    assert.match(status, /CapEff:0+ CapAmb:0+ NoNewPrivs:1 deny/);
  });
}
