import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { dump } from "js-yaml";
import type { KubeObject } from "../../src/api/meta.ts";
import { resources } from "../../src/api/resources.ts";
import type { Pod } from "../../src/api/types.ts";
import { type Gateway, gatewayResources } from "../../src/proxy/gateway/kinds.ts";
import { eventually } from "../../src/proxy/testing/network.ts";
// @ts-expect-error a build tool without types
import { bundlePreload } from "../../tools/bundle-preload.mjs";
import { startWherry, type TestWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { directUrl } from "../scenarios/stack.ts";
import { type Answer, type Call, type Case, difference, type Door, doors, readTables } from "./doors/table.ts";

/** The cases of doors/*.txt through a Gateway, a Service's listener and the preload of Node pods, on one stack; see doors/README.md. */
const folder = join(import.meta.dirname, "doors");
const isWhole = Boolean(process.env["WHERRY_CONFORMANCE"]);
const cases = readTables(folder).filter(({ isSample, title }) => (isSample || isWhole) && title.includes(process.env["ONLY"] ?? ""));
const patienceMs = 60_000;
const podPort = 8080;
const servicePort = 80;

const pod = (name: string, labels: Record<string, string>, program: string, more: object = {}, env: Record<string, string> = {}): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels },
  spec: {
    ...more,
    containers: [{ name: "pod", image: "node:26", command: ["node", "-e", `import("data:text/javascript;base64,${Buffer.from(readFileSync(join(folder, program))).toString("base64")}")`], env: Object.entries(env).map(([name, value]) => ({ name, value })), readinessProbe: { httpGet: { path: "/", port: podPort }, periodSeconds: 1 } }],
    terminationGracePeriodSeconds: 1,
  },
});
const server = (name: string, version: string, labels: Record<string, string>): object => pod(name, { ...labels, version }, "pod.mjs", {}, { POD: name, VERSION: version });
const pods = [
  server("a", "v1", { group: "web" }),
  server("b", "v1", { group: "web" }),
  server("c", "v2", { group: "web" }),
  ...(isWhole ? [server("guarded", "v1", { group: "guarded" }), server("leaver", "v1", { group: "none" })] : []),
  pod("listener", { caller: "listener" }, "caller.mjs", { serviceAccountName: "listener" }),
  pod("preload", { caller: "preload", "wherry.dev/mesh": "direct" }, "caller.mjs", { serviceAccountName: "preload" }),
];

const hostname = (service: string): string => `${service}.doors.test`;
const toService = (name: string) => ({ backendRefs: [{ name, port: servicePort }] });
function objectsOf({ name, objects: { service = {}, route, gateway, mesh, destination, policy } }: Case): object[] {
  const httpRoute = (suffix: string, parentRefs: object[], rules: unknown) => ({ apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: { name: `${name}${suffix}` }, spec: { parentRefs, hostnames: [hostname(name)], rules } });
  const edge = { name: "edge" };
  const selector = service.refuses ? {} : { selector: service.select ?? { group: "web" } };
  return [
    { apiVersion: "v1", kind: "Service", metadata: { name }, spec: { ...selector, ...(service.affinity && { sessionAffinity: "ClientIP" }), ports: [{ name: service.port ?? "http", port: servicePort, targetPort: podPort }] } },
    route && !gateway ? httpRoute("", [edge, { group: "", kind: "Service", name }], route) : httpRoute("-edge", [edge], gateway ?? [toService(name)]),
    ...(route && gateway ? [httpRoute("", [{ group: "", kind: "Service", name }], route)] : []),
    ...(mesh ? [{ apiVersion: "networking.istio.io/v1", kind: "VirtualService", metadata: { name }, spec: { hosts: [name], http: mesh } }] : []),
    ...(destination ? [{ apiVersion: "networking.istio.io/v1", kind: "DestinationRule", metadata: { name }, spec: { host: name, ...destination } }] : []),
    ...(policy ? [{ apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", metadata: { name }, spec: policy }] : []),
  ];
}
const versions = ["v1", "v2"].map((name) => ({ apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: { name }, spec: { parentRefs: [{ name: "edge" }], hostnames: [hostname(name)], rules: [toService(name)] } }));

/** Somebody who calls, and where a Service is found by this door. */
interface Stage {
  wherry: TestWherry;
  urlOf(door: Door, service: string): { base: string; headers: Record<string, string> };
  ask(door: Door, calls: { url: string; method: string; headers: Record<string, string> }[], call: Call): Promise<Answer[]>;
}

async function raise(t: TestContext): Promise<Stage> {
  await bundlePreload();
  // What is counted is counted by each worker for itself.
  const wherry = await startWherry({ test: t, netWorkers: 1 });
  const { client } = wherry;
  const manifest = join(dirname(wherry.dataDir), "doors.yaml");
  // Few at a time: kubectl has a deadline, and the machine may be slow.
  const applied = async (documents: readonly string[]): Promise<void> => {
    for (let i = 0; i < documents.length; i += 25) {
      writeFileSync(manifest, documents.slice(i, i + 25).join("\n---\n"));
      const { code, stderr } = await wherry.kubectl("apply", "-f", manifest);
      assert.equal(code, 0, stderr);
    }
  };
  await applied([readFileSync(join(folder, "stack.yaml"), "utf8"), ...[...pods, ...versions, ...cases.flatMap(objectsOf)].map((object) => dump(object, { noRefs: true }))]);
  const outside = fork(join(folder, "caller.mjs"), ["0", "127.0.0.1"], { execArgv: [] });
  t.after(() => outside.disconnect());
  const [{ port }] = (await once(outside, "message")) as [{ port: number }];
  let address = "";
  await eventually(async () => (address = (await client.get<Gateway>(gatewayResources.gateways, "default", "edge")).status?.addresses?.[0]?.value ?? "") !== "", patienceMs);
  await eventually(async () => (await client.list<Pod>(resources.pods, { namespace: "default" })).items.every(({ status }) => status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True")), patienceMs);
  if (cases.some(({ objects }) => objects.service?.refuses)) {
    // One endpoint answers; the other's pod is there, and nobody listens at that port.
    const addressOf = async (name: string): Promise<string> => (await client.get<Pod>(resources.pods, "default", name)).status!.podIP!;
    const endpoints = [{ ip: await addressOf("a"), port: podPort }, { ip: await addressOf("b"), port: podPort + 1 }];
    const slices = cases.filter(({ objects }) => objects.service?.refuses).flatMap(({ name }) =>
      endpoints.map(({ ip, port }) => ({ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", metadata: { name: `${name}-${port}`, labels: { "kubernetes.io/service-name": name } }, addressType: "IPv4", ports: [{ name: "http", port, protocol: "TCP" }], endpoints: [{ addresses: [ip], conditions: { ready: true } }] })));
    await applied(slices.map((slice) => dump(slice)));
  }
  return {
    wherry,
    urlOf: (door, service): ReturnType<Stage["urlOf"]> => (door === "gateway" ? { base: `http://${address}:8080`, headers: { host: hostname(service) } } : { base: `http://${service}`, headers: {} }),
    async ask(door, calls, { atOnce, incoming }) {
      const url = door === "gateway" ? `http://127.0.0.1:${port}` : directUrl(wherry, "default", `caller-${door}`);
      const response = await fetch(url, { method: "POST", headers: incoming, body: JSON.stringify({ calls, atOnce }) });
      return (await response.json()) as Answer[];
    },
  };
}

let keys = 0;
/** What of one line is otherwise, through one door. */
async function judge(stage: Stage, door: Door, { name, isDirect }: Case, call: Call): Promise<string | undefined> {
  const { base, headers } = stage.urlOf(door, call.service ?? name);
  const key = `${door}-${++keys}`;
  const words: Record<string, string> = { $HOST: headers["host"] ?? new URL(base).host, $KEY: key, $LAST: lastKey };
  if (!call.service) lastKey = key;
  const filled = (text: string): string => text.replaceAll(/\$(?:HOST|KEY|LAST)/g, (word) => words[word]!);
  const own = Object.fromEntries(Object.entries(call.headers).map(([field, value]) => [field, filled(value)]));
  const calls = Array.from({ length: call.times }, () => ({ url: `${base}${filled(call.path)}`, method: call.method, headers: { "x-key": key, ...headers, ...own } }));
  const answers = await stage.ask(door, calls, call);
  const found = difference(call.expected.map(filled), answers);
  if (found !== undefined || door !== "preload" || call.service || isDirect === undefined) return found;
  const wanted = isDirect ? podPort : servicePort;
  return answers.every(({ remotePort }) => remotePort === undefined || remotePort === wanted) ? undefined : `a meshed program went to port ${answers.map(({ remotePort }) => remotePort).join()}, not to ${wanted}`;
}
let lastKey = "";

test(`what callers meet at a Gateway, at a Service and in a meshed program: ${cases.length} cases${isWhole ? "" : ", a sample"}`, { timeout: 600_000 }, async (t) => {
  if (!needs(t, "kubectl")) return;
  const stage = await raise(t);
  for (const entry of cases) {
    await t.test(entry.title, async () => {
      for (const door of doors) {
        let isFirst = true;
        for (const line of entry.lines) {
          if (line.type === "label") {
            await stage.wherry.client.patch(resources.pods, "default", line.pod, { metadata: { labels: { [line.label]: line.value } } }, { type: "merge" });
            continue;
          }
          if (!line.doors.includes(door)) continue;
          // What was written is in force a moment later; from when it is, it is at every request.
          if (isFirst || line.isAwaited) {
            let last: string | undefined = "";
            await eventually(async () => (last = await judge(stage, door, entry, line)) === undefined, patienceMs).catch(() => assert.fail(`${door}: ${line.text}\n${last}`));
          }
          isFirst = false;
          if (line.isAwaited) continue;
          const found = await judge(stage, door, entry, line);
          assert.equal(found, undefined, `${door}: ${line.text}\n${found}`);
        }
      }
    });
  }
  await t.test("a policy that says that it is in force holds at every door, from its first call on", { skip: !isWhole || process.env["ONLY"] !== undefined }, async () => {
    const { client } = stage.wherry;
    const entry = cases.find(({ isDirect, objects }) => isDirect && !objects.service)!;
    const call = (expected: string): Call => ({ type: "call", text: `GET / -> ${expected}`, doors, isAwaited: false, method: "GET", path: "/", times: 1, atOnce: false, headers: {}, incoming: {}, expected: [expected] });
    const policies = { group: "security.istio.io", version: "v1", resource: "authorizationpolicies" };
    for (let round = 0; round < 10; round++) {
      for (const door of doors) await eventually(async () => (await judge(stage, door, entry, call("200"))) === undefined, patienceMs);
      await client.create(policies, "default", { metadata: { name: `closed-${round}` }, spec: { selector: { matchLabels: { group: "web" } }, action: "DENY", rules: [{}] } });
      await eventually(async () => (await client.get<KubeObject>(policies, "default", `closed-${round}`)).status?.conditions?.some(({ type, status }: { type: string; status: string }) => type === "Reconciled" && status === "True"), patienceMs);
      // At once, and by a program that had a way of its own a moment ago.
      for (const door of doors.toReversed()) assert.equal(await judge(stage, door, { ...entry, isDirect: false }, call("403")), undefined, `${door}, round ${round}`);
      await client.delete(policies, "default", `closed-${round}`);
    }
  });
});
