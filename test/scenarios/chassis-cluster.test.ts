import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { build } from "esbuild";
import { resources } from "../../src/api/resources.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { until } from "./gateway-stack.ts";

const skip = process.env["WHERRY_CONFORMANCE"] ? false : "takes half a minute; npm run conformance runs it";
const chassis = join(import.meta.dirname, "../../src/chassis");
const namespace = "reports";

/** What a pod does with its own service account; a line for each thing that comes of it. */
const program = `
import { loadConfig, integer, text } from ${JSON.stringify(join(chassis, "config.ts"))};
import { discover } from ${JSON.stringify(join(chassis, "discovery.ts"))};
import { startElection } from ${JSON.stringify(join(chassis, "election.ts"))};
import { findCluster } from ${JSON.stringify(join(chassis, "kubernetes.ts"))};

const say = (...words: unknown[]) => console.log(...words);
const told = new Set<string>();
/** Once each: it is tried again all the time. */
const refused = (what: string) => (error: unknown) => {
  const line = \`refused \${what}: \${(error as Error).message}\`;
  if (!told.has(line)) say(line);
  told.add(line);
};
const { client, namespace } = await findCluster();
say("in", namespace);
const config = loadConfig({ greeting: text(), most: integer({ min: 1 }) }, { folders: ["/config"], env: {} });
say("config", config.value.greeting);
config.onChange(({ greeting }) => say("config", greeting));
// A bad update is told by health; here by looking.
let wrong: string | undefined;
setInterval(() => {
  if (config.error?.message !== wrong && (wrong = config.error?.message)) say("config refused:", wrong);
}, 50);
const election = startElection({ client, namespace, name: "reports", durationMs: 6_000, onError: refused("the election") }, async ({ token }, signal) => {
  say("leads", token);
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  say("leads no more");
});
process.on("SIGTERM", () => void election.stop().then(() => process.exit(0)));
void discover({ client, namespace, service: "reporters", onError: refused("the watch") }).then((found) => {
  const show = () => say("found", found.current().length);
  show();
  found.onChange(show);
});
setInterval(() => {}, 60_000);
`;

test("a pod uses the API with its own account: an election, a live ConfigMap, discovery; with the rights that the reference names, and refused without", { timeout: 180_000, skip }, async (t) => {
  if (!needs(t, "kubectl")) return;
  const { outputFiles } = await build({ stdin: { contents: program, resolveDir: chassis, loader: "ts" }, bundle: true, platform: "node", format: "esm", target: "node20", write: false, minify: true, external: ["js-yaml"], logLevel: "silent" });
  await using wherry = await startWherry({ test: t });
  const { client } = wherry;
  const rbac = (resource: string) => ({ group: "rbac.authorization.k8s.io", version: "v1", resource });
  await client.create(resources.namespaces, undefined, { metadata: { name: namespace } });
  for (const name of ["reporter", "stranger"]) await client.create(resources.serviceAccounts, namespace, { metadata: { name } });
  await client.create(resources.configMaps, namespace, { metadata: { name: "program" }, data: { "main.mjs": outputFiles[0]!.text } });
  await client.create(resources.configMaps, namespace, { metadata: { name: "settings" }, data: { greeting: "hello", most: "3" } });
  // As docs/reference/chassis.md says, and no more.
  await client.create(rbac("roles"), namespace, { metadata: { name: "reporter" }, rules: [{ apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get", "create", "update"] }, { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] }] });
  await client.create(rbac("rolebindings"), namespace, { metadata: { name: "reporter" }, roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "reporter" }, subjects: [{ kind: "ServiceAccount", name: "reporter", namespace }] });
  await client.create(resources.services, namespace, { metadata: { name: "reporters" }, spec: { selector: { app: "reporter" }, ports: [{ port: 80 }] } });
  const pod = (name: string, account: string) => ({
    metadata: { name, labels: { app: account } },
    spec: {
      serviceAccountName: account,
      containers: [{ name: "main", image: "node:26", command: ["node", "/program/main.mjs"], volumeMounts: [{ name: "program", mountPath: "/program" }, { name: "settings", mountPath: "/config" }] }],
      volumes: [{ name: "program", configMap: { name: "program" } }, { name: "settings", configMap: { name: "settings" } }],
    },
  });
  for (const name of ["one", "two"]) await client.create(resources.pods, namespace, pod(name, "reporter"));
  await client.create(resources.pods, namespace, pod("outsider", "stranger"));

  const patienceMs = 60_000;
  const said = async (name: string) => (await wherry.kubectl("logs", "-n", namespace, name)).stdout.trim().split("\n");
  /** Waits for a line, and tells what was said when it does not come. */
  const hears = async (name: string, line: string | RegExp): Promise<string> => {
    let lines: string[] = [];
    const found = () => lines.find((one) => (typeof line === "string" ? one === line : line.test(one)));
    await until(`${name} says ${line}`, async () => ((lines = await said(name)), found() !== undefined), patienceMs).catch((error: Error) => Promise.reject(new Error(`${error.message}: ${lines.join(" | ")}`)));
    return found()!;
  };

  await t.test("where it is, whom it finds, and one of two leads", async () => {
    for (const name of ["one", "two"]) {
      await hears(name, `in ${namespace}`);
      await hears(name, "config hello");
      await hears(name, "found 2");
    }
    const leads = async () => (await Promise.all(["one", "two"].map(said))).map((lines) => /^leads \d/.test(lines.findLast((line) => line.startsWith("leads ")) ?? ""));
    await until("somebody leads", async () => (await leads()).includes(true), patienceMs);
    assert.equal((await leads()).filter(Boolean).length, 1);
  });

  await t.test("who has no rights is told so, by name, and nothing comes of it", async () => {
    const who = `User "system:serviceaccount:${namespace}:stranger"`;
    assert.equal(await hears("outsider", /^refused the election/), `refused the election: leases.coordination.k8s.io "reports" is forbidden: ${who} cannot get resource "leases" in API group "coordination.k8s.io" in the namespace "${namespace}"`);
    assert.equal(await hears("outsider", /^refused the watch/), `refused the watch: endpointslices.discovery.k8s.io is forbidden: ${who} cannot list resource "endpointslices" in API group "discovery.k8s.io" in the namespace "${namespace}"`);
    assert.deepEqual((await said("outsider")).filter((line) => /^(leads|found)/.test(line)), []);
  });

  await t.test("the ConfigMap changes: a good update is taken, a bad one refused, and the last good one stays", async () => {
    await client.patch(resources.configMaps, namespace, "settings", { data: { greeting: "good day" } });
    await hears("one", "config good day");
    await client.patch(resources.configMaps, namespace, "settings", { data: { greeting: "nobody hears this", most: "0" } });
    assert.match(await hears("one", /^config refused/), /most: .*\b1\b/);
    await client.patch(resources.configMaps, namespace, "settings", { data: { greeting: "good night", most: "1" } });
    await hears("one", "config good night");
    assert.equal((await said("one")).includes("config nobody hears this"), false);
  });

  await t.test("the leader is killed: the other takes over with a greater token, and finds itself alone", async () => {
    const tokenOf = (lines: string[]) => Number(lines.findLast((line) => line.startsWith("leads "))?.split(" ")[1]); // NaN after "leads no more"
    const [first, second] = !Number.isNaN(tokenOf(await said("one"))) ? ["one", "two"] : ["two", "one"];
    const token = tokenOf(await said(first!));
    assert.equal((await wherry.kubectl("delete", "pod", "-n", namespace, first!, "--grace-period=0", "--force")).code, 0);
    await hears(second!, /^leads \d+$/);
    assert.ok(tokenOf(await said(second!)) > token);
    await hears(second!, "found 1");
  });

  await t.test("rights that are taken away are felt: the leader gives up when its time is over", async () => {
    const name = (await said("one").catch(() => [])).some((line) => line.startsWith("leads ")) ? "one" : "two";
    await client.delete(rbac("rolebindings"), namespace, "reporter");
    await hears(name, "leads no more");
    await hears(name, /^refused the election: leases.coordination.k8s.io "reports" is forbidden/);
  });
});
