import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Pod } from "../../src/api/types.ts";
import { resources } from "../../src/api/resources.ts";
import { startWherry, type TestWherry } from "../harness.ts";
import { find, needs } from "../needs.ts";

const Mi = 2 ** 20;
const limits = { cpu: "500m", memory: "256Mi" };

/** Runs a pod to its end and gives what it said. */
async function said(wherry: TestWherry, name: string, container: object, spec: object = {}): Promise<string> {
  await wherry.client.create(resources.pods, "default", { metadata: { name }, spec: { restartPolicy: "Never", terminationGracePeriodSeconds: 0, ...spec, containers: [{ name: "app", resources: { limits }, ...container }] } });
  const end = await wherry.kubectl("wait", `pod/${name}`, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s");
  const pod = await wherry.client.get<Pod>(resources.pods, "default", name);
  const { stdout } = await wherry.kubectl("logs", name);
  assert.equal(end.code, 0, `${JSON.stringify(pod.status!.containerStatuses)}\n${stdout}`);
  return stdout;
}

test("real runtimes measure themselves by the limits of their container", { timeout: 180_000 }, async (t) => {
  if (!needs(t, "kubectl")) return;
  const folder = mkdtempSync(join(tmpdir(), "wherry-runtimes-"));
  chmodSync(folder, 0o755);
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  await using wherry = await startWherry({ test: t, hostPathRoots: [folder] });

  await t.test("Node: heap and threads", async () => {
    const program = "console.log(JSON.stringify({ heap: require('v8').getHeapStatistics().heap_size_limit, threads: process.env.UV_THREADPOOL_SIZE }))";
    const { heap, threads } = JSON.parse(await said(wherry, "node", { image: "node:22", command: ["node", "-e", program] })) as { heap: number; threads: string };
    assert.ok(heap > 180 * Mi && heap < 256 * Mi, `${heap / Mi} Mi`);
    assert.equal(threads, "2");
    const own = JSON.parse(await said(wherry, "node-own", { image: "node:22", command: ["node", "-e", program], env: [{ name: "NODE_OPTIONS", value: "--max-old-space-size=20" }] })) as { heap: number };
    assert.ok(own.heap < 180 * Mi, `the manifest's own: ${own.heap / Mi} Mi`);
    const { stdout } = await wherry.kubectl("describe", "pod", "node");
    assert.match(stdout, /RuntimeConfigured .*NODE_OPTIONS="--max-old-space-size=192 --max-semi-space-size=4", UV_THREADPOOL_SIZE=2/);
  });

  await t.test("Node: a heap that grows past it ends as such, not by the kernel", async () => {
    await wherry.client.create(resources.pods, "default", { metadata: { name: "hog" }, spec: { restartPolicy: "Never", containers: [{ name: "app", image: "node:22", command: ["node", "-e", "const kept = []; for (;;) kept.push(new Array(1e4).fill({}))"], resources: { limits: { memory: "128Mi" } } }] } });
    await wherry.kubectl("wait", "pod/hog", "--for=jsonpath={.status.phase}=Failed", "--timeout=60s");
    const { stdout } = await wherry.kubectl("logs", "hog");
    assert.match(stdout, /JavaScript heap out of memory/, "the program says where it was");
    const { exitCode, reason } = (await wherry.client.get<Pod>(resources.pods, "default", "hog")).status!.containerStatuses![0]!.state!.terminated!;
    assert.deepEqual([exitCode, reason], [134, "OOMKilled"], "who watches it is told what the kernel would have told");
  });

  await t.test("Go: GOMAXPROCS and GOMEMLIMIT", { skip: find("go") ? false : "needs go" }, async () => {
    const source = join(folder, "limits");
    mkdirSync(source);
    writeFileSync(join(source, "go.mod"), "module limits\n\ngo 1.21\n");
    writeFileSync(join(source, "main.go"), 'package main\n\nimport (\n\t"fmt"\n\t"runtime"\n\t"runtime/debug"\n)\n\nfunc main() { fmt.Println(runtime.GOMAXPROCS(0), debug.SetMemoryLimit(-1)) }\n');
    execFileSync(find("go")!, ["build", "-o", join(folder, "server"), "."], { cwd: source, env: { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false", GOTOOLCHAIN: "local" } });
    const mounted = { volumeMounts: [{ name: "bin", mountPath: "/app" }] };
    const spec = { volumes: [{ name: "bin", hostPath: { path: folder } }] };
    const container = { image: "alpine", command: ["/app/server"], ...mounted };
    assert.equal(await said(wherry, "go", container, spec), `1 ${230 * Mi}\n`);
    const two = { cpu: "1500m", memory: "256Mi" };
    assert.equal(await said(wherry, "go-two", { ...container, resources: { limits: two } }, spec), `${Math.min(2, availableParallelism())} ${230 * Mi}\n`);
    assert.equal(await said(wherry, "go-own", { ...container, env: [{ name: "GOMAXPROCS", value: "3" }, { name: "GOMEMLIMIT", value: "96MiB" }] }, spec), `3 ${96 * Mi}\n`, "as printed in the manifest");
  });

  await t.test("JVM: heap and processors", { skip: find("java") ? false : "needs java" }, async () => {
    const flags = async (name: string, env: object[] = []) => {
      const text = await said(wherry, name, { image: "eclipse-temurin:17", command: ["java", "-XX:+PrintFlagsFinal", "-version"], env });
      const flag = (name: string) => Number(new RegExp(`\\b${name}\\s*=\\s*(-?\\d+)`).exec(text)?.[1]);
      return { heap: flag("MaxHeapSize"), processors: flag("ActiveProcessorCount") };
    };
    assert.deepEqual(await flags("java"), { heap: 192 * Mi, processors: 1 });
    assert.deepEqual(await flags("java-own", [{ name: "JAVA_TOOL_OPTIONS", value: "-Xmx64m" }]), { heap: 64 * Mi, processors: 1 });
  });
});
