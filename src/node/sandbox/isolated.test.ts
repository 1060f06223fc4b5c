import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { probeIsolation } from "./probe.ts";
import { allPids, identify } from "./processes.ts";
import type { ContainerExit, PodSandbox } from "./sandbox.ts";
import { containerSpec, execIn, runIn, said, SandboxHarness } from "./testing.ts";

const isRoot = process.getuid?.() === 0;
const possible = await probeIsolation(isRoot);
const skip = possible.tools ? false : possible.finding.message;

/** A web server that says who it is and whom it sees. */
const server = (name: string) => `require("http").createServer((q, s) => s.end("${name} sees " + q.socket.remoteAddress)).listen(8080, "0.0.0.0", () => console.log("ready"))`;
const get = (url: string) => ["node", "-e", `fetch("${url}").then((r) => r.text()).then(console.log, (e) => console.log(e.cause.code))`];

describe("isolated mode", { skip }, () => {
  let harness: SandboxHarness;
  before(async () => void (harness = await SandboxHarness.start()));
  after(() => harness[Symbol.asyncDispose]());

  const cases: [string, string[], Partial<ContainerExit>][] = [
    ["success", ["true"], { exitCode: 0 }],
    ["a code", ["sh", "-c", "exit 3"], { exitCode: 3 }],
    ["a code with background children left", ["sh", "-c", "sleep 1000 & exit 3"], { exitCode: 3 }],
    ["SIGTERM to itself", ["sh", "-c", "kill -TERM $$"], { exitCode: 143 }],
    ["SIGKILL to itself", ["sh", "-c", "kill -KILL $$"], { exitCode: 137 }],
    ["127 of its own", ["sh", "-c", "exit 127"], { exitCode: 127 }],
    ["an abort", ["node", "-e", "process.abort()"], { exitCode: 134 }],
  ];
  for (const without of [[], ["tini"], ["tini", "bwrap"]]) {
    test(`exit codes${without.length > 0 ? `, without ${without.join(" and ")}` : ""}`, async () => {
      await using other = await SandboxHarness.start({ without });
      const pod = await other.pod();
      for (const [name, argv, expected] of cases) {
        const { exitCode } = await runIn(pod, argv);
        assert.equal(exitCode, expected.exitCode, name);
      }
      const container = await pod.startContainer(containerSpec(["sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done"]));
      await said(container.stdout, "up");
      container.signal("SIGTERM");
      assert.equal((await container.exited).exitCode, 7);
      // The signal comes before the init has set up anything: it must not be lost.
      const early = await pod.startContainer(containerSpec(["sleep", "1000"]));
      early.signal("SIGTERM");
      assert.equal((await early.exited).exitCode, 143);
      const stubborn = await pod.startContainer(containerSpec(["sh", "-c", "trap '' TERM; echo up; sleep 1000"]));
      await said(stubborn.stdout, "up");
      stubborn.signal("SIGTERM");
      stubborn.signal("SIGKILL");
      assert.deepEqual(await stubborn.exited, { exitCode: 137, signal: 9, oomKilled: false });
      for (const signal of ["SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const) {
        const heard = await pod.startContainer(containerSpec(["/usr/bin/python3", "-uc", `import signal, sys\nsignal.signal(signal.${signal}, lambda *_: sys.exit(9))\nprint("up")\nwhile True: signal.pause()`]));
        await said(heard.stdout, "up");
        heard.signal(signal);
        assert.equal((await heard.exited).exitCode, 9, signal);
      }
      const interrupted = await pod.startContainer(containerSpec(["/usr/bin/python3", "-uc", "print('up')\nimport time\ntime.sleep(1000)"]));
      await said(interrupted.stdout, "up");
      interrupted.signal("SIGINT");
      assert.equal((await interrupted.exited).exitCode, 130, "INT is not ignored by a program that has no handler");
      const killed = await pod.startContainer(containerSpec(["sleep", "1000"]));
      await execIn(killed, ["kill", "1"]);
      assert.equal((await killed.exited).exitCode, 143, "kill 1 ends the program");
    });
  }

  test("orphans are reaped", async () => {
    const container = await (await harness.pod()).startContainer(containerSpec(["sh", "-c", "for i in 1 2 3 4 5; do (setsid true &) ; done; sleep 0.2; echo done; exec sleep 1000"]));
    await said(container.stdout, "done");
    const { stdout } = await execIn(container, ["sh", "-c", "cat /proc/[0-9]*/stat | grep -c ' Z ' || true"]);
    assert.equal(stdout, "0\n");
  });

  test("what cannot start says why, and nothing is left", async () => {
    const pod = await harness.pod();
    await assert.rejects(runIn(pod, ["no-such-program"]), { name: "SandboxRefusal", reason: "RunContainerError", message: 'exec: "no-such-program": executable file not found in $PATH' });
    await assert.rejects(runIn(pod, ["/no/such"]), { message: 'exec: "/no/such": stat /no/such: no such file or directory' });
    await assert.rejects(runIn(pod, ["true"], { workingDir: "/etc/passwd" }), /workingDir \/etc\/passwd does not exist/);
    await assert.rejects(runIn(pod, ["true"], { mounts: [{ kind: "bind", source: "/no/such/source", target: "/data", readOnly: true }] }), /mounts/);
    await assert.rejects(runIn(pod, []), /no command/);
    assert.equal((await runIn(pod, ["true"])).exitCode, 0, "the pod is usable after failed first starts");
  });

  test("the file system: what may be written, who one is, what is mounted", async () => {
    const pod = await harness.pod();
    const volume = join(harness.dataDir, "volumes", "a b\\c");
    mkdirSync(volume, { recursive: true });
    writeFileSync(join(volume, "file"), "content", { mode: 0o644 });
    if (isRoot) spawnSync("chown", ["-R", `${pod.hostUid}:${pod.hostUid}`, volume]);
    const { dev, ino } = statSync(volume, { bigint: true });
    const script = `id -un; id -u; pwd; hostname; cat /etc/hostname
for path in / /etc /usr /app /tmp /run /home/app /dev/shm /var/tmp /var/log /data /ro /scratch; do touch $path/x 2>/dev/null && echo "$path yes" || echo "$path no"; done
cat /data/file /run/secrets/token/file /tmp/one; echo; grep legacy /etc/hosts; cat /etc/resolv.conf; echo out > /dev/stdout; echo err > /dev/stderr; node -p process.version`;
    const { stdout, stderr } = await runIn(pod, ["sh", "-c", script], {
      workingDir: "/app", userName: "shop", homeDir: "/home/app",
      mounts: [
        { kind: "bind", source: volume, identity: `${dev}:${ino}`, target: "/data", readOnly: false },
        { kind: "bind", source: volume, target: "/ro", readOnly: true },
        { kind: "bind", source: volume, target: "/var/run/secrets/token", readOnly: true },
        { kind: "bind", source: join(volume, "file"), target: "/tmp/one", readOnly: true },
        { kind: "tmpfs", target: "/scratch", readOnly: false, sizeBytes: 1e6 },
      ],
    });
    assert.equal(stdout, `shop\n1000\n/app\n${podName(pod)}\n${podName(pod)}
/ no\n/etc no\n/usr no\n/app no\n/tmp yes\n/run yes\n/home/app yes\n/dev/shm yes\n/var/tmp yes\n/var/log yes\n/data yes\n/ro no\n/scratch yes
contentcontentcontent\n10.1.2.3\tlegacy\nsearch default.svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\nout\n${process.version}\n`);
    assert.equal(stderr, "err\n");
    assert.ok(existsSync(join(volume, "x")), "a volume's files are there afterwards");
    assert.equal((await runIn(pod, ["sh", "-c", "ls /etc/ssl; ls / | tr '\\n' ' '"])).stdout.replace(/openssl.cnf\n/, "").split("\n")[0], "certs", "no private keys of the machine");
    const strict = await runIn(pod, ["sh", "-c", "touch /tmp/x 2>/dev/null && echo yes || echo no; touch /dev/shm/x && echo yes"], { readOnlyRoot: true });
    assert.equal(strict.stdout, "no\nyes\n");
    assert.match((await runIn(pod, ["sh", "-c", "head -c 2000000 /dev/zero > /scratch/big"], { mounts: [{ kind: "tmpfs", target: "/scratch", readOnly: false, sizeBytes: 1e6 }] })).stderr, /No space left/);
  });
  const podName = (pod: PodSandbox & { dir: string }) => pod.dir.split("/").at(-1)!.replace("uid", "pod");

  test("a folder behind another user's closed home can be mounted, and nothing beside it is seen", { skip: isRoot ? false : "needs root" }, async () => {
    const home = mkdtempSync(join(tmpdir(), "wherry-sandbox-home-"));
    mkdirSync(join(home, "app"));
    writeFileSync(join(home, "app", "file"), "content");
    writeFileSync(join(home, "app", "private"), "content", { mode: 0o600 });
    spawnSync("chown", ["-R", "4711:4711", home]);
    const { stdout } = await runIn(await harness.pod(), ["sh", "-c", "cat /app/file /app/private 2>/dev/null; ls /app/.. | grep -c file || true"], { mounts: [{ kind: "bind", source: join(home, "app"), target: "/app", readOnly: true }] });
    rmSync(home, { recursive: true });
    assert.equal(stdout, "content0\n");
  });

  test("the environment arrives byte by byte", async () => {
    const env = { PATH: "/usr/bin:/bin", QUOTE: `it's "so" $HOME \`x\` \\ *`, LINES: "a\nb\n", "weird.name": "w", UID: "u", LARGE: "x".repeat(120_000), UNICODE: "日本🙂".repeat(8_000) };
    const { stdout, stderr } = await runIn(await harness.pod(), ["node", "-e", "console.log(JSON.stringify(process.env))"], { env });
    const { PWD: _, ...got } = JSON.parse(stdout || `{"stderr":${JSON.stringify(stderr)}}`);
    for (const [name, value] of Object.entries(env)) assert.ok(got[name] === value, `${name}: ${String(got[name]).slice(0, 100)}`);
    assert.deepEqual(Object.keys(got).toSorted(), Object.keys(env).toSorted(), stderr);
  });

  test("stdin, and its end", async () => {
    const container = await (await harness.pod()).startContainer(containerSpec(["cat"], { stdin: true }));
    container.stdin!.end("through");
    assert.deepEqual([await text(container.stdout), (await container.exited).exitCode], ["through", 0]);
    const big = await (await harness.pod()).startContainer(containerSpec(["head", "-c", "20000000", "/dev/zero"]));
    assert.equal((await text(big.stdout)).length, 20_000_000);
  });

  test("a terminal: its name, size, keys and code; for the program and for exec", async () => {
    const pod = await harness.pod();
    const script = "tty; stty size; trap 'stty size; exit 7' WINCH; trap 'echo ^; exit 8' INT; echo ready; while :; do sleep 0.05; done";
    for (const from of ["program", "exec"] as const) {
      const waiting = await pod.startContainer(containerSpec(["sleep", "1000"], { name: "waiting" }));
      const start = async () => (from === "program" ? await pod.startContainer(containerSpec(["sh", "-c", script], { tty: true, stdin: true })) : await waiting.exec({ argv: ["sh", "-c", script], stdin: true, tty: true }));
      const resized = await start();
      assert.match(await said(resized.stdout, "ready"), /^\/dev\/pts\/0\r\n24 80\r\nready/);
      const heard = text(resized.stdout);
      resized.resize(120, 33);
      assert.match(await heard, /33 120/);
      const code = async (process: { exited: Promise<number | ContainerExit> }) => {
        const exit = await process.exited;
        return typeof exit === "number" ? exit : exit.exitCode;
      };
      assert.equal(await code(resized), 7);
      const interrupted = await start();
      await said(interrupted.stdout, "ready");
      interrupted.stdout.resume();
      interrupted.stdin!.write("\u0003");
      assert.equal(await code(interrupted), 8);
      waiting.signal("SIGKILL");
      await waiting.exited;
    }
  });

  test("exec: view, codes, streams, environment, kill", async () => {
    const container = await (await harness.pod()).startContainer(containerSpec(["sleep", "1000"], { env: { PATH: "/usr/bin:/bin", FROM: "pod" }, workingDir: "/app" }));
    const { stdout, stderr, code } = await execIn(container, ["sh", "-c", "echo $FROM $MORE; pwd; id -u; ps -e -o args= | grep -c 'sleep 100[0]'; echo problem >&2; exit 5"], { env: { MORE: "more" } });
    assert.deepEqual([stdout, stderr, code], ["pod more\n/app\n1000\n2\n", "problem\n", 5]);
    const cat = await container.exec({ argv: ["cat"], stdin: true, tty: false });
    cat.stdin!.end("through");
    assert.equal(await text(cat.stdout), "through");
    const missing = await execIn(container, ["no-such"]);
    assert.equal(missing.code, 127);
    assert.match(missing.stderr, /executable file not found in \$PATH/);
    const long = await container.exec({ argv: ["sh", "-c", "echo up; exec sleep 1001"], stdin: false, tty: false });
    await said(long.stdout, "up");
    long.kill();
    assert.equal(await long.exited, 137);
    assert.equal((await execIn(container, ["sh", "-c", "ps -e -o args= | grep -c 'sleep 100[1]' || true"])).stdout, "0\n");
    container.signal("SIGKILL");
    await container.exited;
    await assert.rejects(container.exec({ argv: ["true"], stdin: false, tty: false }), /not running/);
  });

  test("containers of a pod share address, host name and loopback, and nothing else", async () => {
    const pod = await harness.pod();
    const init = await runIn(pod, ["sh", "-c", "echo $$; ip -4 -o addr show eth0"], { name: "init" });
    assert.match(init.stdout, new RegExp(`inet ${pod.ip.replaceAll(".", "\\.")}/32`));
    const main = await pod.startContainer(containerSpec(["node", "-e", server("main")], { name: "main" }));
    await said(main.stdout, "ready");
    const sidecar = await pod.startContainer(containerSpec(["sleep", "1000"], { name: "sidecar" }));
    const inside = await execIn(sidecar, ["sh", "-c", `${get("http://127.0.0.1:8080").map((word) => `'${word}'`).join(" ")}; hostname; ps -e -o comm= | grep -cx node || true; touch /tmp/mine`]);
    assert.equal(inside.stdout, `main sees 127.0.0.1\n${podName(pod)}\n0\n`);
    assert.equal((await execIn(main, ["ls", "/tmp"])).stdout, "", "files are each container's own");
    const restarted = await (async () => {
      main.signal("SIGKILL");
      await main.exited;
      return await pod.startContainer(containerSpec(["node", "-e", server("again")], { name: "main" }));
    })();
    await said(restarted.stdout, "ready");
    assert.equal((await execIn(sidecar, get("http://127.0.0.1:8080"))).stdout, "again sees 127.0.0.1\n");
  });

  test("twenty pods at once on one port, each with its own address, which is its identity", async () => {
    const pods = await Promise.all(Array.from({ length: 20 }, () => harness.pod()));
    const containers = await Promise.all(pods.map(async (pod) => {
      const container = await pod.startContainer(containerSpec(["node", "-e", server(pod.ip)]));
      await said(container.stdout, "ready");
      return container;
    }));
    const urls = JSON.stringify(pods.map((pod) => `http://${pod.ip}:8080`));
    const client = pods[0]!;
    const { stdout } = await execIn(containers[0]!, ["node", "-e", `Promise.all(${urls}.map((u) => fetch(u).then((r) => r.text()))).then((a) => console.log(a.join("\\n")))`]);
    assert.deepEqual(stdout.trim().split("\n"), pods.map((pod) => `${pod.ip} sees ${client.ip}`));
    assert.equal(new Set(pods.map((pod) => pod.ip)).size, 20);
    const stopped = performance.now();
    await Promise.all(pods.map((pod) => pod.remove()));
    assert.ok(performance.now() - stopped < 5000);
    for (const container of containers) assert.equal(identify(container.pid), undefined);
  });

  test("ports: 80 is anybody's; a missing Service and the Internet are refused; a dead pod is unreachable", async () => {
    const pod = await harness.pod();
    assert.equal((await runIn(pod, ["node", "-e", `require("net").createServer().listen(80, () => { console.log("ok"); process.exit() })`])).stdout, "ok\n");
    for (const [url, code] of [["http://10.96.0.77:80", "ECONNREFUSED"], ["http://192.0.2.1:80", "ECONNREFUSED"], ["http://10.244.200.200:80", "EHOSTUNREACH"]] as const) assert.equal((await runIn(pod, get(url))).stdout.trim(), code, url);
  });

  test("the data plane's own namespaces: exact Service addresses, pods by dialling, any address of the outside", async () => {
    const { network } = harness.sandbox;
    const pod = await harness.pod();
    const web = await pod.startContainer(containerSpec(["node", "-e", server("web")]));
    await said(web.stdout, "ready");
    const serve = ([program, ...words]: readonly string[], host: string, port: number) => {
      const code = `const s = require("net").createServer((c) => c.on("error", () => {}).end(c.localAddress + " for " + c.remoteAddress)).listen(${port}, "${host}", () => console.log("ready")); process.stdin.on("end", () => process.exit()).resume()`;
      return spawn(program!, [...words, process.execPath, "-e", code], { stdio: ["pipe", "pipe", "inherit"], env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } });
    };
    const listeners = [serve(network.enter, "10.96.0.5", 80), serve(network.enter, network.gatewayIP, 7000), serve(network.enterEgress!, "0.0.0.0", 443)];
    try {
      for (const listener of listeners) await said(listener.stdout, "ready");
      const read = (host: string, port: number) => ["/usr/bin/python3", "-c", `import socket\ns = socket.create_connection(("${host}", ${port}), 2)\nprint(s.recv(100).decode())`];
      for (const [host, port] of [["10.96.0.5", 80], [network.gatewayIP, 7000], ["203.0.113.9", 443], ["8.8.8.8", 443]] as const) assert.equal((await runIn(pod, read(host, port), { name: "client" })).stdout, `${host} for ${pod.ip}\n`);
      const dial = spawnSync(network.enter[0]!, [...network.enter.slice(1), process.execPath, "-e", `fetch("http://${pod.ip}:8080").then((r) => r.text()).then(console.log)`], { encoding: "utf8", env: { PATH: "/usr/bin:/bin" } });
      assert.equal(dial.stdout, `web sees ${network.gatewayIP}\n`, dial.stderr);
      const status = readFileSync(`/proc/${listeners[0]!.pid}/status`, "latin1");
      assert.match(status, /^CapEff:\s*0+$/m);
      assert.match(status, /^CapBnd:\s*0+$/m);
      if (isRoot) assert.match(status, /^Uid:\s*100000\b/m);
    } finally {
      for (const listener of listeners) listener.stdin.end();
    }
  });

  test("memory: over the limit means OOMKilled, by control group and by watching", async () => {
    for (const cgroups of [undefined, false]) {
      await using other = await SandboxHarness.start({ cgroups });
      const hog = ["/usr/bin/python3", "-c", "import time\na = []\nwhile True:\n    a.append(bytearray(8000000))\n    time.sleep(0.01)"];
      const pod = await other.pod();
      const exit = await runIn(pod, hog, { limits: { memoryBytes: 100e6 } });
      assert.deepEqual([exit.exitCode, exit.oomKilled], [137, true], `cgroups: ${cgroups}`);
      const modest = await runIn(pod, ["node", "-e", "console.log('fits')"], { limits: { memoryBytes: 200e6 } });
      assert.deepEqual([modest.stdout, modest.oomKilled], ["fits\n", false]);
    }
  });

  test("a fork bomb stays in its pod, by control group and by rlimit", async () => {
    for (const cgroups of [undefined, false]) {
      await using other = await SandboxHarness.start({ cgroups });
      const [bomb, neighbour] = [await other.pod(), await other.pod()];
      const script = "i=0; while [ $i -lt 200 ]; do sleep 1000 >/dev/null 2>&1 & i=$((i+1)); done; echo all";
      const { stdout, stderr } = await runIn(bomb, ["sh", "-c", script], { limits: { pidsMax: 50 } });
      assert.doesNotMatch(stdout, /all/);
      assert.match(stderr, /[Cc]annot fork/);
      assert.equal((await runIn(neighbour, ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 0 & done; wait; echo fine"], { limits: { pidsMax: 50 } })).stdout, "fine\n");
      const container = await bomb.startContainer(containerSpec(["sleep", "1000"], { limits: { pidsMax: 20 } }));
      assert.match((await execIn(container, ["sh", "-c", script])).stderr, /[Cc]annot fork/, "an exec counts too");
    }
  });

  test("usage: CPU grows, memory is counted", async () => {
    for (const cgroups of [undefined, false]) {
      await using other = await SandboxHarness.start({ cgroups });
      const container = await (await other.pod()).startContainer(containerSpec(["node", "-e", "const a = Buffer.alloc(50e6, 1); while (process.cpuUsage().user < 300_000); console.log('burnt'); setInterval(() => a, 1000)"], { limits: { cpuMillis: 500 } }));
      await said(container.stdout, "burnt");
      const { cpuNs, memoryBytes } = await container.usage();
      assert.ok(cpuNs > 150e6 && cpuNs < 5e9, `${cpuNs} ns`);
      assert.ok(memoryBytes > 50e6 && memoryBytes < 500e6, `${memoryBytes} bytes`);
      container.applyCpuLimit();
    }
  });

  test("the CPU limit holds from when it is applied", { skip: isRoot && existsSync("/sys/fs/cgroup/cpu") ? false : "needs a writable cpu control group" }, async () => {
    const container = await (await harness.pod()).startContainer(containerSpec(["sh", "-c", "while :; do :; done"], { limits: { cpuMillis: 100 } }));
    container.applyCpuLimit();
    const [before, startMs] = [await container.usage(), performance.now()];
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const [after, endMs] = [await container.usage(), performance.now()];
    const share = (after.cpuNs - before.cpuNs) / 1e6 / (endMs - startMs);
    assert.ok(share < 0.25, `${share} of a core`);
    container.signal("SIGKILL");
  });

  test("kill -9 of the process that runs the pods leaves nothing", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "wherry-sandbox-kill-"));
    try {
      const main = spawn(process.execPath, ["--input-type=module", "-e", victim(dataDir)], { stdio: ["ignore", "pipe", "inherit"] });
      await said(main.stdout, "running");
      const marked = () => allPids().filter((pid) => {
        try {
          // The pod's programs carry their words, ours the data directory's mark.
          const words = readFileSync(`/proc/${pid}/cmdline`, "latin1");
          const state = identify(pid);
          return state !== undefined && (words.includes(`stay-${dataDir}`) || words.includes(dataDir));
        } catch {
          return false;
        }
      });
      const before = marked();
      assert.ok(before.length >= 6, `${before.length} processes run`);
      const lines = readFileSync(join(dataDir, "sandbox", "processes"), "utf8").trim().split("\n").slice(1).map((line) => line.split(" "));
      main.kill("SIGKILL");
      // The kernel takes namespaces down in its own time: half a second on a quiet machine, ten under load.
      for (const began = performance.now(); performance.now() - began < 30_000; ) {
        if (marked().length === 0 && lines.every(([pid, start]) => identify(Number(pid))?.startTicks !== start)) break;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      assert.deepEqual(marked(), []);
      assert.deepEqual(lines.filter(([pid, start]) => identify(Number(pid))?.startTicks === start).map(([pid]) => ["status", "wchan", "cmdline"].map((file) => readFileSync(`/proc/${pid}/${file}`, "latin1"))), []);
      // The next run takes over, and with its end the control groups of the killed one are gone too.
      await using again = await SandboxHarness.start({ dataDir });
      assert.equal((await runIn(await again.pod(), ["echo", "again"])).stdout, "again\n");
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
  });

  test("what a killed run left behind is ended by the next, and a living owner is respected", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "wherry-sandbox-left-"));
    {
      await using first = await SandboxHarness.start({ dataDir });
      await assert.rejects(startElsewhere(dataDir), /runs pods for this data directory/);
      void first;
    }
    mkdirSync(join(dataDir, "sandbox"), { recursive: true });
    const stray = spawn("sleep", ["1000"], { stdio: "ignore" });
    const unrelated = spawn("sleep", ["1000"], { stdio: "ignore" });
    const identity = identify(stray.pid!)!;
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
    // The second line has a pid that belongs to somebody else by now.
    writeFileSync(join(dataDir, "sandbox", "processes"), `${JSON.stringify({ pid: 999_999, startTicks: "1", boot })}\n${identity.pid} ${identity.startTicks}\n${unrelated.pid} 1\n1 1\n`);
    const ended = new Promise((resolve) => stray.on("exit", (_, signal) => resolve(signal)));
    await using second = await SandboxHarness.start({ dataDir });
    assert.equal(await ended, "SIGKILL");
    assert.equal(unrelated.exitCode ?? unrelated.signalCode, null);
    unrelated.kill("SIGKILL");
    void second;
  });

  test("stop leaves no process, link, group or folder", async () => {
    const other = await SandboxHarness.start();
    const { scratch } = other.sandbox;
    const pod = await other.pod();
    const container = await pod.startContainer(containerSpec(["sleep", "1000"]));
    // By its own mark: other stacks come and go on this machine.
    const mark = `wherry-${createHash("sha256").update(other.dataDir).digest("hex").slice(0, 16)}`;
    const groups = () => ["memory", "pids", "cpu"].map((controller) => `/sys/fs/cgroup/${controller}/${mark}`).filter((folder) => existsSync(folder));
    assert.deepEqual([existsSync(scratch), groups().length], [true, isRoot && existsSync("/sys/fs/cgroup/memory") ? 3 : 0]);
    await other.sandbox.stop(AbortSignal.abort());
    await other.sandbox.stop(AbortSignal.abort());
    assert.equal(identify(container.pid), undefined);
    assert.equal(existsSync(scratch), false);
    assert.deepEqual(groups(), []);
    await other[Symbol.asyncDispose]();
  });
});

async function startElsewhere(dataDir: string): Promise<void> {
  const code = `import { SandboxHarness } from ${JSON.stringify(new URL("testing.ts", import.meta.url).href)}; await SandboxHarness.start({ dataDir: ${JSON.stringify(dataDir)} }); process.exit();`;
  const { stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8", timeout: 20_000 });
  if (status !== 0) throw new Error(stderr);
}

/** A process that runs pods with grandchildren in sessions of their own, an exec and a second container. */
const victim = (dataDir: string) => `
import { SandboxHarness, containerSpec, said } from ${JSON.stringify(new URL("testing.ts", import.meta.url).href)};
const harness = await SandboxHarness.start({ dataDir: ${JSON.stringify(dataDir)} });
for (let i = 0; i < 3; i++) {
  const pod = await harness.pod();
  const container = await pod.startContainer(containerSpec(["sh", "-c", "setsid sh -c 'sleep 1000; : stay-${dataDir}' & echo up; sleep 1000; : stay-${dataDir}"]));
  await said(container.stdout, "up");
  const exec = await container.exec({ argv: ["sh", "-c", "echo in; sleep 1000; : stay-${dataDir}"], stdin: false, tty: false });
  await said(exec.stdout, "in");
}
console.log("running");
setInterval(() => {}, 1000);
`;
