import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomFillSync } from "node:crypto";
import { once } from "node:events";
import { closeSync, createReadStream, openSync, readdirSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { type TestContext, test } from "node:test";
import { startWherry, type TestWherry } from "../harness.ts";
import { kubectl, needs } from "../needs.ts";

/**
 * exec, cp and port-forward against real pods with clients of both kinds: 1.33 speaks WebSocket, 1.27 SPDY, and 1.33 speaks
 * SPDY when it is told to. The large ones: WHERRY_CONFORMANCE=1 node --test test/scenarios/streams.test.ts
 */
const isLong = process.env["WHERRY_CONFORMANCE"] !== undefined;
const megabytes = isLong ? 256 : 6;
const many = isLong ? 60 : 12;
const clients: { name: string; minor: string; env: Record<string, string> }[] = [
  { name: "kubectl 1.33 over WebSocket", minor: "1.33", env: {} },
  { name: "kubectl 1.33 told to speak SPDY", minor: "1.33", env: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: "false", KUBECTL_PORT_FORWARD_WEBSOCKETS: "false" } },
  { name: "kubectl 1.27 over SPDY", minor: "1.27", env: {} },
];

const pod = `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: node:24
    # What comes to 9000 goes back, each half ending on its own; 9001 says how much came and its hash once the client has ended its half.
    command: [node, -e, "const n=require('net'),c=require('crypto');n.createServer({allowHalfOpen:true},s=>s.on('error',()=>{})&&s.pipe(s)).listen(9000);n.createServer({allowHalfOpen:true},s=>{const h=c.createHash('sha256');s.on('error',()=>{});s.on('data',d=>h.update(d));s.on('end',()=>s.end(h.digest('hex')))}).listen(9001,()=>console.log('listening'))"]
    readinessProbe: {tcpSocket: {port: 9001}}
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
`;
/** Programs to attach to: one reads until its input ends, once; the other has a terminal. */
const attachable = (index: number) => `
apiVersion: v1
kind: Pod
metadata: {name: reads-${index}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: busybox, stdin: true, stdinOnce: true, command: [sh, -c, "sha256sum; echo ended; sleep 0.3; echo >&2 still here; exit 3"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: draws-${index}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: busybox, stdin: true, tty: true, command: [sh, -c, "trap 'stty size' WINCH; while :; do sleep 0.1; done"]}]
`;

interface Stage {
  wherry: TestWherry;
  folder: string;
  /** A file of random bytes, and its hash. */
  file: string;
  hash: string;
  start(client: { minor: string; env: Record<string, string> }, ...args: string[]): ChildProcess;
}

async function stage(t: TestContext): Promise<Stage> {
  const wherry = await startWherry({ test: t });
  const folder = dirname(wherry.dataDir);
  writeFileSync(join(folder, "pod.yaml"), pod);
  assert.equal((await wherry.kubectl("apply", "-f", join(folder, "pod.yaml"))).code, 0);
  const ready = await wherry.kubectl("wait", "--for=condition=ready", "pod/p", "--timeout=30s");
  assert.equal(ready.code, 0, ready.stderr);
  const file = join(folder, "random");
  const hash = createHash("sha256");
  const out = openSync(file, "w");
  for (let written = 0; written < megabytes; written++) {
    const piece = randomFillSync(Buffer.alloc(1 << 20));
    hash.update(piece);
    writeSync(out, piece);
  }
  closeSync(out);
  const start: Stage["start"] = ({ minor, env }, ...args) => {
    const child = spawn(kubectl(minor)!, args, { env: { ...wherry.env, ...env } });
    t.after(() => child.kill("SIGKILL"));
    return child;
  };
  return { wherry, folder, file, hash: hash.digest("hex"), start };
}

/** What it printed, and its exit code. */
async function ended(child: ChildProcess): Promise<{ stdout: string; stderr: string; code: number | null }> {
  const result = { stdout: "", stderr: "", code: null as number | null };
  child.stdout!.on("data", (chunk: Buffer) => (result.stdout += chunk.toString()));
  child.stderr!.on("data", (chunk: Buffer) => (result.stderr += chunk.toString()));
  [result.code] = (await once(child, "close")) as [number | null];
  return result;
}
async function until(what: () => boolean, deadlineMs = 20_000): Promise<void> {
  for (const end = performance.now() + deadlineMs; !what(); ) {
    if (performance.now() > end) assert.fail(`not so after ${deadlineMs} ms: ${what.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Processes of this machine with these words in their command line, without shells and clients that name them. */
function processesWith(words: string): number[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim() === words;
    } catch {
      return false;
    }
  });
}

/** What a program that is attached to reads: enough to pass through every buffer on the way. */
const attachedBytes = 4 << 20;

/** What the large transfers may add, of which each carries 256 MB. */
const growthMaxMb = 96;

/** The most memory a process has had since the last call, in MB. */
function peakOf(pid: number): number {
  const peak = Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024;
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
  return peak;
}

async function forwarded(child: ChildProcess, remote: number): Promise<number> {
  let output = "";
  for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const line = new RegExp(`127\\.0\\.0\\.1:(\\d+) -> ${remote}\n`);
  await until(() => line.test(output) || child.exitCode !== null);
  return Number(line.exec(output)?.[1] ?? assert.fail(`port-forward ended: ${output}`));
}

/** Sends all of it, ends its half, and reads what comes back as a hash or a text. */
async function talk(port: number, file: string): Promise<string> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  const hash = createHash("sha256");
  let text = "";
  let bytes = 0;
  const read = (async () => {
    for await (const chunk of socket) {
      bytes += (chunk as Buffer).length;
      hash.update(chunk as Buffer);
      if (bytes <= 64) text += String(chunk);
    }
  })();
  await Promise.all([pipeline(createReadStream(file), socket), read]);
  return bytes <= 64 ? text : hash.digest("hex");
}

test("large transfers arrive whole in both directions, in bounded memory", { timeout: 600_000 }, async (t) => {
  if (!needs(t, "kubectl.1.33", "kubectl.1.27", "sha256sum")) return;
  const { wherry, folder, file, hash, start } = await stage(t);
  const server = wherry.processes().api!;
  // One of each first: what is loaded when it is first needed is no buffer.
  await ended(start(clients[0]!, "exec", "p", "--", "true"));
  await ended(start(clients[2]!, "exec", "p", "--", "true"));
  const [apiBefore, selfBefore] = [peakOf(server), peakOf(process.pid)].map((_, index) => peakOf([server, process.pid][index]!));
  const lap = (what: string) => isLong || process.env["STEPS"] ? t.diagnostic(`${what}: ${(performance.now() - began).toFixed(0)} ms`) : undefined;
  let began = 0;
  for (const client of clients) {
    began = performance.now();
    const into = start(client, "exec", "-i", "p", "--", "sh", "-c", "cat > /data/file; sha256sum < /data/file");
    const [sent] = await Promise.all([ended(into), pipeline(createReadStream(file), into.stdin!)]);
    assert.equal(sent.stdout.slice(0, 64), hash, `${client.name}, into the pod: ${sent.stderr}`);

    lap(`${client.name}, into the pod`);
    began = performance.now();
    const out = start(client, "exec", "p", "--", "cat", "/data/file");
    const received = createHash("sha256");
    out.stdout!.on("data", (chunk: Buffer) => received.update(chunk));
    assert.deepEqual(await once(out, "close"), [0, null]);
    assert.equal(received.digest("hex"), hash, `${client.name}, out of the pod`);

    lap(`${client.name}, out of the pod`);
    began = performance.now();
    const copied = await ended(start(client, "cp", file, "p:/data/copied"));
    assert.equal(copied.code, 0, copied.stderr);
    lap(`${client.name}, cp there`);
    began = performance.now();
    const back = await ended(start(client, "cp", "p:/data/copied", join(folder, "back")));
    assert.equal(back.code, 0, back.stderr);
    const whole = createHash("sha256");
    for await (const chunk of createReadStream(join(folder, "back"))) whole.update(chunk as Buffer);
    assert.equal(whole.digest("hex"), hash, `${client.name}, cp there and back`);

    lap(`${client.name}, cp back`);
    began = performance.now();
    const forward = start(client, "port-forward", "pod/p", ":9000", ":9001");
    const echo = await forwarded(forward, 9000);
    assert.equal(await talk(echo, file), hash, `${client.name}, through a forwarded port and back`);
    lap(`${client.name}, through a port and back`);
    forward.kill();
  }
  // A reader that stops for a while: what it does not take waits where it is, in the pod.
  for (const client of clients) {
    const slow = start(client, "exec", "p", "--", "sh", "-c", "cat /data/file; echo >&2 sent");
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const received = createHash("sha256");
    slow.stdout!.on("data", (chunk: Buffer) => received.update(chunk));
    assert.deepEqual(await once(slow, "close"), [0, null]);
    assert.equal(received.digest("hex"), hash, `${client.name}, read late`);
  }
  const [api, self] = [peakOf(server), peakOf(process.pid)];
  t.diagnostic(`${megabytes} MB at a time: wherry-api ${apiBefore!.toFixed(0)} → ${api.toFixed(0)} MB, agent and test ${selfBefore!.toFixed(0)} → ${self.toFixed(0)} MB`);
  assert.ok(api < apiBefore! + growthMaxMb, `wherry-api grew from ${apiBefore!.toFixed(0)} to ${api.toFixed(0)} MB`);
  assert.ok(self < selfBefore! + growthMaxMb, `the agent grew from ${selfBefore!.toFixed(0)} to ${self.toFixed(0)} MB`);
});

test("input ends while output goes on; windows change; who is killed leaves nothing; many at once", { timeout: 300_000 }, async (t) => {
  if (!needs(t, "kubectl.1.33", "kubectl.1.27", "script", "stty")) return;
  const { wherry, folder, file, start } = await stage(t);
  const attachedHash = createHash("sha256");
  for await (const chunk of createReadStream(file, { end: attachedBytes - 1 })) attachedHash.update(chunk as Buffer);
  const hash = attachedHash.digest("hex");
  for (const [index, client] of clients.entries()) {
    await t.test(client.name, async () => {
      // Half-close: the end of input arrives, and what is said after it, too.
      const half = start(client, "exec", "-i", "p", "--", "sh", "-c", "cat; echo ended; sleep 0.3; echo still here; echo >&2 and here");
      half.stdin!.end("hello\n");
      const said = await ended(half);
      assert.deepEqual([said.stdout, said.stderr, said.code], ["hello\nended\nstill here\n", "and here\n", 0]);

      const forward = start(client, "port-forward", "pod/p", ":9001");
      const port = await forwarded(forward, 9001);
      assert.match(await talk(port, join(folder, "pod.yaml")), /^[0-9a-f]{64}$/, "an answer to the end of a request");

      // A window that changes: the program is told, and sees the new size.
      const terminal = join(folder, `terminal-${index}`);
      const program = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done";
      const command = `stty rows 30 cols 100; tty > ${terminal}; exec ${kubectl(client.minor)} exec -it p -- sh -c ${JSON.stringify(program)}`;
      const shell = spawn("script", ["-qec", command, "/dev/null"], { env: { ...wherry.env, ...client.env, SHELL: "/bin/sh" } });
      t.after(() => shell.kill("SIGKILL"));
      let seen = "";
      shell.stdout.on("data", (chunk: Buffer) => (seen += chunk.toString()));
      await until(() => seen.includes("ready"));
      const size = (rows: number, columns: number) => once(spawn("stty", ["-F", readFileSync(terminal, "utf8").trim(), "rows", String(rows), "cols", String(columns)]), "close");
      await size(41, 133);
      await until(() => /^41 133\r?$/m.test(seen));
      await size(24, 80);
      await until(() => /^24 80\r?$/m.test(seen));
      shell.kill();

      // The same of programs that ran before: attached, not begun, by the client.
      writeFileSync(join(folder, "attachable.yaml"), attachable(index));
      assert.equal((await wherry.kubectl("apply", "-f", join(folder, "attachable.yaml"))).code, 0);
      const running = await wherry.kubectl("wait", "--for=condition=ready", `pod/reads-${index}`, `pod/draws-${index}`, "--timeout=30s");
      assert.equal(running.code, 0, running.stderr);
      const [reader, watcher] = [start(client, "attach", "-i", `reads-${index}`), start(client, "attach", `reads-${index}`)];
      const watched = ended(watcher);
      const [heard] = await Promise.all([ended(reader), pipeline(createReadStream(file, { end: attachedBytes - 1 }), reader.stdin!)]);
      assert.equal(heard.stdout, `${hash}  -\nended\n`, heard.stderr);
      assert.match(heard.stderr, /still here\n/);
      assert.match((await watched).stdout, new RegExp(`^(${hash} {2}-\n)?(ended\n)?$`), "who only looks, and may have come late");
      const ending = await wherry.kubectl("wait", `--for=jsonpath={.status.containerStatuses[0].state.terminated.exitCode}=3`, `pod/reads-${index}`, "--timeout=20s");
      assert.equal(ending.code, 0, ending.stderr);
      const screen = spawn("script", ["-qec", `stty rows 20 cols 70; tty > ${terminal}.attached; exec ${kubectl(client.minor)} attach -it draws-${index}`, "/dev/null"], { env: { ...wherry.env, ...client.env, SHELL: "/bin/sh" } });
      t.after(() => screen.kill("SIGKILL"));
      let drawn = "";
      screen.stdout.on("data", (chunk: Buffer) => (drawn += chunk.toString()));
      // kubectl makes the window one column larger and as before again, so that a program draws itself anew.
      await until(() => /^20 70\r?$/m.test(drawn));
      await once(spawn("stty", ["-F", readFileSync(`${terminal}.attached`, "utf8").trim(), "rows", "44", "cols", "99"]), "close");
      await until(() => /^44 99\r?$/m.test(drawn));
      screen.kill();

      // Killed without a word: what it ran goes, and so do connections of its port.
      const seconds = String(98_700 + index);
      const dying = start(client, "exec", "-i", "p", "--", "sleep", seconds);
      await until(() => processesWith(`sleep ${seconds}`).length > 0);
      dying.kill("SIGKILL");
      forward.kill("SIGKILL");
      await until(() => processesWith(`sleep ${seconds}`).length === 0);
    });
  }

  await t.test(`${many} commands and ${many} connections at once`, async () => {
    const forwards = await Promise.all(clients.slice(0, 2).map(async (client) => await forwarded(start(client, "port-forward", "pod/p", ":9001"), 9001)));
    const execs = Array.from({ length: many }, async (_, index) => {
      const child = start(clients[index % clients.length]!, "exec", "-i", "p", "--", "sh", "-c", "read line; sleep 0.5; echo got $line");
      child.stdin!.end(`${index}\n`);
      return (await ended(child)).stdout;
    });
    const expected = createHash("sha256").update(readFileSync(join(folder, "pod.yaml"))).digest("hex");
    const answers = Array.from({ length: many }, (_, index) => talk(forwards[index % forwards.length]!, join(folder, "pod.yaml")));
    assert.deepEqual(await Promise.all(execs), Array.from({ length: many }, (_, index) => `got ${index}\n`));
    assert.deepEqual(new Set(await Promise.all(answers)), new Set([expected]));
    // All over: nothing of them is left in the pod.
    await until(() => processesWith("sleep 0.5").length === 0);
  });
});
