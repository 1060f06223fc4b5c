import assert from "node:assert/strict";
import { closeSync, openSync, readlinkSync } from "node:fs";
import { test } from "node:test";
import { probeIsolation } from "./probe.ts";
import { allPids, identify } from "./processes.ts";
import { containerSpec, execIn, runIn, running, said, SandboxHarness, until } from "./testing.ts";

const possible = await probeIsolation(process.getuid?.() === 0);
const skip = possible.tools ? false : possible.finding.message;

const list = ["sh", "-c", "for p in /proc/[0-9]*; do echo ${p#/proc/} $(tr '\\0' ' ' < $p/cmdline); done"];

for (const without of [[], ["tini"], ["tini", "bwrap"]]) {
  test(`containers that share their processes${without.length > 0 ? `, without ${without.join(" and ")}` : ""}`, { skip, timeout: 20_000 }, async () => {
    await using harness = await SandboxHarness.start({ without });
    const machine = identify(1);
    const pod = await harness.pod({ shareProcesses: true });
    const loop = (word: string) => ["sh", "-c", `trap 'echo ${word}' USR1; trap 'exit 5' TERM; echo up; while :; do sleep 0.02; done`];
    const [app, side] = await Promise.all([
      pod.startContainer(containerSpec(loop("told-app"), { name: "app" })),
      // Another user inside: on the machine they are one.
      pod.startContainer(containerSpec(loop("told-side"), { name: "side", uid: 2000, gid: 2000 })),
    ]);
    await Promise.all([said(app.stdout, "up"), said(side.stdout, "up")]);

    // Each sees all, the same numbers, and PID 1 is none of theirs.
    const [fromApp, fromSide] = await Promise.all([execIn(app, list), execIn(side, list)]);
    for (const { stdout } of [fromApp, fromSide]) {
      assert.match(stdout, /told-app/);
      assert.match(stdout, /told-side/);
      assert.match(/^1 (.*)$/m.exec(stdout)?.[1] ?? "", /sleep infinity/);
    }
    const pidOf = (word: string, text: string) => Number(new RegExp(`^(\\d+) sh -c trap 'echo ${word}'`, "m").exec(text)![1]);
    assert.equal(pidOf("told-side", fromApp.stdout), pidOf("told-side", fromSide.stdout));

    // A signal across: the program itself, from the other container.
    const told = said(side.stdout, "told-side");
    assert.equal((await execIn(app, ["sh", "-c", `kill -USR1 ${pidOf("told-side", fromApp.stdout)}`])).code, 0);
    await told;

    // The files and rights of each stay its own.
    const walls = await runIn(pod, ["sh", "-c", `ls /proc/1/root/ /proc/${pidOf("told-app", fromApp.stdout)}/root/ 2>&1 || echo closed; grep -E '^Cap(Eff|Bnd|Amb)|^NoNewPrivs' /proc/self/status | tr -d '\\t' | tr '\\n' ' '; unshare -U true 2>&1 || echo refused`], { name: "walls" });
    assert.match(walls.stdout, /closed\nCapEff:0+ CapBnd:0+ CapAmb:0+ NoNewPrivs:1 .*refused/s, walls.stdout + walls.stderr);

    // One ends, with all it left behind, and starts again; the other goes on.
    const seconds = `sleep ${7_700_000 + without.length}`;
    const messy = await runIn(pod, ["sh", "-c", `setsid ${seconds} & (${seconds} &) ; exit 3`], { name: "messy" });
    assert.equal(messy.exitCode, 3);
    await until(() => running(seconds).length === 0);
    app.signal("SIGTERM");
    assert.equal((await app.exited).exitCode, 5);
    const again = await pod.startContainer(containerSpec(["sleep", "1000"], { name: "app" }));
    assert.match((await execIn(again, list)).stdout, /told-side/);

    // `kill 1` ends the pod's first process, and so all of its containers; nothing else. The next start has another.
    const bystander = await (await harness.pod()).startContainer(containerSpec(["sleep", "1000"], { name: "bystander" }));
    await execIn(again, ["sh", "-c", "kill 1; kill -9 1"]);
    assert.equal((await again.exited).exitCode, 137);
    assert.equal((await side.exited).exitCode, 137);
    assert.deepEqual(identify(1), machine, "the machine's own first process is there");
    assert.equal((await execIn(bystander, ["true"])).code, 0);
    const reborn = await pod.startContainer(containerSpec(["sleep", "1000"], { name: "app" }));
    assert.match(/^1 (.*)$/m.exec((await execIn(reborn, list)).stdout)?.[1] ?? "", /sleep infinity/);
    // Kept open: the kernel gives the name of a namespace that is gone to the next.
    const held = openSync(`/proc/${reborn.pid}/ns/pid`, "r");
    const processes = readlinkSync(`/proc/self/fd/${held}`);
    assert.notEqual(processes, processesOf(process.pid));
    await execIn(reborn, ["sh", "-c", "kill -9 -1"]);
    await reborn.exited;
    assert.equal((await execIn(bystander, ["true"])).code, 0, "not even everything it may signal reaches further than the pod");
    await pod.remove();
    await until(() => !allPids().some((pid) => pid !== process.pid && processesOf(pid) === processes));
    closeSync(held);
  });
}

/** By the name of its process namespace; ids of the machine are no mark: another stack's pods may have the same. */
function processesOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}
