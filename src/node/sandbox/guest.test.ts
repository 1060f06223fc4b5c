import assert from "node:assert/strict";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { probeIsolation } from "./probe.ts";
import { containerSpec, execIn, runIn, running, said, SandboxHarness, until } from "./testing.ts";

const possible = await probeIsolation(process.getuid?.() === 0);
const skip = possible.tools ? false : possible.finding.message;

const list = ["sh", "-c", "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done"];

for (const without of [[], ["tini"], ["tini", "bwrap"]]) {
  test(`a container among the processes of another${without.length > 0 ? `, without ${without.join(" and ")}` : ""}`, { skip, timeout: 20_000 }, async () => {
    await using harness = await SandboxHarness.start({ without });
    const pod = await harness.pod();
    const app = await pod.startContainer(containerSpec(["sh", "-c", "trap 'echo told' USR1; echo up; while :; do sleep 0.02; done"], { name: "app" }));
    await said(app.stdout, "up");

    const alone = await runIn(pod, list, { name: "alone" });
    assert.doesNotMatch(alone.stdout, /echo told/);
    const seen = await runIn(pod, list, { name: "debug", processesOf: "app" });
    assert.equal(seen.exitCode, 0, seen.stderr);
    assert.match(seen.stdout, /trap 'echo told' USR1/, "sees what the other runs");
    assert.equal((await runIn(pod, ["sh", "-c", "exit 7"], { name: "debug", processesOf: "app" })).exitCode, 7);

    // It may signal the other's program: same user on this machine.
    const program = "for p in /proc/[0-9]*; do case $(tr '\\0' ' ' < $p/cmdline) in sh\\ -c\\ trap*) kill -USR1 ${p#/proc/};; esac; done";
    const told = said(app.stdout, "told");
    const signalled = await runIn(pod, ["sh", "-c", program], { name: "debug", processesOf: "app" });
    assert.equal(signalled.exitCode, 0, signalled.stderr);
    await told;

    // What the guest's walls were, they are: no capability, no new namespaces, its own files.
    const walls = await runIn(pod, ["sh", "-c", "grep -E '^Cap(Eff|Bnd|Amb)|^NoNewPrivs' /proc/self/status | tr -d '\\t' | tr '\\n' ' '; unshare -U true 2>&1 || echo refused"], { name: "debug", processesOf: "app" });
    assert.match(walls.stdout, /CapEff:0+ CapBnd:0+ CapAmb:0+ NoNewPrivs:1 .*refused/s, walls.stdout + walls.stderr);

    // Stopped, killed, and with children: its own go, the other's stay; exec reaches it.
    const guest = await pod.startContainer(containerSpec(["sh", "-c", "sleep 7654321 & echo here; wait"], { name: "debug", processesOf: "app" }));
    await said(guest.stdout, "here");
    assert.match((await execIn(guest, list)).stdout, /trap 'echo told' USR1/);
    guest.signal("SIGKILL");
    assert.equal((await guest.exited).exitCode, 137);
    await until(() => running("sleep 7654321").length === 0);
    const polite = await pod.startContainer(containerSpec(["sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done"], { name: "debug", processesOf: "app" }));
    await said(polite.stdout, "ready");
    polite.signal("SIGTERM");
    assert.equal((await polite.exited).exitCode, 5);
    assert.match((await execIn(app, ["echo", "still here"])).stdout, /still here/);

    // With its host it ends.
    const last = await pod.startContainer(containerSpec(["sleep", "7654322"], { name: "debug", processesOf: "app" }));
    app.signal("SIGKILL");
    await app.exited;
    assert.notEqual((await last.exited).exitCode, 0);
    await until(() => running("sleep 7654322").length === 0);
    await assert.rejects(pod.startContainer(containerSpec(["true"], { name: "debug", processesOf: "app" })), /unable to find target container app/);
    void text(last.stdout);
  });
}
