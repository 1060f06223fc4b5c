import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type ContainerProcess, type Mount, type PodSandbox, SandboxRefusal } from "../../src/node/sandbox/sandbox.ts";
import { containerSpec, execIn, runIn, said, SandboxHarness } from "../../src/node/sandbox/testing.ts";
import { type Attack, attacks, type Surroundings } from "./attacks.ts";

const isRoot = process.getuid?.() === 0;
const here = fileURLToPath(import.meta.url);
const secret = "wherry-escape-canary";

/**
 * The suite needs a process whose session keyring, descriptors and environment hold secrets, so it starts itself once
 * more through a small Python program that puts them there.
 */
const loaded = process.env["WHERRY_ESCAPE_SECRET"] !== undefined;

const loader = `
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(250, 1, None)
libc.syscall(248, b"user", b"wherry-canary", b"${secret}", ${secret.length}, -3)
home = sys.argv[1]
fd = os.open(home, os.O_RDONLY)
os.dup2(fd, 33, inheritable=True)
os.dup2(os.open(home + "/kubeconfig", os.O_RDONLY), 250, inheritable=True)
os.environ["WHERRY_ESCAPE_SECRET"] = "${secret}"
os.environ["HOME"] = home
os.environ.pop("NODE_TEST_CONTEXT", None)
os.execv(sys.argv[2], sys.argv[2:])
`;

function runLoaded(user: string[], without: string): { status: number | null; output: string } {
  const home = mkdtempSync(join(tmpdir(), "wherry-escape-home-"));
  writeFileSync(join(home, "kubeconfig"), secret);
  if (user.length > 0) for (const path of [join(home, "kubeconfig"), home]) spawnSync("chown", ["65534:65534", path]);
  const [program, ...rest] = [...user, "/usr/bin/python3", "-c", loader, home, process.execPath, "--test-reporter=spec", here];
  const child = spawnSync(program!, rest, { encoding: "utf8", timeout: 240_000, env: { PATH: process.env["PATH"], WHERRY_ESCAPE_WITHOUT: without } });
  rmSync(home, { recursive: true, force: true });
  return { status: child.status, output: child.stdout + child.stderr };
}

if (!loaded) {
  const asUser = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
  const isWhole = process.env["WHERRY_CONFORMANCE"] !== undefined;
  // Each user, and each of both ways, once; crosswise in conformance.
  for (const [name, user, without, isLong] of [
    ["as the user of this run", [], "", false],
    ["as an ordinary user", asUser, "", true],
    ["as the user of this run, without bwrap and tini", [], "bwrap,tini", true],
    ["as an ordinary user, without bwrap and tini", asUser, "bwrap,tini", false],
  ] as const) {
    const skip = isLong && !isWhole ? "npm run conformance runs it" : !existsSync("/usr/bin/python3") ? "the attacks are written in Python" : user.length > 0 && !isRoot ? "becoming another user needs root" : false;
    test(`nothing escapes ${name}`, { skip }, () => {
      const { status, output } = runLoaded([...user], without);
      assert.equal(status, 0, output.slice(-12_000));
    });
  }
} else escapes();

function escapes(): void {
  const without = (process.env["WHERRY_ESCAPE_WITHOUT"] ?? "").split(",").filter(Boolean);
  let harness: SandboxHarness;
  let surroundings: Surroundings;
  let attacker: PodSandbox & { hostUid: number };
  let waiting: ContainerProcess;
  let victim: ChildProcess;
  const listeners: Server[] = [];
  let hasSeccomp = false;

  before(async () => {
    harness = await SandboxHarness.start({ without });
    hasSeccomp = harness.sandbox.findings.find((finding) => finding.id === "seccomp")!.enforced;
    const dataFile = join(harness.dataDir, "kubeconfig");
    writeFileSync(dataFile, secret, { mode: 0o600 });
    victim = spawn("sleep", ["1000"], { stdio: "ignore", env: { ...process.env, SECRET: secret } });
    const listen = async (where: Parameters<Server["listen"]>[0]) => {
      const server = createServer((socket) => socket.end());
      listeners.push(server);
      await new Promise<void>((resolve) => server.listen(where as object, resolve));
      return server;
    };
    const tcp = await listen({ port: 0, host: "0.0.0.0" });
    const pathSocket = join(tmpdir(), `${secret}-${process.pid}.sock`);
    await listen({ path: pathSocket });
    chmodSync(pathSocket, 0o777);
    const abstractSocket = `${secret}-${process.pid}`;
    await listen({ path: `\0${abstractSocket}` });

    const mirror = await harness.pod();
    const answering = await mirror.startContainer(containerSpec(["node", "-e", `require("net").createServer((s) => s.on("error", () => {}).end(s.remoteAddress)).listen(80, "0.0.0.0", () => console.log("ready"))`]));
    await said(answering.stdout, "ready");
    const other = await harness.pod();
    // With all that a pod may have: what it is started from besides must not reach it.
    const memory = join(harness.dataDir, "memory");
    mkdirSync(memory);
    const pod = await harness.pod({ memoryVolumes: [{ path: memory }], ...(isRoot && { groups: [{ inside: 2000, host: 150_000 }] }) });
    attacker = pod;
    waiting = await attacker.startContainer(containerSpec(["sleep", "1000"], { name: "waiting" }));
    surroundings = {
      dataDir: harness.dataDir, dataFile, homeFile: join(process.env["HOME"]!, "kubeconfig"), secret, victimPid: victim.pid!,
      hostPort: (tcp.address() as { port: number }).port, hostAddress: Object.values(networkInterfaces()).flat().find((address) => address && !address.internal && address.family === "IPv4")?.address,
      abstractSocket, pathSocket, otherIP: other.ip, mirrorIP: mirror.ip, ownIP: pod.ip,
    };
  });
  after(async () => {
    victim.kill("SIGKILL");
    for (const server of listeners) server.close();
    await harness[Symbol.asyncDispose]();
  });

  const outcome = (output: string) => (/^GOT/m.test(output) || output.includes(secret) ? "succeeds" : /^NO/m.test(output) ? "fails" : `says neither GOT nor NO: ${output}`);

  describe("attacks from the program and from exec", () => {
    for (const attack of attacks) {
      test(attack.name, async () => {
        const argv = attack.argv(surroundings);
        const expected = attack.needsSeccomp && !hasSeccomp ? "succeeds" : "fails";
        const program = await runIn(attacker, argv, { name: "attacker" });
        assert.equal(outcome(program.stdout), expected, `program: ${program.stdout}${program.stderr}`);
        const exec = await execIn(waiting, argv);
        assert.equal(outcome(exec.stdout), expected, `exec: ${exec.stdout}${exec.stderr}`);
        await control(attack);
      });
    }
  });

  /** The attack must succeed where it is allowed, or its failure above proves nothing. */
  async function control(attack: Attack): Promise<void> {
    const argv = (attack.controlArgv ?? attack.argv)(surroundings);
    if (attack.control === "root" && !isRoot) return;
    if (attack.control === "pod") {
      const { stdout, stderr } = await runIn(attacker, argv, { name: "control" });
      assert.equal(outcome(stdout), "succeeds", `control: ${stdout}${stderr}`);
      return;
    }
    const [program, ...rest] = attack.control === "namespace" ? ["unshare", "-Urnmu", ...argv] : argv;
    const { stdout, stderr } = spawnSync(program!, rest, { encoding: "utf8", timeout: 20_000 });
    assert.equal(outcome(stdout), "succeeds", `control: ${stdout}${stderr}`);
  }

  test("every process of a pod is nobody on the machine", async () => {
    const exec = await waiting.exec({ argv: ["sleep", "1000"], stdin: false, tty: false });
    const pids = await until(() => {
      const found = spawnSync("pgrep", ["-f", "sleep 1000"], { encoding: "utf8" }).stdout.split("\n").filter(Boolean).map(Number).filter((pid) => namespaceOf(pid) === namespaceOf(waiting.pid));
      return found.length >= 2 ? [...new Set([...found, waiting.pid])] : undefined;
    });
    for (const pid of pids) {
      const status = readFileSync(`/proc/${pid}/status`, "latin1");
      const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)![1]!;
      assert.doesNotMatch(field("Uid"), /\b0\b/, `process ${pid} has uid 0 of the machine`);
      if (isRoot) assert.match(field("Uid"), new RegExp(`^${attacker.hostUid}\\t`));
      for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"]) assert.equal(BigInt(`0x${field(set)}`), 0n, `${set} of ${pid}`);
      assert.equal(field("NoNewPrivs"), "1");
      assert.equal(field("Groups").trim().split(" ").includes("0"), false);
      if (hasSeccomp) assert.equal(field("Seccomp"), "2");
    }
    exec.kill();
    await exec.exited;
  });

  test("uid 0 inside is nobody outside, and has no capability in an exec either", async () => {
    const pod = await harness.pod();
    const container = await pod.startContainer(containerSpec(["sleep", "1000"], { uid: 0, gid: 0, userName: "root", homeDir: "/root" }));
    const inside = await execIn(container, ["sh", "-c", "id -u; grep Cap /proc/self/status; unshare -U true || echo refused"]);
    assert.match(inside.stdout, /^0\n/);
    for (const match of inside.stdout.matchAll(/Cap(Inh|Prm|Eff|Bnd|Amb):\s*(\w+)/g)) assert.match(match[2]!, /^0+$/, match[0]);
    assert.match(inside.stdout, /refused/);
    if (isRoot) assert.match(readFileSync(`/proc/${container.pid}/status`, "latin1"), new RegExp(`^Uid:\\s*${pod.hostUid}\\b`, "m"));
    await pod.remove();
  });

  test("another address is of no use even to a pod with every right over its own network", async () => {
    // From Wherry's side of the wall: the capabilities of the pod network's owner, inside the attacker's own namespace.
    const { enter } = harness.sandbox.network;
    const admin = [...enter.slice(0, enter.indexOf("-n")), "nsenter", `--net=/proc/${waiting.pid}/ns/net`];
    const speak = (ip: string) => {
      const script = `ip addr add ${ip}/32 dev lo 2>/dev/null; exec /usr/bin/python3 -c 'import socket
s = socket.socket(); s.settimeout(1); s.bind(("${ip}", 0)); s.connect(("${surroundings.mirrorIP}", 80)); print("GOT", s.recv(100).decode())'`;
      const { stdout, stderr } = spawnSync(admin[0]!, [...admin.slice(1), "sh", "-c", script], { encoding: "utf8", env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } });
      return stdout + stderr;
    };
    assert.match(speak(surroundings.otherIP), /timed out/);
    assert.match(speak("10.96.0.1"), /timed out/);
    assert.match(speak("10.244.0.1"), /timed out/);
    assert.match(speak(surroundings.ownIP), new RegExp(`GOT ${surroundings.ownIP.replaceAll(".", "\\.")}`));
  });

  test("killing everything kills the pod's own programs only", async () => {
    const [pod, neighbour] = [await harness.pod(), await harness.pod()];
    const containers = [await pod.startContainer(containerSpec(["sleep", "1000"])), await neighbour.startContainer(containerSpec(["sleep", "1000"]))];
    await execIn(containers[0]!, ["sh", "-c", "kill -9 -1"]);
    assert.equal((await containers[0]!.exited).exitCode, 137);
    assert.equal((await execIn(containers[1]!, ["echo", "alive"])).stdout, "alive\n");
    assert.equal(victim.exitCode, null);
    await Promise.all([pod.remove(), neighbour.remove()]);
  });

  test("kill 1 and kill everything never reach the machine from containers that share their processes", async () => {
    for (const script of ["kill -TERM 1", "kill -KILL 1", "kill -9 -1"]) {
      const [pod, neighbour] = [await harness.pod({ shareProcesses: true }), await harness.pod({ shareProcesses: true })];
      const [here, there] = await Promise.all([pod, neighbour].map((where) => where.startContainer(containerSpec(["sleep", "1000"], { name: "one" }))));
      const beside = await pod.startContainer(containerSpec(["sleep", "1000"], { name: "two" }));
      await execIn(here!, ["sh", "-c", script]);
      // The kernel keeps a namespace's first process from a SIGKILL of its own kind.
      if (script !== "kill -KILL 1") assert.deepEqual((await Promise.all([here!.exited, beside.exited])).map(({ exitCode }) => exitCode), [137, 137], script);
      assert.equal((await execIn(there!, ["echo", "alive"])).stdout, "alive\n", script);
      assert.equal(victim.exitCode ?? victim.signalCode, null, script);
      await Promise.all([pod.remove(), neighbour.remove()]);
    }
  });

  test("the environment is the pod's alone", async () => {
    const { stdout } = await runIn(attacker, ["env"], { name: "env", env: { PATH: "/usr/bin:/bin", OWN: "1" } });
    assert.deepEqual(stdout.split("\n").filter(Boolean).map((line) => line.split("=")[0]).filter((name) => name !== "PWD").toSorted(), ["OWN", "PATH"]);
  });

  test("LD_PRELOAD of the pod means nothing to the start sequence", async () => {
    const { stdout, stderr, exitCode } = await runIn(attacker, ["sh", "-c", "echo $LD_PRELOAD"], { name: "preload", env: { PATH: "/usr/bin:/bin", LD_PRELOAD: "/tmp/evil.so" } });
    assert.deepEqual([stdout, exitCode], ["/tmp/evil.so\n", 0], stderr);
  });

  describe("volumes", () => {
    const folder = (name: string) => {
      const path = join(harness.dataDir, "volumes", name);
      mkdirSync(path, { recursive: true });
      if (isRoot) spawnSync("chown", [`${attacker.hostUid}:${attacker.hostUid}`, path]);
      return path;
    };
    const bind = (source: string, target: string, more: Partial<Mount> = {}): Mount => ({ kind: "bind", source, target, readOnly: false, ...more });

    for (const target of ["/", "/usr", "/usr/bin", "/usr/bin/setpriv", "/bin", "/lib", "/lib64/ld-linux-x86-64.so.2", "/proc", "/proc/self", "/sys", "/dev", "/dev/null", "/etc", "/etc/passwd", "/etc/ld.so.preload", "/etc/nsswitch.conf", "/.old", "/data/../usr/bin", "//usr//bin/", "relative"]) {
      test(`a mount over ${target} is refused`, async () => {
        await assert.rejects(runIn(attacker, ["true"], { name: "mount", mounts: [bind(folder("over"), target)] }), (error: Error) => error instanceof SandboxRefusal && error.reason === "CreateContainerConfigError");
      });
    }

    test("a link in place of a volume is noticed", async () => {
      const real = folder("real");
      const { dev, ino } = statSync(real, { bigint: true });
      const link = join(harness.dataDir, "volumes", "link");
      symlinkSync(process.env["HOME"]!, link);
      await assert.rejects(runIn(attacker, ["cat", "/data/kubeconfig"], { name: "link", mounts: [bind(link, "/data", { identity: `${dev}:${ino}` })] }), /replaced by another file or a link/);
      assert.equal((await runIn(attacker, ["echo", "ok"], { name: "real", mounts: [bind(real, "/data", { identity: `${dev}:${ino}` })] })).stdout, "ok\n");
    });

    test("a link at a mount point inside a volume is not followed", async () => {
      const volume = folder("outer");
      await runIn(attacker, ["ln", "-s", "/usr/bin", "/data/inner"], { name: "planter", mounts: [bind(volume, "/data")] });
      await assert.rejects(runIn(attacker, ["true"], { name: "nested", mounts: [bind(volume, "/data"), bind(folder("evil"), "/data/inner")] }), /a symbolic link is in the way/);
    });

    test("a mount point inside a volume works when it is a folder", async () => {
      const [volume, inner] = [folder("outer2"), folder("inner2")];
      writeFileSync(join(inner, "file"), "inner");
      assert.equal((await runIn(attacker, ["cat", "/data/sub/file"], { name: "nested", mounts: [bind(volume, "/data"), bind(inner, "/data/sub")] })).stdout, "inner");
    });

    test("set-user-id files and devices of a volume are powerless", async () => {
      const volume = folder("suid");
      if (isRoot) {
        spawnSync("cp", ["/usr/bin/id", join(volume, "id")]);
        chmodSync(join(volume, "id"), 0o6755);
        spawnSync("mknod", [join(volume, "null"), "c", "1", "3"]);
        spawnSync("chmod", ["666", join(volume, "null")]);
        const { stdout } = await runIn(attacker, ["sh", "-c", "/data/id -u; cat /data/null && echo GOT"], { name: "suid", mounts: [bind(volume, "/data")] });
        assert.equal(stdout, "1000\n");
      } else {
        const { stdout } = await runIn(attacker, ["sh", "-c", "cp /usr/bin/id /data/id && chmod 6755 /data/id; /data/id -u"], { name: "suid", mounts: [bind(volume, "/data")] });
        assert.equal(stdout, "1000\n");
      }
      assert.equal(statSync(harness.dataDir).mode & 0o777, 0o700);
    });

    test("a read-only mount stays read-only", async () => {
      const { stdout } = await runIn(attacker, ["sh", "-c", "touch /data/x 2>/dev/null && echo GOT || echo NO; mount -o remount,rw /data 2>/dev/null && echo GOT || echo NO"], { name: "ro", mounts: [bind(folder("ro"), "/data", { readOnly: true })] });
      assert.equal(stdout, "NO\nNO\n");
    });
  });
}

const namespaceOf = (pid: number) => {
  try {
    return spawnSync("readlink", [`/proc/${pid}/ns/pid`], { encoding: "utf8" }).stdout;
  } catch {
    return "";
  }
};

async function until<T>(look: () => T | undefined): Promise<T> {
  for (let tries = 0; tries < 400; tries++) {
    const found = look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("it did not happen");
}
