import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { resources } from "../../src/api/resources.ts";
import type { Pod } from "../../src/api/types.ts";
import { entry } from "../../src/wherry.ts";
import { startWherry, type TestWherry } from "../harness.ts";
import { find, needs } from "../needs.ts";
import { appFolder, Folder, server, Watching } from "./edit-loop.ts";
import { directUrl, examples, freePort, load } from "./stack.ts";

const podsOf = async (wherry: TestWherry) => (await wherry.client.list<Pod>(resources.pods, { namespace: "default", labelSelector: "app=app" })).items;
const restarts = async (wherry: TestWherry) => (await podsOf(wherry)).map(({ status }) => status!.containerStatuses![0]!.restartCount);
const ask = async (url: string) => await (await fetch(url, { headers: { connection: "close" }, signal: AbortSignal.timeout(10_000) })).text();
const wherryStatus = (wherry: TestWherry) =>
  new Promise<{ code: number; stdout: string }>((done) => {
    execFile(process.execPath, [entry, "status", "--data-dir", wherry.dataDir], { env: wherry.env }, (error, stdout) => done({ code: error ? Number(error.code) : 0, stdout }));
  });

/** Whether both places where people look say what is wrong. */
async function tells(wherry: TestWherry, wrong: RegExp): Promise<void> {
  const { code, stdout } = await wherryStatus(wherry);
  assert.equal(code, 1);
  assert.match(stdout.replaceAll(/\n +/g, "\n"), wrong);
  assert.match(stdout, /deployment\/app +\d\/3 +\d+ +reload failed/);
  if (!find("kubectl")) return;
  // An Event is written a moment after what it tells of.
  for (const deadline = performance.now() + 5_000; ; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const described = (await wherry.kubectl("describe", "pods", "-l", "app=app")).stdout;
    const events = described.split("\nEvents:").slice(1).join("\n");
    if (/Warning +ReloadFailed/.test(events) && wrong.test(events.replaceAll(/\n[ \t]+/g, "\n"))) return;
    assert.ok(performance.now() < deadline, described);
  }
}

/** A pod that asks another by its own address, again and again, each time by a new connection, until it is told to stop. */
async function startPeer(wherry: TestWherry, ip: string) {
  const program = `let count = 0, ending = false; const failed = new Set();
    process.on("SIGTERM", () => (ending = true));
    const next = () => {
      if (ending) return console.log(\`asked \${count} times, failed: \${[...failed].join(" ") || "none"}\`);
      const got = require("http").get({ host: "${ip}", port: 8080, agent: false }, (answer) => answer.resume().on("end", () => (count++, clearTimeout(late), setTimeout(next, 10)))).on("error", (error) => (failed.add(error.code ?? error.message), clearTimeout(late), setTimeout(next, 10)));
      const late = setTimeout(() => got.destroy(new Error(\`no answer after 8 s, \${JSON.stringify({ connecting: got.socket?.connecting, written: got.socket?.bytesWritten, read: got.socket?.bytesRead })}\`)), 8000);
    };
    next(); console.log("began");`;
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "peer", namespace: "default" }, spec: { restartPolicy: "Never", containers: [{ name: "main", image: "node:26", command: ["node", "-e", program] }] } };
  await wherry.client.create(resources.pods, "default", pod);
  const said = async (pattern: RegExp) => {
    for (const deadline = performance.now() + 20_000; ; await new Promise((resolve) => setTimeout(resolve, 50))) {
      const { stdout } = await wherry.kubectl("logs", "peer");
      if (pattern.test(stdout)) return stdout;
      assert.ok(performance.now() < deadline, stdout);
    }
  };
  await said(/began/);
  return {
    async stop(): Promise<string> {
      const told = await wherry.kubectl("exec", "peer", "--", "kill", "1");
      assert.equal(told.code, 0, told.stderr);
      return await said(/asked/);
    },
  };
}

/** The app of a folder that is watched, while two clients ask it; `answers`: all that its replicas say at the moment. */
async function underLoad(t: TestContext, folder: Folder) {
  const wherry = await startWherry({ test: t });
  try {
    const up = new Watching(t, wherry, [folder.path]);
    await up.next(/\(watching\)\n/);
    const url = directUrl(wherry, "default", "app");
    const traffic = load(url, { concurrency: 2, pauseMs: 5 });
    t.after(() => traffic.stop());
    const answers = async () => [...new Set(await Promise.all(Array.from({ length: 12 }, () => ask(url))))];
    return { wherry, up, traffic, answers, [Symbol.asyncDispose]: () => wherry[Symbol.asyncDispose]() };
  } catch (error) {
    await wherry[Symbol.asyncDispose]();
    throw error;
  }
}

for (const replicas of [3, 1]) {
  test(`code saved under load: ${replicas} replica${replicas > 1 ? "s" : ""} reloaded in place, no request fails, nothing counts as a restart`, { timeout: 120_000 }, async (t) => {
    const folder = new Folder(t, appFolder({ replicas, program: server("one") }));
    await using wherry = await startWherry({ test: t });
    const up = new Watching(t, wherry, [folder.path]);
    await up.next(/\(watching\)\n/);
    const before = await podsOf(wherry);
    const url = directUrl(wherry, "default", "app");
    assert.equal(await ask(url), "one green");
    const traffic = load(url, { concurrency: 4, pauseMs: 5 });
    t.after(() => traffic.stop());
    const peer = wherry.mode === "isolated" ? await startPeer(wherry, before[0]!.status!.podIP!) : undefined;
    for (const version of ["two", "three"]) {
      folder.save("server.js", server(version));
      const said = await up.next(/runs the new code.*\n/);
      assert.match(said, new RegExp(`^server\\.js changed: reloading deployment/app${replicas > 1 ? ` \\(${replicas} replicas, one at a time\\)` : ""}\n`));
      assert.equal(said.match(/✓ app-\S+ {2}Ready after/g)?.length, replicas);
      for (let time = 0; time < 2 * replicas; time++) assert.equal(await ask(url), `${version} green`);
    }
    const { ok, failures } = await traffic.stop();
    assert.deepEqual(failures, []);
    assert.ok(ok > 50, `only ${ok} requests`);
    if (peer) assert.match(await peer.stop(), /^asked \d+ times, failed: none\n$/m);
    assert.deepEqual(await restarts(wherry), Array.from({ length: replicas }, () => 0));
    assert.deepEqual((await podsOf(wherry)).map(({ metadata, status }) => [metadata.uid, status!.podIP]), before.map(({ metadata, status }) => [metadata.uid, status!.podIP]));
  });
}

test("an error in new code: the old code goes on, the trace stands where people look, and a good save heals", { timeout: 180_000 }, async (t) => {
  const folder = new Folder(t, appFolder({ replicas: 3, program: server("one"), more: { "lib/price.js": "export const price = 3;\n" } }));
  folder.save("server.js", `import { price } from "./lib/price.js";\n${server("one").replace("one", "one ${price}")}`);
  await using stage = await underLoad(t, folder);
  const { wherry, up, traffic, answers } = stage;
  const before = await podsOf(wherry);
  const ids = (pods: readonly Pod[]) => pods.map(({ status }) => status!.containerStatuses![0]!.containerID);

  await t.test("a file that Node cannot read is not even tried", async () => {
    folder.save("lib/price.js", "export const price = 4;\nexport function twice( {\n");
    const said = await up.next(/the old code goes on\n[^]*SyntaxError.*\n/);
    assert.match(said, /^lib\/price\.js changed: not reloaded, because Node cannot read it; the old code goes on\n {6}\S+\/lib\/price\.js:\d/);
    assert.deepEqual(await answers(), ["one 3 green"]);
    assert.deepEqual(ids(await podsOf(wherry)), ids(before));
    await tells(wherry, /lib\/price\.js changed, and cannot be read; the old code goes on:\n[^]*SyntaxError/);
  });

  await t.test("one that throws at its start fails in the first replica, and the others keep the old code", async () => {
    folder.save("lib/price.js", "export const price = 4;\nconst list = undefined;\nlist.forEach(console.log);\n");
    const said = await up.next(/Save again to try again\.\n[^]*price\.js:3[^]*?TypeError.*\n/);
    assert.match(said, /lib\/price\.js changed: reloading deployment\/app \(3 replicas, one at a time\)\n {2}✗ app-\S+ {2}the new code exited with code 1; the old code goes on in 2 other replicas\. Save again/);
    assert.deepEqual(await answers(), ["one 3 green"]);
    assert.equal(ids(await podsOf(wherry)).filter((id) => ids(before).includes(id)).length, 2);
    await tells(wherry, /lib\/price\.js changed, and (the new code|container app) exited with code 1[^]*TypeError: Cannot read properties of undefined/);
  });

  await t.test("a good save heals, without the back-off of the crash", async () => {
    folder.save("lib/price.js", "export const price = 5;\n");
    const said = await up.next(/runs the new code.*\n/);
    assert.equal(said.match(/✓/g)?.length, 3, said);
    assert.deepEqual(await answers(), ["one 5 green"]);
    const { code, stdout } = await wherryStatus(wherry);
    assert.equal(code, 0, stdout);
  });
  assert.deepEqual((await traffic.stop()).failures, []);
});

test("code that is broken from the start is mended while `up` still waits for it", { timeout: 120_000 }, async (t) => {
  const folder = new Folder(t, appFolder({ replicas: 2, program: 'throw new Error("never worked");\n' }));
  await using wherry = await startWherry({ test: t });
  const up = new Watching(t, wherry, [folder.path]);
  await up.next(/… app +0\/2 +CrashLoopBackOff/);
  folder.save("server.js", server("one"));
  assert.match(await up.next(/\(watching\)\n/), /✓ app +2\/2 +Ready/);
  assert.equal(await ask(directUrl(wherry, "default", "app")), "one green");
});

test("one replica whose new code throws: connections that waited are refused, and a good save serves again", { timeout: 120_000 }, async (t) => {
  const folder = new Folder(t, appFolder({ replicas: 1, program: server("one"), probe: "env: []" }));
  await using wherry = await startWherry({ test: t });
  const up = new Watching(t, wherry, [folder.path]);
  await up.next(/\(watching\)\n/);
  const url = directUrl(wherry, "default", "app");
  assert.equal(await ask(url), "one green");
  folder.save("server.js", 'throw new Error("not today");\n');
  assert.match(await up.next(/not today.*\n/), /the new code exited with code 1; no other replica serves/);
  // The port is called http: it is a gateway's refusal that the client hears, as long as the listener is there.
  await fetch(url, { headers: { connection: "close" } }).then((response) => assert.equal(response.status, 503), () => {});
  folder.save("server.js", server("two"));
  await up.next(/runs the new code/);
  assert.equal(await ask(url), "two green");

  // By hand, without anything saved.
  if (!find("kubectl")) return;
  const idOf = async () => (await podsOf(wherry))[0]!.status!.containerStatuses![0]!.containerID;
  const before = await idOf();
  await wherry.kubectl("annotate", "pods", "-l", "app=app", "wherry.dev/reload=now", "--overwrite");
  for (const deadline = performance.now() + 10_000; (await idOf()) === before; ) assert.ok(performance.now() < deadline, "not reloaded");
  assert.equal(await ask(url), "two green");
});

const configMap = (name: string, value: string) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name} }\ndata: { value: ${value} }\n`;

test("manifests: changed ones are applied, new ones found, removed ones named, broken ones hold up nothing else", { timeout: 180_000 }, async (t) => {
  const folder = new Folder(t, appFolder({ replicas: 1, program: server("one"), more: { "k8s/a.yaml": configMap("a", "one"), "k8s/b.yaml": configMap("b", "one") } }));
  await using wherry = await startWherry({ test: t });
  const up = new Watching(t, wherry, [folder.path]);
  await up.next(/\(watching\)\n/);
  const valueOf = async (name: string) => (await wherry.client.get<{ data: { value: string } }>(resources.configMaps, "default", name).catch(() => undefined))?.data.value;
  const url = directUrl(wherry, "default", "app");

  await t.test("changed, and new", async () => {
    folder.save("k8s/a.yaml", configMap("a", "two"));
    assert.match(await up.next(/configured\n/), /k8s\/a\.yaml changed:\nconfigmap\/a configured\n$/);
    assert.equal(await valueOf("a"), "two");
    folder.write("k8s/c.yaml", configMap("c", "one"));
    await up.next(/configmap\/c created\n/);
    assert.equal(await valueOf("c"), "one");
  });

  await t.test("broken ones are told once, with file and reason, and nothing of them is applied; the rest goes on", async () => {
    folder.save("k8s/b.yaml", `${configMap("b", "two")}---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: b2 }\ndata: { value: [no] }\n`);
    assert.match(await up.next(/not applied: .*\n/), /not applied: .*k8s\/b\.yaml \(2nd document\): .*data/);
    folder.save("k8s/c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: c\n");
    assert.match(await up.next(/not applied: [^]*?\n/), /not applied: .*k8s\/c\.yaml: /);
    folder.save("k8s/a.yaml", configMap("a", "three"));
    assert.doesNotMatch(await up.next(/configmap\/a configured\n/), /not applied/);
    assert.deepEqual([await valueOf("a"), await valueOf("b"), await valueOf("c")], ["three", "one", "one"]);
    folder.save("server.js", server("two"));
    await up.next(/runs the new code/);
    assert.equal(await ask(url), "two green");
    folder.save("k8s/c.yaml", configMap("c", "two"));
    assert.match(await up.next(/configmap\/c configured\n/), /k8s\/c\.yaml has no error any more\n/);
    folder.save("k8s/b.yaml", configMap("b", "two"));
    await up.next(/configmap\/b configured\n/);
    assert.deepEqual([await valueOf("b"), await valueOf("c")], ["two", "two"]);
  });

  await t.test("a removed one is named with the command, and goes on; one that comes back is applied again", async () => {
    folder.remove("k8s/c.yaml");
    assert.match(await up.next(/configmap\/c is in no .*\n/), /configmap\/c is in no manifest any more and goes on; to delete it: kubectl delete configmap\/c -n default /);
    assert.equal(await valueOf("c"), "two");
    folder.write("k8s/c.yaml", configMap("c", "three"));
    await up.next(/configmap\/c configured\n/);
  });

  await t.test("a changed Dockerfile relinks the image, and the pods run it", async () => {
    folder.save("Dockerfile", folder.read("Dockerfile").replace("green", "blue"));
    await up.next(/linked {2}edit\/app[^]*runs the new code/);
    assert.equal(await ask(url), "two blue");
    folder.save("Dockerfile", "FROM node:26\nCMD node server.js &&\nCOPY\n");
    assert.match(await up.next(/not applied: .*\n/), /not applied: .*Dockerfile:3: COPY/);
    assert.equal(await ask(url), "two blue");
  });

  await t.test("a changed Deployment rolls out, and says so", async () => {
    folder.save("k8s/app.yaml", folder.read("k8s/app.yaml").replace("replicas: 1", "replicas: 2"));
    // Though `COPY . .` copies it, a manifest is no code.
    assert.doesNotMatch(await up.next(/deployment\.apps\/app configured\n[^]*✓ app +2\/2 +Ready[^]*Ready in /), /reloading/);
  });
});

test("--prune deletes what a removed manifest had made, and never what holds data", { timeout: 60_000 }, async (t) => {
  const claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: { name: kept }\nspec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Mi } } }\n";
  const folder = new Folder(t, { "a.yaml": configMap("a", "one"), "b.yaml": configMap("b", "one"), "kept.yaml": claim });
  await using wherry = await startWherry({ test: t });
  const up = new Watching(t, wherry, [folder.path], { prune: true });
  await up.next(/\(watching\)\n/);
  folder.remove("b.yaml");
  await up.next(/configmap\/b pruned\n/);
  await assert.rejects(wherry.client.get(resources.configMaps, "default", "b"), /not found/);
  folder.remove("kept.yaml");
  assert.match(await up.next(/persistentvolumeclaim\/kept .*\n/), /goes on; to delete it: kubectl delete persistentvolumeclaim\/kept -n default \(is never pruned/);
  await wherry.client.get(resources.persistentVolumeClaims, "default", "kept");
  folder.remove("a.yaml");
  await up.next(/configmap\/a pruned\n/);
});

for (const isolation of ["isolated", "plain"] as const) {
  test(`--inspect, ${isolation}: a debugger reaches the program, also after a reload; without the option nothing listens`, { timeout: 120_000 }, async (t) => {
    const folder = new Folder(t, appFolder({ replicas: 2, program: `globalThis.version = "one";\n${server("one")}` }));
    const addresses = async (wherry: TestWherry) => (await podsOf(wherry)).map(({ metadata }) => metadata.annotations?.["debugger.wherry.dev/app"]);
    let dataDir: string;
    {
      await using wherry = await startWherry({ test: t, isolation, inspect: true }).catch((error: unknown) => {
        // Not every machine has namespaces.
        if (isolation === "isolated") return t.skip(String(error)) as never;
        throw error;
      });
      if (!wherry) return;
      ({ dataDir } = wherry);
      assert.equal(wherry.mode, isolation);
      const up = new Watching(t, wherry, [folder.path], { podUsers: isolation === "plain" && process.getuid!() === 0 });
      const said = await up.next(/\(watching\)\n/);
      const found = await addresses(wherry);
      assert.equal(new Set(found).size, 2);
      for (const address of found) {
        assert.match(address!, /^127\.\d+\.\d+\.\d+:\d+$/);
        assert.equal(await evaluate(address!, "globalThis.version"), "one");
        assert.match(said, new RegExp(`default/app-\\S+ +${address!}\\n`));
        assert.match((await wherryStatus(wherry)).stdout, new RegExp(`default/app-\\S+ +${address!}\\n`));
      }
      folder.save("server.js", `globalThis.version = "two";\n${server("two")}`);
      await up.next(/runs the new code/);
      assert.deepEqual(await addresses(wherry), found);
      for (const address of found) assert.equal(await evaluate(address!, "globalThis.version"), "two");
      assert.doesNotMatch((await wherry.kubectl("logs", "deployment/app")).stdout, /Debugger listening/);
    }
    // The same pods, started again without the option.
    await using wherry = await startWherry({ test: t, isolation, dataDir: dataDir! });
    for (const deadline = performance.now() + 20_000; ; await new Promise((resolve) => setTimeout(resolve, 50))) {
      const pods = await podsOf(wherry);
      if (pods.length === 2 && pods.every(({ status, metadata }) => status?.containerStatuses?.[0]?.restartCount === 1 && metadata.annotations?.["debugger.wherry.dev/app"] === undefined && status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True"))) break;
      assert.ok(performance.now() < deadline, JSON.stringify(pods.map(({ metadata }) => metadata.annotations)));
    }
    for (const { status } of await podsOf(wherry)) await assert.rejects(connection(wherry, status!.podIP!, 9229), /refused|ECONNREFUSED/);
  });
}

/** Asks as debuggers do: the list of targets by HTTP, then a session by WebSocket. */
async function evaluate(address: string, expression: string): Promise<unknown> {
  const [target] = (await (await fetch(`http://${address}/json/list`, { headers: { connection: "close" } })).json()) as { webSocketDebuggerUrl: string }[];
  const socket = new WebSocket(target!.webSocketDebuggerUrl);
  try {
    return await new Promise((resolve, reject) => {
      socket.addEventListener("error", () => reject(new Error(`no session at ${target!.webSocketDebuggerUrl}`)));
      socket.addEventListener("open", () => socket.send(JSON.stringify({ id: 1, method: "Runtime.evaluate", params: { expression } })));
      socket.addEventListener("message", ({ data }) => resolve((JSON.parse(String(data)) as { result: { result: { value: unknown } } }).result.result.value));
    });
  } finally {
    socket.close();
  }
}

/** Rejects when the pod accepts nothing at this port. */
async function connection(wherry: TestWherry, ip: string, port: number): Promise<void> {
  if (wherry.mode === "plain") {
    const socket = connect(port, ip);
    await once(socket, "connect");
    socket.destroy();
    throw new Error("somebody listens");
  }
  const pod = (await podsOf(wherry)).find(({ status }) => status!.podIP === ip)!;
  const { stdout } = await wherry.kubectl("exec", pod.metadata.name, "--", "node", "-e", `require("net").connect(${port}, "127.0.0.1").on("error", (error) => console.log(error.code)).on("connect", () => process.exit(console.log("somebody listens")))`);
  throw new Error(stdout);
}

test("programs that wait for another are said to wait, whichever of the standard ways they do it in", { timeout: 120_000 }, async (t) => {
  // Listens when it is told to, by a file that no image holds.
  const slow = 'const timer = setInterval(() => require("node:fs").existsSync("go") && (clearInterval(timer), require("node:net").createServer((socket) => socket.end()).listen(5432)), 50);';
  const reach = (then: string, otherwise: string) => `require("node:net").connect(5432, process.env.DB_HOST).on("connect", () => { ${then} }).on("error", () => { ${otherwise} });`;
  const programs: Record<string, string> = {
    "db.cjs": slow,
    // Three ways to need a database: say no to the readiness probe, wait in an init container, end with an error.
    "asks.cjs": `let ready = false; const ask = () => ${reach("ready = true;", "setTimeout(ask, 100);")} ask(); require("node:http").createServer((_, response) => response.writeHead(ready ? 200 : 503).end()).listen(8080);`,
    "wait.cjs": `const ask = () => ${reach("process.exit();", "setTimeout(ask, 100);")} ask();`,
    "ends.cjs": reach("setInterval(() => {}, 1000);", "process.exit(3);"),
  };
  const env = "env: [{ name: DB_HOST, value: db }]";
  const deployment = (name: string, containers: string) => `apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: ${name} }\nspec: { selector: { matchLabels: { app: ${name} } }, template: { metadata: { labels: { app: ${name} } }, spec: { ${containers} } } }\n---\n`;
  const run = (file: string, more: string) => `{ name: main, image: edit/app, command: [node, ${file}], ${more} }`;
  const probe = (way: string) => `readinessProbe: { ${way}, periodSeconds: 1 }`;
  const folder = new Folder(t, {
    ...appFolder({ replicas: 1, program: "" }),
    ...programs,
    ".dockerignore": "go\n",
    "k8s/app.yaml":
      deployment("db", `containers: [${run("db.cjs", probe("tcpSocket: { port: 5432 }"))}]`) +
      deployment("asks", `containers: [${run("asks.cjs", `${env}, ${probe("httpGet: { path: /, port: 8080 }")}`)}]`) +
      deployment("inits", `initContainers: [{ name: wait-for-db, image: edit/app, command: [node, wait.cjs], ${env} }], containers: [${run("db.cjs", "stdin: false")}]`) +
      deployment("ends", `containers: [${run("ends.cjs", env)}]`) +
      "apiVersion: v1\nkind: Service\nmetadata: { name: db }\nspec: { selector: { app: db }, ports: [{ port: 5432 }] }\n",
  });
  await using wherry = await startWherry({ test: t });
  const up = new Watching(t, wherry, [folder.path]);
  const said = await up.next(/… ends +0\/1 +waiting for db \(main ended with exit code 3, and is started again\)\n/);
  // Between its end and the next start it counts as running for a moment.
  let status = "";
  for (const deadline = performance.now() + 15_000; !/deployment\/ends +0\/1 +\d+ +waiting for db/.test(status); status = (await wherryStatus(wherry)).stdout) assert.ok(performance.now() < deadline, status);
  folder.write("go", "");
  // The one that ended is tried again after its back-off, which nobody needs to see.
  const all = said + (await up.next(/(?=[^]*✓ asks +1\/1)(?=[^]*✓ inits +1\/1)[^]*db is there now; tried again within 10s\n[^]*(✓ asks|✓ inits).*\n/, 60_000));
  for (const line of [/… asks +0\/1 +waiting for db\n/, /… inits +0\/1 +waiting for db \(init container wait-for-db\)\n/, /✓ asks +1\/1/, /✓ inits +1\/1/]) assert.match(all, line);
  assert.doesNotMatch(all, /CrashLoopBackOff|Error/);
  // While they wait, nothing of it counts as wrong.
  assert.doesNotMatch(status, /What is wrong/);
});

test("the shop: a service and then what all of them share saved under load, and no request fails", { timeout: 300_000 }, async (t) => {
  if (!needs(t, "psql")) return;
  const folder = new Folder(t, {});
  cpSync(join(examples, "shop"), folder.path, { recursive: true, dereference: true });
  await using wherry = await startWherry({ test: t, hostPathRoots: [folder.path] });
  const up = new Watching(t, wherry, [folder.path]);
  const start = await up.next(/\(watching\)\n/, 120_000);
  // Postgres takes its time; the services do not crash meanwhile, and say whom they wait for.
  assert.match(start, /… user-service +0\/3 +waiting for postgres-service\n/);
  assert.match(start, /… order-service +0\/2 +waiting for .*postgres-service.*user-service\n/);
  const pods = async () => (await wherry.client.list<Pod>(resources.pods, { namespace: "ecommerce" })).items;
  const restartsOf = async () => Object.fromEntries((await pods()).map(({ metadata, status }) => [metadata.name, status!.containerStatuses![0]!.restartCount]));
  const before = await restartsOf();
  const users = `${directUrl(wherry, "ecommerce", "user-service")}/users`;
  const traffic = [users, `${directUrl(wherry, "ecommerce", "gateway")}/products?limit=3`, `${directUrl(wherry, "ecommerce", "order-service")}/orders`].map((url) => load(url, { concurrency: 2, pauseMs: 20 }));
  t.after(() => Promise.all(traffic.map((one) => one.stop())));

  const main = folder.read("cmd/user-service/main.ts");
  /** A piece that is not there would change nothing. */
  const changed = (text: string, piece: string, by: string): string => (assert.ok(text.includes(piece), piece), text.replace(piece, by));
  folder.save("cmd/user-service/main.ts", changed(main, "async (request) => {\n      const caller = await tokens.caller(request);\n      const { limit, offset }", 'async (request, reply) => {\n      reply.header("X-Edition", "second");\n      const caller = await tokens.caller(request);\n      const { limit, offset }'));
  const said = await up.next(/runs the new code.*\n/, 60_000);
  assert.match(said, /cmd\/user-service\/main\.ts changed: reloading deployment\/user-service \(3 replicas, one at a time\)\n( {2}✓ .*\n){3}deployment\/user-service runs/);
  assert.doesNotMatch(said, /order-service|gateway/);
  for (let time = 0; time < 6; time++) assert.equal((await fetch(users)).headers.get("X-Edition"), "second");

  folder.save("internal/service.ts", changed(folder.read("internal/service.ts"), "  const { app } = service;\n", '  const { app } = service;\n  app.addHook("onRequest", (_request, reply, done) => (reply.header("X-Shared", "third"), done()));\n'));
  for (let round = 0; round < 5; round++) await up.next(/runs the new code.*\n/, 90_000);
  assert.equal((await fetch(users)).headers.get("X-Shared"), "third");
  for (const one of traffic) {
    const { ok, failures } = await one.stop();
    assert.deepEqual(failures, []);
    assert.ok(ok > 20, `only ${ok} requests`);
  }
  assert.deepEqual(await restartsOf(), before);
});

test("a program in another language is reloaded too, without anybody reading it first", { timeout: 120_000 }, async (t) => {
  if (!needs(t, "python3")) return;
  const program = (version: string) => `import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"${version}")
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
`;
  const folder = new Folder(t, appFolder({ replicas: 2, program: "", command: ["python3", "-u", "main.py"], more: { "main.py": program("one"), Dockerfile: 'FROM python:3\nWORKDIR /app\nCOPY main.py .\nCMD ["python3", "-u", "main.py"]\n' } }));
  await using wherry = await startWherry({ test: t });
  const up = new Watching(t, wherry, [folder.path]);
  await up.next(/\(watching\)\n/);
  const url = directUrl(wherry, "default", "app");
  const traffic = load(url, { concurrency: 2, pauseMs: 5 });
  t.after(() => traffic.stop());
  folder.save("main.py", program("two"));
  await up.next(/main\.py changed: reloading[^]*runs the new code/);
  assert.equal(await ask(url), "two");
  folder.save("main.py", "def broken(:\n");
  assert.match(await up.next(/SyntaxError.*\n/), /✗ app-\S+ {2}the new code exited with code 1; the old code goes on in 1 other replica\./);
  assert.equal(await ask(url), "two");
  // What the image does not hold is nobody's business.
  folder.save("server.js", "1");
  folder.save("main.py", program("three"));
  assert.doesNotMatch(await up.next(/runs the new code/), /server\.js/);
  assert.deepEqual((await traffic.stop()).failures, []);
});

test("wherry up itself: it watches, says so once, and a log file gets no control characters; --no-watch only starts", { timeout: 120_000 }, async (t) => {
  const folder = new Folder(t, { "a.yaml": configMap("a", "one") });
  const data = new Folder(t, {});
  for (const [index, options] of [["--inspect"], ["--no-watch"]].entries()) {
    const dataDir = join(data.path, `data-${index}`);
    const child = spawn(process.execPath, [entry, "up", folder.path, "--data-dir", dataDir, "--port", String(await freePort()), ...options], { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, HOME: data.path, KUBECONFIG: join(data.path, "kubeconfig") } });
    let said = "";
    const heard = (pattern: RegExp) =>
      new Promise<void>((resolve, reject) => {
        const look = () => pattern.test(said) && resolve();
        child.stdout.on("data", look);
        child.once("exit", () => reject(new Error(`ended before ${pattern}:\n${said}`)));
        look();
      });
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (said += text));
    const ended = once(child, "exit");
    try {
      await heard(/Press Ctrl-C to stop/);
      folder.save("a.yaml", configMap("a", `change-${index}`));
      if (options[0] === "--no-watch") assert.deepEqual(childrenOf(child.pid!).filter((command) => command.includes("internal:apply")), []);
      else await heard(/a\.yaml changed:\nconfigmap\/a configured\n/);
    } finally {
      child.kill("SIGINT");
      await ended;
    }
    assert.doesNotMatch(said, /ExperimentalWarning/);
    assert.ok(!said.includes("\u001b"));
    assert.match(said, /stopped in [\d.]+ s/);
  }
});

/** The command lines of a process's children. */
function childrenOf(pid: number): string[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === pid ? [readFileSync(`/proc/${name}/cmdline`, "utf8")] : [];
    } catch {
      return [];
    }
  });
}

test("a save while the API server is being restarted, and saves faster than reloads, end with the last code everywhere", { timeout: 120_000 }, async (t) => {
  const folder = new Folder(t, appFolder({ replicas: 3, program: server("v0") }));
  await using stage = await underLoad(t, folder);
  const { wherry, up, traffic, answers } = stage;

  process.kill(wherry.processes().api!, "SIGKILL");
  folder.save("server.js", server("v1"));
  await up.next(/runs the new code/, 60_000);
  assert.deepEqual(await answers(), ["v1 green"]);

  // Each in the middle of the round before.
  for (let version = 2; version <= 5; version++) {
    folder.save("server.js", server(`v${version}`));
    await up.next(version < 5 ? /✓ app/ : /runs the new code/);
  }
  assert.deepEqual(await answers(), ["v5 green"]);

  // Good, then broken before the round is through: nobody starts with the broken one, and the next good one reaches all.
  folder.save("server.js", server("v6"));
  await up.next(/✓ app/);
  folder.save("server.js", "function broken( {\n");
  await up.next(/Node cannot read it[^]*SyntaxError.*\n/);
  folder.save("server.js", server("v7"));
  await up.next(/runs the new code/);
  assert.deepEqual(await answers(), ["v7 green"]);
  assert.deepEqual((await traffic.stop()).failures, []);
});
