import assert from "node:assert/strict";
import { test } from "node:test";
import { strategies } from "../api/kinds/index.ts";
import type { KubeObject } from "../api/meta.ts";
import { createBuiltinRegistry } from "../api/registry.ts";
import { resources } from "../api/resources.ts";
import type { StatusError } from "../api/status.ts";
import type { Deployment, Pod, Service } from "../api/types.ts";
import { FakeClock } from "../base/clock.ts";
import { silentLog } from "../base/log.ts";
import { seededRandom } from "../base/random.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { createApi } from "./api.ts";
import { systemIdentity } from "./rest/context.ts";

async function start() {
  const api = createApi({ store: createMemoryStore(), registry: createBuiltinRegistry(strategies), clock: new FakeClock(), random: seededRandom(1), log: silentLog });
  const client = api.client(systemIdentity("test"));
  await client.create(resources.namespaces, undefined, { metadata: { name: "default" } });
  await client.create(resources.serviceAccounts, "default", { metadata: { name: "default" } });
  return { api, client };
}

const deployment = (name = "web") => ({
  metadata: { name },
  spec: { replicas: 2, selector: { matchLabels: { app: name } }, template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: "c", image: "nginx:1" }] } } },
});
const refusal = (code: number, message: RegExp) => (error: unknown) => {
  const { code: actual, message: text } = error as StatusError;
  assert.equal(actual, code, text);
  assert.match(text, message);
  return true;
};

test("create() fills in what the server owns and what upstream defaults", async () => {
  const { client } = await start();
  const created = await client.create<Deployment>(resources.deployments, "default", deployment());
  assert.equal(created.metadata.generation, 1);
  assert.equal(created.metadata.namespace, "default");
  assert.match(created.metadata.uid, /^[0-9a-f-]{36}$/);
  assert.equal(created.spec!.template.spec!.containers[0]!.imagePullPolicy, "IfNotPresent");
  assert.deepEqual(created.spec!.strategy, { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "25%", maxSurge: "25%" } });
});

test("trap 8: a write that changes nothing keeps the resourceVersion", async () => {
  const { client } = await start();
  const created = await client.create<Deployment>(resources.deployments, "default", deployment());
  const again = await client.patch<Deployment>(resources.deployments, "default", "web", { spec: { replicas: 2 } });
  assert.equal(again.metadata.resourceVersion, created.metadata.resourceVersion);
  const put = await client.update<Deployment>(resources.deployments, "default", "web", deployment());
  assert.equal(put.metadata.resourceVersion, created.metadata.resourceVersion);
});

test("trap 9: only the spec raises the generation", async () => {
  const { client } = await start();
  await client.create(resources.deployments, "default", deployment());
  const status = await client.patch<Deployment>(resources.deployments, "default", "web", { status: { replicas: 1 }, spec: { replicas: 9 } }, { subresource: "status" });
  assert.deepEqual([status.metadata.generation, status.spec!.replicas, status.status!.replicas], [1, 2, 1]);
  const label = await client.patch<Deployment>(resources.deployments, "default", "web", { metadata: { labels: { a: "b" } } });
  assert.equal(label.metadata.generation, 1);
  const spec = await client.patch<Deployment>(resources.deployments, "default", "web", { spec: { replicas: 3 }, status: { replicas: 7 } });
  assert.deepEqual([spec.metadata.generation, spec.status!.replicas], [2, 1]);
});

test("trap 11: a stale resourceVersion is refused, a patch without one is tried again", async () => {
  const { client } = await start();
  const created = await client.create<Deployment>(resources.deployments, "default", deployment());
  await client.patch(resources.deployments, "default", "web", { spec: { replicas: 3 } });
  await assert.rejects(client.update(resources.deployments, "default", "web", { ...deployment(), metadata: { name: "web", resourceVersion: created.metadata.resourceVersion } }), refusal(409, /^Operation cannot be fulfilled on deployments.apps "web": the object has been modified; please apply your changes to the latest version and try again$/));
  await Promise.all(["a", "b", "c", "d"].map((key) => client.patch(resources.deployments, "default", "web", { metadata: { labels: { [key]: "1" } } })));
  assert.deepEqual(Object.keys((await client.get<Deployment>(resources.deployments, "default", "web")).metadata.labels!).sort(), ["a", "b", "c", "d"]);
});

test("trap 17: /scale answers a Scale and changes replicas only", async () => {
  const { client } = await start();
  await client.create(resources.deployments, "default", deployment());
  const scale = await client.patch<KubeObject>(resources.deployments, "default", "web", { spec: { replicas: 5 } }, { subresource: "scale" });
  assert.deepEqual([scale.kind, scale.apiVersion, (scale["spec"] as { replicas: number }).replicas, (scale["status"] as { selector: string }).selector], ["Scale", "autoscaling/v1", 5, "app=web"]);
  assert.equal((await client.get<Deployment>(resources.deployments, "default", "web")).spec!.replicas, 5);
});

test("trap 23: generateName cuts the prefix and uses the alphabet of names", async () => {
  const { client } = await start();
  const created = await client.create<KubeObject>(resources.configMaps, "default", { metadata: { generateName: `${"x".repeat(80)}-` } });
  assert.match(created.metadata.name, /^x{58}[bcdfghjklmnpqrstvwxz2456789]{5}$/);
});

test("trap 10: a pod with a grace period stays until it is deleted with grace zero", async () => {
  const { client } = await start();
  await client.create(resources.pods, "default", { metadata: { name: "p" }, spec: { nodeName: "wherry", containers: [{ name: "c", image: "nginx:1" }] } });
  const marked = await client.delete<Pod>(resources.pods, "default", "p");
  assert.equal(marked.metadata.deletionGracePeriodSeconds, 30);
  const still = await client.get<Pod>(resources.pods, "default", "p");
  assert.ok(still.metadata.deletionTimestamp);
  await client.delete(resources.pods, "default", "p", { gracePeriodSeconds: 0 });
  await assert.rejects(client.get(resources.pods, "default", "p"), refusal(404, /^pods "p" not found$/));
});

test("a finalizer keeps the object until it is taken off", async () => {
  const { client } = await start();
  await client.create(resources.configMaps, "default", { metadata: { name: "c", finalizers: ["example.com/hold"] } });
  await client.delete(resources.configMaps, "default", "c");
  await assert.rejects(client.patch(resources.configMaps, "default", "c", { metadata: { finalizers: ["example.com/hold", "example.com/more"] } }), refusal(422, /no new finalizers can be added if the object is being deleted/));
  await client.patch(resources.configMaps, "default", "c", { metadata: { finalizers: null } });
  await assert.rejects(client.get(resources.configMaps, "default", "c"), refusal(404, /not found/));
});

test("refusals carry upstream's words", async () => {
  const { client } = await start();
  await client.create(resources.deployments, "default", deployment());
  const pod = (spec: object) => ({ metadata: { name: "p" }, spec: { containers: [{ name: "c", image: "nginx:1" }], ...spec } });
  const cases: [Promise<unknown>, number, RegExp][] = [
    [client.create(resources.deployments, "default", deployment()), 409, /^deployments.apps "web" already exists$/],
    [client.create(resources.configMaps, "nowhere", { metadata: { name: "c" } }), 404, /^namespaces "nowhere" not found$/],
    [client.create(resources.configMaps, "default", { metadata: { name: "C_1" } }), 422, /^ConfigMap "C_1" is invalid: metadata.name: Invalid value: "C_1": a lowercase RFC 1123 subdomain/],
    [client.create(resources.deployments, "default", { ...deployment("x"), spec: { ...deployment("x").spec, foo: 1 } }), 400, /strict decoding error: unknown field "spec.foo"$/],
    [client.create(resources.deployments, "default", { ...deployment("x"), spec: { ...deployment("x").spec, replicas: "3" } }), 400, /json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32$/],
    [client.patch(resources.deployments, "default", "web", { spec: { selector: { matchLabels: { app: "other" } } } }), 422, /spec.selector: Invalid value: .*: field is immutable/],
    [client.create(resources.pods, "default", pod({ hostNetwork: true })), 422, /^Pod "p" is invalid: .*spec.hostNetwork: Forbidden/],
    [client.create(resources.pods, "default", { metadata: { name: "p" }, spec: { containers: [{ name: "c", image: "nginx:1", securityContext: { privileged: true } }] } }), 422, /spec.containers\[0\].securityContext.privileged: Forbidden/],
    [client.create(resources.pods, "default", pod({ containers: [{ name: "c", image: "nginx:1", resources: { requests: { memory: "64 Megs" } } }] })), 400, /quantities must match the regular expression/],
    [client.list(resources.pods, { labelSelector: "a in (" }), 400, /unable to parse requirement/],
    [client.list(resources.pods, { fieldSelector: "spec.foo=1" }), 400, /^field label not supported: spec.foo$/],
  ];
  for (const [attempt, code, message] of cases) await assert.rejects(attempt, refusal(code, message));
});

test("chunked lists keep the first page's revision and end", async () => {
  const { client } = await start();
  for (let index = 0; index < 7; index++) await client.create(resources.configMaps, "default", { metadata: { name: `c${index}` } });
  const first = await client.list(resources.configMaps, { namespace: "default", limit: 3 });
  assert.equal(first.metadata.remainingItemCount, 4);
  await client.delete(resources.configMaps, "default", "c5");
  const names = first.items.map(({ metadata }) => metadata.name);
  for (let token = first.metadata.continue; token; ) {
    const page = await client.list(resources.configMaps, { namespace: "default", limit: 3, continue: token });
    assert.equal(page.metadata.resourceVersion, first.metadata.resourceVersion);
    names.push(...page.items.map(({ metadata }) => metadata.name));
    token = page.metadata.continue;
  }
  assert.deepEqual(names, ["c0", "c1", "c2", "c3", "c4", "c5", "c6"]);
});

test("trap 2: a WatchList ends its initial events with the annotated bookmark", async () => {
  const { client } = await start();
  await client.create(resources.configMaps, "default", { metadata: { name: "c" } });
  const seen: string[] = [];
  for await (const { type, object } of client.watch(resources.configMaps, { sendInitialEvents: true, resourceVersionMatch: "NotOlderThan", allowWatchBookmarks: true })) {
    seen.push(`${type} ${object.metadata.name ?? ""}${object.metadata.annotations?.["k8s.io/initial-events-end"] ?? ""}`);
    if (type === "BOOKMARK") break;
  }
  assert.deepEqual(seen, ["ADDED c", "BOOKMARK true"]);
  await assert.rejects(async () => client.watch(resources.configMaps, { sendInitialEvents: true })[Symbol.asyncIterator]().next(), refusal(422, /sendInitialEvents requires setting resourceVersionMatch to NotOlderThan/));
});

test("a selector turns changes into arrivals and departures", async () => {
  const { client } = await start();
  const abort = new AbortController();
  const seen: string[] = [];
  await client.create(resources.configMaps, "default", { metadata: { name: "c" } });
  const watching = (async () => {
    for await (const { type } of client.watch(resources.configMaps, { labelSelector: "on=yes", signal: abort.signal })) {
      seen.push(type);
      if (seen.length === 3) abort.abort();
    }
  })();
  await client.patch(resources.configMaps, "default", "c", { metadata: { labels: { on: "yes" } } });
  await client.patch(resources.configMaps, "default", "c", { data: { a: "1" } });
  await client.patch(resources.configMaps, "default", "c", { metadata: { labels: { on: "no" } } });
  await watching;
  assert.deepEqual(seen, ["ADDED", "MODIFIED", "DELETED"]);
});

test("Services get an address, node ports when they want them, and keep them", async () => {
  const { client } = await start();
  const service = (type: string) => ({ metadata: { name: "s" }, spec: { type, selector: { app: "web" }, ports: [{ port: 80 }] } });
  const created = await client.create<Service>(resources.services, "default", service("NodePort"));
  assert.match(created.spec!.clusterIP!, /^10\.96\./);
  assert.ok(created.spec!.ports![0]!.nodePort! >= 30_000);
  const replaced = await client.update<Service>(resources.services, "default", "s", service("NodePort"));
  assert.equal(replaced.metadata.resourceVersion, created.metadata.resourceVersion);
  await assert.rejects(client.create(resources.services, "default", { metadata: { name: "t" }, spec: { clusterIP: created.spec!.clusterIP, ports: [{ port: 80 }] } }), refusal(422, /provided IP is already allocated/));
});
