import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { WherryError } from "../../base/errors.ts";
import { parseKill } from "./plain-container.ts";
import { containerSpec, execIn, gone, runIn, said, SandboxHarness } from "./testing.ts";

const isRoot = process.getuid?.() === 0;
const start = () => SandboxHarness.start({ isolation: "plain" });

const say = `s.end(process.env.NAME ?? "nameless")`;
const shapes: Record<string, string> = {
  http: `require("http").createServer((q, s) => ${say}).listen(8080, () => console.log("ready"))`,
  "options and IPv6": `require("http").createServer((q, s) => ${say}).listen({ port: 8080, host: "::" }, () => console.log("ready"))`,
  net: `require("net").createServer((s) => s.end("HTTP/1.1 200 OK\\r\\nconnection: close\\r\\ncontent-length: 2\\r\\n\\r\\nok")).listen(8080, () => console.log("ready"))`,
  worker: `new (require("worker_threads").Worker)('require("http").createServer((q, s) => ${say}).listen(8080, () => console.log("ready"))', { eval: true })`,
  "child without environment": `require("child_process").spawn(process.execPath, ["-e", 'require("http").createServer((q, s) => ${say}).listen(8080, "0.0.0.0", () => console.log("ready"))'], { env: {}, stdio: "inherit" })`,
  "ES module": `import("node:http").then(({ createServer }) => createServer((q, s) => ${say}).listen(8080, () => console.log("ready")))`,
  cluster: `const c = require("cluster"); if (c.isPrimary) { c.setupPrimary({ exec: process.env.CHILD, execArgv: [] }); c.fork(); c.on("message", () => console.log("ready")) }`,
};
const olderNode = "/usr/bin/node";
for (const node of [process.execPath, ...(existsSync(olderNode) ? [olderNode] : [])]) {
  test(`every way for a Node program to listen, two replicas (${spawnSync(node, ["--version"], { encoding: "utf8" }).stdout.trim()})`, async () => {
    await using harness = await SandboxHarness.start({ isolation: "plain", programs: { node } });
    const pods = [await harness.pod(), await harness.pod()];
    const folder = join(harness.dataDir, "volumes", "code");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "child.js"), `require("http").createServer((q, s) => ${say}).listen(8080, () => process.send("up"))`);
    const mounts = [{ target: "/code", readOnly: true, kind: "bind" as const, source: folder }];
    for (const [name, program] of Object.entries(shapes)) {
      const containers = await Promise.all(pods.map((pod) => pod.startContainer(containerSpec(["node", "-e", program], { mounts, env: { PATH: "/usr/bin:/bin", CHILD: "/code/child.js" } }))));
      await Promise.all(containers.map((container) => said(container.stdout, "ready")));
      const client = `Promise.all(${JSON.stringify(["http://localhost:8080", `http://${pods[1]!.ip}:8080`])}.map((u) => fetch(u).then((r) => r.status))).then((a) => console.log(a.join()), (e) => console.log(e.cause))`;
      assert.equal((await runIn(pods[0]!, ["node", "-e", client], { name: "client" })).stdout, "200,200\n", name);
      for (const container of containers) container.signal("SIGKILL");
      await Promise.all(containers.map((container) => container.exited));
    }
  });
}

/** Answers with the pod's name; port and host as a program for a pod would write them. */
const server = `require("http").createServer((q, s) => s.end(process.env.NAME)).listen(8080, "0.0.0.0", () => console.log("ready"))`;

test("two Node programs listen on one port, and reach each other and themselves", async () => {
  await using harness = await start();
  const [a, b] = [await harness.pod(), await harness.pod()];
  for (const [pod, name] of [[a, "a"], [b, "b"]] as const) {
    const container = await pod.startContainer(containerSpec(["node", "-e", server], { env: { PATH: "/usr/bin:/bin", NAME: name } }));
    await said(container.stdout, "ready");
  }
  const client = `Promise.all(["http://${a.ip}:8080", "http://${b.ip}:8080"].map((u) => fetch(u).then((r) => r.text()))).then((t) => console.log(t.join()))`;
  assert.equal((await runIn(await harness.pod(), ["node", "-e", client])).stdout, "a,b\n");
  const itself = await execOrRun(a, ["node", "-e", `fetch("http://localhost:8080").then((r) => r.text()).then(console.log)`]);
  assert.equal(itself, "a\n");
  assert.match(a.ip, /^127\.\d+\./);
  await assert.rejects(new Promise((resolve, reject) => connect(8080, "127.97.250.250").on("connect", resolve).on("error", reject)), /ECONNREFUSED/);
});

async function execOrRun(pod: Awaited<ReturnType<SandboxHarness["pod"]>>, argv: string[]): Promise<string> {
  // A second container of the same pod shares its address.
  return (await runIn(pod, argv, { name: "second" })).stdout;
}

test("mount paths are rewritten in words, variables and the working directory", async () => {
  await using harness = await start();
  const pod = await harness.pod();
  const source = join(harness.dataDir, "volumes", "v1");
  mkdirSync(source, { recursive: true });
  writeFileSync(join(source, "file"), "content");
  const mounts = [{ target: "/etc/config", readOnly: true, kind: "bind" as const, source }];
  const inWords = await runIn(pod, ["cat", "/etc/config/file"], { mounts });
  assert.equal(inWords.stdout, "content", inWords.stderr);
  assert.equal((await runIn(pod, ["sh", "-c", "cat $CONFIG/file; pwd"], { mounts, env: { PATH: "/usr/bin:/bin", CONFIG: "/etc/config" } })).stdout.startsWith("content/"), true);
  assert.equal((await runIn(pod, ["cat", "file"], { mounts: [{ ...mounts[0]!, target: "/app" }], workingDir: "/app" })).stdout, "content");
  await assert.rejects(runIn(pod, ["cat", "/etc/configuration"], { mounts }), /cannot be given to the program in plain mode/);
});

test("what plain mode cannot keep is refused with the reason", async () => {
  await using harness = await start();
  const pod = await harness.pod();
  await assert.rejects(runIn(pod, ["true"], { readOnlyRoot: true }), /readOnlyRootFilesystem cannot be kept/);
  await assert.rejects(runIn(pod, ["no-such-program"]), /executable file not found in \$PATH/);
  await assert.rejects(runIn(pod, ["true"], { mounts: [{ target: "/usr/bin", readOnly: false, kind: "tmpfs" }] }), /would cover \/usr/);
  if (!isRoot) await assert.rejects(runIn(pod, ["true"], { uid: 4711, explicitUser: true }), /runAsUser 4711 needs namespaces or root/);
});

test("root: what a pod's user may not reach is refused with the folder, before anything starts", { skip: isRoot ? false : "only root's pods have users of their own" }, async () => {
  const closed = mkdtempSync(join(tmpdir(), "wherry-closed-"));
  try {
    await assert.rejects(SandboxHarness.start({ isolation: "plain", dataDir: join(closed, "data") }), (error) => error instanceof WherryError && error.code === "FOLDER_CLOSED" && error.message.includes(`pass through ${closed} to`));
    await using harness = await start();
    const pod = await harness.pod();
    mkdirSync(join(closed, "code"));
    copyFileSync("/bin/true", join(closed, "code", "program"));
    const mounts = [{ target: "/app", readOnly: true, kind: "bind" as const, source: join(closed, "code") }];
    await assert.rejects(runIn(pod, ["ls", "/app"], { mounts }), new RegExp(`/app: .* may not pass through ${closed} to ${closed}/code: chmod o\\+x ${closed}`));
    await assert.rejects(runIn(pod, [join(closed, "code", "program")]), new RegExp(`may not pass through ${closed} to`));
    chmodSync(closed, 0o711);
    assert.equal((await runIn(pod, ["ls", "/app"], { mounts })).stdout, "program\n");
    assert.equal((await runIn(pod, [join(closed, "code", "program")])).exitCode, 0);
  } finally {
    rmSync(closed, { recursive: true, force: true });
  }
});

test("exec: kill 1 ends the program; a shell is refused to those who are not root; hooks run", async () => {
  await using harness = await start();
  const pod = await harness.pod();
  const container = await pod.startContainer(containerSpec(["sh", "-c", "echo up; exec sleep 1000"]));
  await said(container.stdout, "up");
  if (isRoot) {
    const shell = await execIn(container, ["sh", "-c", "id -u; kill -9 -1; kill -9 1"]);
    assert.match(shell.stdout, new RegExp(`^${pod.hostUid}$`, "m"), "a command runs as the pod's own user");
  } else await assert.rejects(execIn(container, ["sh", "-c", "kill 1"]), /without namespaces or root/);
  if (!isRoot) {
    assert.equal((await execIn(container, ["sh", "-c", "echo hook"], { fromManifest: true })).stdout, "hook\n");
    assert.equal((await execIn(container, ["kill", "1"])).code, 0);
  }
  assert.ok([137, 143].includes((await container.exited).exitCode));
});

test("the environment is the pod's and nothing of the user's", async () => {
  process.env["WHERRY_TEST_SECRET"] = "of the user";
  await using harness = await start();
  const { stdout } = await runIn(await harness.pod(), ["env"]);
  delete process.env["WHERRY_TEST_SECRET"];
  assert.doesNotMatch(stdout, /of the user/);
  assert.match(stdout, /^HOST=127\.\d+\./m);
});

test("strays of a program end with it, those without its environment too", async () => {
  await using harness = await start();
  const pod = await harness.pod();
  const bare = await runIn(pod, ["sh", "-c", "env -i sleep 1000 >/dev/null 2>&1 & echo $!"]);
  await gone(Number(bare.stdout));
  const { stdout } = await runIn(pod, ["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!"]);
  await gone(Number(stdout));
});

test("kill -9 of the process that runs the pods: the next start ends what is left", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "wherry-sandbox-plain-"));
  const code = `
import { SandboxHarness, containerSpec, said } from ${JSON.stringify(new URL("testing.ts", import.meta.url).href)};
const harness = await SandboxHarness.start({ isolation: "plain", dataDir: ${JSON.stringify(dataDir)} });
const container = await (await harness.pod()).startContainer(containerSpec(["sh", "-c", "setsid sleep 1000 & echo $$ $! up; sleep 1000"]));
console.log(await said(container.stdout, "up"));
setInterval(() => {}, 1000);`;
  const main = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  const [program, stray] = (await said(main.stdout, "up")).split(" ").map(Number);
  const ended = new Promise((resolve) => main.on("exit", resolve));
  main.kill("SIGKILL");
  await ended;
  await using second = await SandboxHarness.start({ isolation: "plain", dataDir });
  await gone(program!);
  await gone(stray!);
  void second;
});

test("the words of kill", () => {
  const cases: [string[], ReturnType<typeof parseKill>][] = [
    [["kill", "1"], { signal: "SIGTERM", pid: 1 }],
    [["/bin/kill", "-9", "1"], { signal: "SIGKILL", pid: 1 }],
    [["kill", "-s", "INT", "12"], { signal: "SIGINT", pid: 12 }],
    [["kill", "-SIGHUP", "1"], { signal: "SIGHUP", pid: 1 }],
    [["kill", "0"], undefined],
    [["kill", "-9", "-1"], undefined],
    [["kill", "--", "-1"], undefined],
    [["kill", "1", "2"], undefined],
    [["kill", "-NOPE", "1"], undefined],
    [["sh", "-c", "kill 1"], undefined],
  ];
  for (const [argv, expected] of cases) assert.deepEqual(parseKill(argv), expected, argv.join(" "));
});

test("memory: a program over its limit is ended as OOMKilled", async () => {
  await using harness = await SandboxHarness.start({ isolation: "plain", cgroups: false });
  const exit = await runIn(await harness.pod(), ["node", "-e", "const a = []; setInterval(() => a.push(Buffer.alloc(8e6, 1)), 5)"], { limits: { memoryBytes: 120e6 } });
  assert.deepEqual([exit.exitCode, exit.oomKilled], [137, true]);
  await text((await (await harness.pod()).startContainer(containerSpec(["true"]))).stdout);
});
