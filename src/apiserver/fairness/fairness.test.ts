import assert from "node:assert/strict";
import { type ClientHttp2Session, connect } from "node:http2";
import { describe, test } from "node:test";
import { hasKubectl, startApi, type TestApi } from "../../../test/harness-api.ts";
import { resources } from "../../api/resources.ts";
import { byPrecedence, classify, type FlowSchema } from "./classify.ts";
import { flowSchemas, priorityLevels } from "./defaults.ts";
import { Level, type Refusal, waitMs } from "./level.ts";

const clusterRoles = { ...resources.clusterRoleBindings };

describe("a level", () => {
  const outcome = (waiting: Promise<void>) => waiting.then(() => "in", (why: Refusal) => why);

  test("flows take turns: who floods waits behind himself", async () => {
    const level = new Level({ seats: 1, flowQueueMax: 10, queueMax: 100 });
    const order: string[] = [];
    level.executing = 1;
    const all = ["a", "a", "a", "b", "a", "c"].map((flow, index) => level.wait(flow, 0).then(() => void order.push(`${flow}${index}`)));
    for (let turn = 0; turn < 6; turn++) {
      level.executing--;
      assert.ok(level.next(0));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(all);
    assert.deepEqual(order, ["a0", "b3", "c5", "a1", "a2", "a4"]);
  });
  test("a full queue refuses its own flow first", async () => {
    const level = new Level({ seats: 1, flowQueueMax: 2, queueMax: 3 });
    level.executing = 1;
    const said = ["a", "a", "a", "b", "c"].map((flow) => outcome(level.wait(flow, 0)));
    assert.equal(await said[2], "queue-full");
    assert.equal(await said[4], "queue-full", "and all, when the level is full");
    assert.equal(level.waiting, 3);
  });
  test("without queues, no seat is a refusal", async () => {
    const level = new Level({ seats: 1, flowQueueMax: 0, queueMax: 0 });
    level.executing = 1;
    assert.equal(await outcome(level.wait("a", 0)), "concurrency-limit");
  });
  test("who waited too long is told so, and the next is let in", async () => {
    const level = new Level({ seats: 1, flowQueueMax: 9, queueMax: 9 });
    level.executing = 1;
    const [old, young] = [outcome(level.wait("a", 0)), outcome(level.wait("b", waitMs))];
    level.executing = 0;
    assert.ok(level.next(waitMs + 1));
    assert.equal(await old, "time-out");
    assert.equal(await young, "in");
    assert.equal(level.next(waitMs + 1), false);
  });
});

test("which schema a request belongs to, by upstream's defaults", async () => {
  await using server = await startApi({ fairness: true });
  const schemas = (await server.client.list<FlowSchema>(flowSchemas)).items.sort(byPrecedence);
  const { requestInfoOf } = await import("../http/request-info.ts");
  for (const [name, groups, method, url, expected] of [
    ["kubernetes-admin", ["system:masters", "system:authenticated"], "GET", "/api/v1/pods", "exempt"],
    ["eve", ["system:authenticated"], "GET", "/livez", "probes"],
    ["eve", ["system:authenticated"], "GET", "/api/v1/namespaces/a/pods", "global-default"],
    ["eve", ["system:authenticated"], "GET", "/version", "global-default"],
    ["system:serviceaccount:shop:app", ["system:serviceaccounts", "system:authenticated"], "GET", "/api/v1/pods", "service-accounts"],
    ["system:serviceaccount:shop:app", ["system:serviceaccounts", "system:authenticated"], "PUT", "/apis/coordination.k8s.io/v1/namespaces/shop/leases/x", "workload-leader-election"],
    ["system:serviceaccount:kube-system:x", ["system:serviceaccounts:kube-system", "system:serviceaccounts"], "GET", "/api/v1/pods", "kube-system-service-accounts"],
    ["system:serviceaccount:kube-system:endpoint-controller", ["system:serviceaccounts"], "PUT", "/api/v1/namespaces/a/endpoints/b", "endpoint-controller"],
    ["system:node:n", ["system:nodes", "system:authenticated"], "PATCH", "/api/v1/nodes/n/status", "system-node-high"],
    ["system:node:n", ["system:nodes", "system:authenticated"], "GET", "/api/v1/pods", "system-nodes"],
    ["system:kube-scheduler", ["system:authenticated"], "GET", "/api/v1/pods", "kube-scheduler"],
    ["nobody", [], "GET", "/api/v1/pods", undefined],
  ] as const) {
    assert.equal(classify(schemas, requestInfoOf(server.api.registry, method, url), { name, groups })?.metadata.name, expected, `${name} ${method} ${url}`);
  }
});

/** A client of its own connection, who may read ConfigMaps. */
async function reader(server: TestApi, name: string): Promise<ClientHttp2Session> {
  return connect(server.url, { ca: server.pki.ca, ...(await server.pki.issueClient(name, [])) });
}
function get(session: ClientHttp2Session, path: string): Promise<{ code: number; retryAfter: unknown; body: string }> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":path": path });
    let [code, retryAfter, body] = [0, undefined as unknown, ""];
    stream.on("response", (headers) => ([code, retryAfter] = [Number(headers[":status"]), headers["retry-after"]]));
    stream.on("data", (chunk: Buffer) => (body.length < 200 ? (body += chunk.toString("latin1")) : undefined));
    stream.on("end", () => resolve({ code, retryAfter, body })).on("error", reject).end();
  });
}

async function fetchMetrics(server: TestApi): Promise<string> {
  const admin = connect(server.url, { ca: server.pki.ca, ...server.pki.admin });
  const stream = admin.request({ ":path": "/metrics" });
  let text = "";
  for await (const chunk of stream as AsyncIterable<Buffer>) text += chunk.toString();
  admin.destroy();
  return text;
}

test("a flood of one user: others are answered, health is answered, watches go on, and the flood is told to come again", async (t) => {
  await using server = await startApi({ fairness: true });
  await server.client.create(resources.clusterRoles, undefined, { metadata: { name: "reader" }, rules: [{ apiGroups: [""], resources: ["configmaps"], verbs: ["get", "list", "watch"] }] });
  await server.client.create(clusterRoles, undefined, { metadata: { name: "readers" }, subjects: ["flooder", "calm"].map((name) => ({ kind: "User", apiGroup: "rbac.authorization.k8s.io", name })), roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "reader" } });
  const padding = "x".repeat(1000);
  await Promise.all(Array.from({ length: 100 }, (_, index) => server.client.create(resources.configMaps, "default", { metadata: { name: `c${index}` }, data: { padding } })));
  const [calm, health] = [await reader(server, "calm"), await reader(server, "prober")];
  const flooders = await Promise.all([1, 2, 3].map(() => reader(server, "flooder")));
  try {
    const path = "/api/v1/namespaces/default/configmaps";
    const watched = new Promise<number>((resolve) => {
      const stream = calm.request({ ":path": `${path}?watch=1&resourceVersion=${server.api.store.revision}` });
      let sentMs = 0;
      stream.on("response", () => {
        sentMs = -1;
        written.then((ms) => (sentMs = ms), () => {});
      });
      stream.on("data", (chunk: Buffer) => {
        if (!chunk.includes("during")) return;
        resolve(performance.now() - sentMs);
        stream.close();
      });
      stream.end();
    });
    let isWritten: (ms: number) => void = () => {};
    const written = new Promise<number>((resolve) => (isWritten = resolve));
    await get(calm, `${path}/c1`);

    const flood = Array.from({ length: 1500 }, (_, index) => get(flooders[index % 3]!, path));
    await Promise.race(flood);
    const times = { get: 0, livez: 0 };
    for (let turn = 0; turn < 5; turn++) {
      let began = performance.now();
      assert.equal((await get(calm, `${path}/c${turn}`)).code, 200);
      times.get = Math.max(times.get, performance.now() - began);
      began = performance.now();
      assert.equal((await get(health, "/livez")).body, "ok");
      times.livez = Math.max(times.livez, performance.now() - began);
    }
    isWritten(performance.now());
    await server.client.create(resources.configMaps, "default", { metadata: { name: "during" } });
    const eventMs = await watched;
    const began = performance.now();
    const answers = await Promise.all(flood);
    const restMs = performance.now() - began;
    const refused = answers.filter(({ code }) => code === 429);
    t.diagnostic(`${answers.length - refused.length} answered, ${refused.length} refused; meanwhile at most: get ${times.get.toFixed(0)} ms, livez ${times.livez.toFixed(0)} ms, event ${eventMs.toFixed(0)} ms; the flood went on for ${restMs.toFixed(0)} ms`);
    assert.ok(refused.length > 0, "1500 at once are more than a flow may have waiting");
    for (const { retryAfter, body } of refused) assert.deepEqual([retryAfter, body], ["1", "Too many requests, please try again later.\n"]);
    assert.ok(answers.every(({ code }) => code === 200 || code === 429));
    for (const [name, ms] of Object.entries({ ...times, event: eventMs })) assert.ok(ms < 3000, `${name} took ${ms.toFixed(0)} ms`);
    const metrics = await fetchMetrics(server);
    assert.match(metrics, new RegExp(`^apiserver_flowcontrol_rejected_requests_total\\{priority_level="global-default"\\} ${refused.length}$`, "m"));
    assert.match(metrics, /^apiserver_flowcontrol_current_inqueue_requests\{priority_level="global-default"\} 0$/m);
    assert.equal((await get(flooders[0]!, `${path}/c1`)).code, 200, "and afterwards all is well");
  } finally {
    for (const session of [...flooders, calm, health]) session.destroy();
  }
});

test("configuration is followed: a level of one seat and no queue refuses; a client that goes gives its seat back", async () => {
  await using server = await startApi({ fairness: true });
  const { client } = server;
  await client.create(priorityLevels, undefined, { metadata: { name: "narrow" }, spec: { type: "Limited", limited: { nominalConcurrencyShares: 0, limitResponse: { type: "Reject" } } } });
  await client.create(flowSchemas, undefined, { metadata: { name: "eve" }, spec: { priorityLevelConfiguration: { name: "narrow" }, matchingPrecedence: 50, rules: [{ subjects: [{ kind: "User", user: { name: "eve" } }], nonResourceRules: [{ verbs: ["*"], nonResourceURLs: ["*"] }] }] } });
  const eve = connect(server.url, { ca: server.pki.ca, ...(await server.pki.issueClient("eve", [])) });
  try {
    assert.equal((await get(eve, "/version")).code, 429);
    await client.delete(flowSchemas, undefined, "eve");
    while ((await get(eve, "/version")).code !== 200);
  } finally {
    eve.destroy();
  }
});

test("kubectl lists levels and schemas", async (t) => {
  if (!(await hasKubectl(t, "1.33"))) return;
  await using server = await startApi({ fairness: true });
  const run = async (...args: string[]) => (await server.kubectl("1.33", args)).stdout.replace(/ +/g, " ");
  await server.client.create(flowSchemas, undefined, { metadata: { name: "lost" }, spec: { priorityLevelConfiguration: { name: "nowhere" }, matchingPrecedence: 50 } });
  assert.equal((await server.kubectl("1.33", ["wait", "flowschema", "--all", "--for=condition=Dangling=False", "--timeout=1s"])).code, 1);
  assert.equal((await server.kubectl("1.33", ["wait", "flowschema", "lost", "--for=condition=Dangling", "--timeout=10s"])).code, 0);
  assert.match(await run("get", "flowschemas"), /^service-accounts workload-low 9000 ByUser \d+s False$/m);
  assert.match(await run("get", "flowschemas"), /^lost nowhere 50 <none> \d+s True$/m);
  assert.match(await run("get", "prioritylevelconfigurations"), /^workload-low Limited 100 128 6 50 \d+s/m);
});
