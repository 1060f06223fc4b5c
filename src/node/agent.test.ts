import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Artifact, artifactKey, artifactsConfigMap } from "../api/artifacts.ts";
import type { ProbeRequest, ProbeResult } from "../api/network.ts";
import { channels, encodeFrame, FrameReader, type PodKey } from "../api/node.ts";
import { resources, systemNamespace } from "../api/resources.ts";
import { StatusError } from "../api/status.ts";
import type { ConfigMap, Pod } from "../api/types.ts";
import { systemClock } from "../base/clock.ts";
import { silentLog } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import { type Agent, createAgent } from "./agent.ts";
import { createLogReader } from "./logs/read.ts";
import { createSandbox } from "./sandbox/index.ts";
import type { Sandbox } from "./sandbox/sandbox.ts";
import { createStreamClient } from "./streams/client.ts";
import { MemoryClient } from "./testing/memory-client.ts";

/** The agent on this machine's real sandbox, with an API in memory. */
const dataDir = mkdtempSync(join(tmpdir(), "wherry-agent-"));
const folder = mkdtempSync(join(tmpdir(), "wherry-source-"));
chmodSync(folder, 0o755);
const client = new MemoryClient();
let sandbox: Sandbox;
let agent: Agent;
const streams = createStreamClient(join(dataDir, "agent.sock"));
const logs = createLogReader({ dataDir, podOf: ({ namespace, name }) => podOf(name, namespace) });

before(async () => {
  // One of the modes may be asked for from outside: `WHERRY_ISOLATION=plain node --test …`.
  sandbox = await createSandbox({ dataDir, isolation: (process.env["WHERRY_ISOLATION"] ?? "auto") as "auto", log: silentLog });
  await sandbox.start();
  await startAgent();
});
after(async () => {
  await agent.stop(AbortSignal.timeout(2000));
  await sandbox.stop(AbortSignal.timeout(2000));
  rmSync(dataDir, { recursive: true, force: true });
  rmSync(folder, { recursive: true, force: true });
});

async function startAgent(): Promise<void> {
  agent = createAgent({ client, sandbox, network: { probe, setReady() {} }, dataDir, clock: systemClock, random: systemRandom, log: silentLog, hostPathRoots: [folder] });
  await agent.start();
}

/** Asks from inside the pod network, as the data plane does. */
function probe(request: ProbeRequest): Promise<ProbeResult> {
  const script = `fetch("http://${request.ip}:${request.port}${request.type === "http" ? request.path : "/"}").then((r)=>process.exit(r.ok?0:1),()=>process.exit(9))`;
  const [program, ...args] = [...sandbox.network.enter, process.execPath, "-e", script];
  return new Promise((resolve) => execFile(program!, args, (error) => resolve({ success: !error, output: error?.code === 9 ? "connect: connection refused" : error ? "HTTP probe failed with statuscode: 500" : "" })));
}

const podOf = (name: string, namespace = "default") => client.objects.get(`/core/pods/${namespace}/${name}`) as Pod | undefined;
const keyOf = (name: string): PodKey => ({ namespace: "default", name, uid: podOf(name)!.metadata.uid });
const run = async (name: string, spec: object): Promise<Pod> => await client.create<Pod>(resources.pods, "default", { apiVersion: "v1", kind: "Pod", metadata: { name }, spec: { nodeName: "wherry", terminationGracePeriodSeconds: 5, ...spec } });
const remove = async (name: string) => {
  await client.delete(resources.pods, "default", name);
  await until(() => podOf(name) === undefined, () => `${name} is gone`);
};
const isReady = (name: string) => podOf(name)?.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
const ready = (name: string) => until(() => isReady(name), () => `${name} is Ready: ${JSON.stringify(podOf(name)?.status?.containerStatuses)} ${JSON.stringify(eventsOf(name))}`);
const eventsOf = (name: string) => [...client.objects.values()].filter((object) => object.kind === "Event" && object["involvedObject"].name === name).map((event) => `${event["reason"]}: ${event["message"]}`);

async function until(what: () => boolean, saying: () => string, deadlineMs = 20_000): Promise<void> {
  for (const endMs = performance.now() + deadlineMs; !what(); await sleep(5)) assert.ok(performance.now() < endMs, `not within ${deadlineMs} ms: ${saying()}`);
}

async function read(source: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts).toString("utf8");
}
const logOptions = { container: "c", follow: false, previous: false, timestamps: false, signal: new AbortController().signal };

async function exec(name: string, command: string[], { stdin, tty = false }: { stdin?: string; tty?: boolean } = {}): Promise<{ out: string; err: string; status: any }> {
  const stream = await streams.exec(keyOf(name), { container: "c", command, stdin: stdin !== undefined, stdout: true, stderr: !tty, tty });
  const result = { out: "", err: "", status: undefined as any };
  const reader = new FrameReader((channel, payload) => {
    if (channel === channels.stdout) result.out += payload.toString();
    if (channel === channels.stderr) result.err += payload.toString();
    if (channel === channels.status) result.status = JSON.parse(payload.toString());
  });
  if (stdin !== undefined) {
    stream.write(encodeFrame(channels.stdin, Buffer.from(stdin)));
    stream.write(encodeFrame(channels.close, Buffer.from([channels.stdin])));
  }
  for await (const chunk of stream) reader.push(chunk as Buffer);
  stream.destroy();
  return result;
}

test("a live folder serves: artifact, config volume, environment, probe, logs, exec", async () => {
  writeFileSync(
    join(folder, "server.js"),
    `const http = require("node:http"), fs = require("node:fs");
     console.log("listening as", process.env.HOSTNAME, process.cwd());
     http.createServer((q, r) => { console.log("GET", q.url); r.end(process.env.GREETING + " " + fs.readFileSync(process.env.CONFIG, "utf8")); }).listen(8080);`,
  );
  const artifact: Artifact = { image: "shop/web", tag: "v1", context: folder, dockerfile: "Dockerfile", entrypoint: [], cmd: ["node", "server.js"], env: { GREETING: "hello" }, workingDir: "/app", user: "app", users: { app: 1001 }, exposedPorts: [8080], stopSignal: "SIGTERM", mounts: [{ imagePath: "/app", contextPath: "." }], base: "node:22", skippedRun: [], volumes: [] };
  await client.create(resources.configMaps, systemNamespace, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: artifactsConfigMap }, data: { [artifactKey("shop/web", "v1")]: JSON.stringify(artifact) } });
  await client.create(resources.configMaps, "default", { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "shop" }, data: { name: "Wherry" } });
  await run("web", {
    volumes: [{ name: "conf", configMap: { name: "shop" } }],
    containers: [{ name: "c", image: "shop/web:v2", env: [{ name: "CONFIG", value: "/etc/shop/name" }], volumeMounts: [{ name: "conf", mountPath: "/etc/shop" }], readinessProbe: { httpGet: { path: "/", port: 8080 }, periodSeconds: 10 } }],
  });
  await ready("web");
  assert.ok(eventsOf("web").some((event) => event.startsWith("AnyTagLinked: ")));
  const { podIP } = podOf("web")!.status!;
  assert.match(podIP!, sandbox.mode === "isolated" ? /^10\.244\./ : /^127\.97\./);

  if (sandbox.mode === "plain" && process.getuid!() !== 0) {
    // Without namespaces or root a client's shell could reach everything of the user's, so there is none.
    await assert.rejects(exec("web", ["sh"]), (error: StatusError) => error.code === 403 && /without namespaces or root/.test(error.message));
    return await remove("web");
  }
  if (sandbox.mode === "plain") return await remove("web");
  const said = await exec("web", ["sh", "-c", "id -u; cat /app/server.js | wc -l; echo oops >&2; exit 7"]);
  assert.equal(said.out, "1001\n2\n");
  assert.equal(said.err, "oops\n");
  assert.deepEqual(said.status, { metadata: {}, status: "Failure", message: "command terminated with non-zero exit code: exit status 7", reason: "NonZeroExitCode", details: { causes: [{ reason: "ExitCode", message: "7" }] } });
  const echoed = await exec("web", ["cat"], { stdin: "through and back" });
  assert.deepEqual([echoed.out, echoed.status.status], ["through and back", "Success"]);
  assert.match((await exec("web", ["sh", "-c", "tty; exit 0"], { tty: true })).out, /\/dev\/pts\/0/);
  await assert.rejects(streams.exec({ ...keyOf("web") }, { container: "other", command: ["true"], stdin: false, stdout: true, stderr: true, tty: false }), (error: StatusError) => error.code === 404 && error.message === 'container not found ("other")');

  assert.match(await read(await logs.logs(keyOf("web"), logOptions)), /^listening as web \/app\nGET \/\n/);
  assert.match(await read(await logs.logs(keyOf("web"), { ...logOptions, tailLines: 1, timestamps: true })), /^2\d{3}-\d\d-\d\dT[\d:.]{18}Z GET \/\n$/);

  // The volume follows its ConfigMap, under the running program.
  const object = await client.get(resources.configMaps, "default", "shop");
  await client.update(resources.configMaps, "default", "shop", { ...object, data: { name: "World" } });
  let shown = "";
  await until(() => shown === "World" || (void exec("web", ["cat", "/etc/shop/name"]).then(({ out }) => (shown = out)), false), () => `the pod sees ${shown}`);

  const following = new AbortController();
  const followed = read(await logs.logs(keyOf("web"), { ...logOptions, follow: true, signal: following.signal }));
  const usage = await streams.usage();
  assert.ok(usage.pods.find(({ name }) => name === "web")!.containers[0]!.memoryBytes > 1_000_000);
  await remove("web");
  assert.match(await followed, /^listening as web/, "a follower ends with its container");
});

test("a live folder is never written: VOLUME and the pod's mounts lie beside its entries", async () => {
  const code = mkdtempSync(join(tmpdir(), "wherry-code-"));
  chmodSync(code, 0o755);
  try {
    mkdirSync(join(code, "uploads"), { mode: 0o755 });
    writeFileSync(join(code, "uploads", "first"), "of the image");
    writeFileSync(join(code, "main.sh"), "cat uploads/first; echo mine > uploads/second; echo fast > cache/x; cat uploads/second cache/x; echo end; sleep 1000 & wait");
    const artifact: Artifact = { image: "shop/writes", tag: "", context: code, dockerfile: "Dockerfile", entrypoint: [], cmd: ["sh", "/app/main.sh"], env: {}, workingDir: "/app", user: "", users: {}, exposedPorts: [], stopSignal: "SIGKILL", mounts: [{ imagePath: "/app", contextPath: "." }], base: "", skippedRun: [], volumes: ["/app/uploads"] };
    const links = await client.get<ConfigMap>(resources.configMaps, systemNamespace, artifactsConfigMap);
    await client.update(resources.configMaps, systemNamespace, artifactsConfigMap, { ...links, data: { ...links.data, [artifactKey("shop/writes", "")]: JSON.stringify(artifact) } });
    await run("writes", { volumes: [{ name: "cache", emptyDir: {} }], containers: [{ name: "c", image: "shop/writes:v1", volumeMounts: [{ name: "cache", mountPath: "/app/cache" }] }] });
    await ready("writes");
    let said = "";
    await until(() => said.includes("end") || (void logs.logs(keyOf("writes"), logOptions).then(read).then((text) => (said = text)), false), () => said);
    assert.equal(said, "of the imagemine\nfast\nend\n");
    assert.deepEqual(readdirSync(code).sort(), ["main.sh", "uploads"]);
    assert.deepEqual(readdirSync(join(code, "uploads")), ["first"]);
    await remove("writes");
  } finally {
    rmSync(code, { recursive: true, force: true });
  }
});

test("a pod ends: exit code, last words, previous log, and its folder goes with its object", async () => {
  await run("ends", { restartPolicy: "OnFailure", containers: [{ name: "c", image: "busybox", command: ["sh", "-c", 'echo "run $RUN"; echo bye > /dev/termination-log; test -e /data/again || { touch /data/again; exit 3; }'], env: [{ name: "RUN", value: "$(HOSTNAME_IS_UNKNOWN)" }], volumeMounts: [{ name: "data", mountPath: "/data" }] }], volumes: [{ name: "data", emptyDir: {} }] });
  await until(() => podOf("ends")?.status?.phase === "Succeeded", () => JSON.stringify(podOf("ends")?.status));
  const { state, lastState, restartCount } = podOf("ends")!.status!.containerStatuses![0]!;
  assert.deepEqual([state!.terminated!.reason, lastState!.terminated!.exitCode, lastState!.terminated!.message, restartCount], ["Completed", 3, "bye\n", 1]);
  assert.equal(await read(await logs.logs(keyOf("ends"), { ...logOptions, previous: true })), "run $(HOSTNAME_IS_UNKNOWN)\n");
  await assert.rejects(logs.logs(keyOf("ends"), { ...logOptions, container: "x" }), /container x is not valid for pod ends/);
  const { uid } = podOf("ends")!.metadata;
  await remove("ends");
  await until(() => !readdirSync(join(dataDir, "pods")).includes(uid), () => "the folder is gone");
});

test("what is not there: image, program, log", async () => {
  await run("none", { containers: [{ name: "c", image: "nobody/knows:v1" }] });
  await until(() => podOf("none")?.status?.containerStatuses?.[0]?.state?.waiting?.reason === "ErrImagePull", () => JSON.stringify(podOf("none")?.status));
  assert.match(podOf("none")!.status!.containerStatuses![0]!.state!.waiting!.message!, /skaffold\.yaml \(build\.artifacts: - image: nobody\/knows/);
  await assert.rejects(logs.logs(keyOf("none"), logOptions), /container "c" in pod "none" is waiting to start: trying and failing to pull image/);
  await remove("none");
  await run("missing", { containers: [{ name: "c", image: "busybox", command: ["no-such-program"] }] });
  await until(() => podOf("missing")?.status?.containerStatuses?.[0]?.state?.waiting?.reason === "RunContainerError", () => JSON.stringify(podOf("missing")?.status));
  assert.match(podOf("missing")!.status!.containerStatuses![0]!.state!.waiting!.message!, /no-such-program.*executable file not found in \$PATH/);
  await remove("missing");
});

test("volumes: subPath, secret modes, downward API, hostPath below the given roots", async () => {
  mkdirSync(join(folder, "shared"), { recursive: true });
  writeFileSync(join(folder, "shared", "file"), "from the host");
  await client.create(resources.secrets, "default", { apiVersion: "v1", kind: "Secret", metadata: { name: "key" }, data: { key: Buffer.from("s3cret").toString("base64") } });
  await run("volumes", {
    volumes: [
      { name: "key", secret: { secretName: "key", defaultMode: 0o400, items: [{ key: "key", path: "deep/key" }] } },
      { name: "work", emptyDir: {} },
      { name: "info", downwardAPI: { items: [{ path: "name", fieldRef: { fieldPath: "metadata.name" } }] } },
      { name: "host", hostPath: { path: join(folder, "shared"), type: "Directory" } },
      { name: "token", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } },
    ],
    containers: [
      {
        name: "c",
        image: "busybox",
        command: ["sh", "-c", "cat /key/deep/key; stat -L -c %a /key/deep/key; cat /info/name; cat /host/file; cat /token/token; echo; ls /kept; echo kept > /kept-sub/file; echo done; sleep 100"],
        volumeMounts: [
          { name: "key", mountPath: "/key" },
          { name: "work", mountPath: "/kept" },
          { name: "work", mountPath: "/kept-sub", subPath: "a/b" },
          { name: "info", mountPath: "/info" },
          { name: "host", mountPath: "/host", readOnly: true },
          { name: "token", mountPath: "/token" },
        ],
      },
    ],
  });
  await ready("volumes");
  let text = "";
  for (let i = 0; i < 200 && !text.endsWith("done\n"); i++, await sleep(20)) text = await read(await logs.logs(keyOf("volumes"), logOptions));
  assert.equal(text, "s3cret400\nvolumesfrom the hosttoken-of-default\na\ndone\n");
  if (sandbox.mode === "isolated") assert.equal((await exec("volumes", ["cat", "/kept/a/b/file"])).out, "kept\n");
  await remove("volumes");
});

test("postgres: the official image's contract, data that outlives pod and agent", async () => {
  const path = join(dataDir, "volumes", "pv-data");
  await client.create(resources.persistentVolumes, undefined, { apiVersion: "v1", kind: "PersistentVolume", metadata: { name: "pv-data" }, spec: { hostPath: { path } } });
  await client.create(resources.persistentVolumeClaims, "default", { apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name: "data" }, spec: { volumeName: "pv-data" }, status: { phase: "Bound" } });
  await client.create(resources.configMaps, "default", { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "init" }, data: { "01.sql": "CREATE TABLE boat (name text);\nINSERT INTO boat VALUES ('wherry');\n", "02.sh": "echo shell saw $POSTGRES_DB\n" } });
  const single = `SELECT name FROM boat`;
  const spec = {
    volumes: [{ name: "data", persistentVolumeClaim: { claimName: "data" } }, { name: "init", configMap: { name: "init" } }],
    containers: [
      {
        name: "c",
        image: "postgres:15",
        env: [{ name: "POSTGRES_USER", value: "shop" }, { name: "POSTGRES_PASSWORD", value: "secret" }, { name: "POSTGRES_DB", value: "ecommerce" }],
        volumeMounts: [{ name: "data", mountPath: "/var/lib/postgresql/data" }, { name: "init", mountPath: "/docker-entrypoint-initdb.d" }],
        readinessProbe: { exec: { command: ["sh", "-c", "exec 3<>/dev/null; $WHERRY_POSTGRES/bin/pg_ctl status"] }, periodSeconds: 1 },
      },
    ],
  };
  const log = async () => await read(await logs.logs(keyOf("db"), logOptions));
  await run("db", spec);
  for (let i = 0; i < 1000 && !/database system is ready to accept connections/.test((await log().catch(() => "")).split("init process complete")[1] ?? ""); i++) await sleep(20);
  assert.match(await log(), /running .*01\.sql[\s\S]*shell saw ecommerce[\s\S]*init process complete/);
  await ready("db");
  await remove("db");

  // The same data under a new pod (another uid of the machine) and a new agent.
  await agent.stop(AbortSignal.timeout(2000));
  await startAgent();
  await run("db", { ...spec, containers: [{ ...spec.containers[0], command: ["sh", "-c", `export LD_LIBRARY_PATH=$WHERRY_POSTGRES/lib:$WHERRY_POSTGRES_START/lib; echo "${single}" | $WHERRY_POSTGRES/bin/postgres --single -D $PGDATA ecommerce`] }], restartPolicy: "Never" });
  await until(() => ["Succeeded", "Failed"].includes(podOf("db")?.status?.phase ?? ""), () => JSON.stringify(podOf("db")?.status));
  assert.match(await log(), /name = "wherry"/);
  await remove("db");
});

test("a new agent runs the pods again that the last one left, as the same objects", async () => {
  await run("stays", { containers: [{ name: "c", image: "busybox", command: ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"] }] });
  await ready("stays");
  const { uid } = podOf("stays")!.metadata;
  const began = performance.now();
  await agent.stop(AbortSignal.timeout(700));
  assert.ok(performance.now() - began < 1500);
  assert.equal(isReady("stays"), true, "a stop writes nothing: the next start tells what became of the pods");
  await startAgent();
  await until(() => podOf("stays")?.status?.containerStatuses?.[0]?.restartCount === 1 && isReady("stays"), () => JSON.stringify(podOf("stays")?.status));
  assert.equal(podOf("stays")!.metadata.uid, uid);
  assert.equal(podOf("stays")!.status!.containerStatuses![0]!.lastState!.terminated!.reason, "Unknown");
  await remove("stays");
});

test("the node says what it is", async () => {
  const node = await client.get(resources.nodes, undefined, "wherry");
  assert.equal(node["status"].conditions.find(({ type }: { type: string }) => type === "Ready").status, "True");
  assert.equal(node["status"].nodeInfo.kubeletVersion, "v1.35.0");
  assert.match(node["status"].nodeInfo.containerRuntimeVersion, /^wherry:\/\//);
  assert.ok(Number(node["status"].capacity.cpu) >= 1);
  const lease = await client.get(resources.leases, "kube-node-lease", "wherry");
  assert.match(lease["spec"].renewTime, /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z$/);
});
