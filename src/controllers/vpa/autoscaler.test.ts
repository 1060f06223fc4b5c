import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { startApi } from "../../../test/harness-api.ts";
import { Informers } from "../../api/informer.ts";
import type { Kind } from "../../api/kind.ts";
import { type KubeObject, timestamp } from "../../api/meta.ts";
import { quantityMilliValue, quantityValue } from "../../api/quantity.ts";
import { resources } from "../../api/resources.ts";
import type { Pod } from "../../api/types.ts";
import { vpaDefinitions } from "../../api/vpa/definition.ts";
import { verticalPodAutoscalerCheckpoints, verticalPodAutoscalers, type VerticalPodAutoscaler, type VerticalPodAutoscalerCheckpoint } from "../../api/vpa/types.ts";
import { FakeClock, systemClock } from "../../base/clock.ts";
import { silentLog } from "../../base/log.ts";
import { seededRandom } from "../../base/random.ts";
import { VerticalAutoscaler } from "./autoscaler.ts";

const Mi = 2 ** 20;
const minuteMs = 60_000;

/** A Deployment with two pods over the real API; what they use is drawn from a seed, time moves when told. */
class World implements AsyncDisposable {
  readonly clock = new FakeClock(Date.UTC(2026, 0, 1));
  readonly random = seededRandom(7);
  /** Means of what a container uses. */
  cores = 0.2;
  bytes = 400 * Mi;
  readonly server: Awaited<ReturnType<typeof startApi>>;
  #autoscaler!: VerticalAutoscaler;
  #informers!: Informers;

  private constructor(server: Awaited<ReturnType<typeof startApi>>) {
    this.server = server;
  }
  static async make(pod: { requests: Record<string, string>; limits?: Record<string, string> } | undefined): Promise<World> {
    const world = new World(await startApi());
    const { client, api } = world.server;
    for (const { resource, object } of vpaDefinitions) await client.create(resource, undefined, object);
    await client.create(resources.nodes, undefined, { metadata: { name: "wherry" } });
    await world.node({ cpu: "8", memory: "16Gi" });
    const labels = { app: "web" };
    const template = { metadata: { labels }, spec: { containers: [{ name: "app", image: "i", ...(pod && { resources: pod }) }] } };
    const deployment = await client.create<KubeObject>(resources.deployments, "default", { metadata: { name: "web" }, spec: { replicas: 2, selector: { matchLabels: labels }, template } });
    const owner = (kind: string, { metadata: { name, uid } }: KubeObject) => [{ apiVersion: "apps/v1", kind, name, uid, controller: true }];
    const set = await client.create<KubeObject>(resources.replicaSets, "default", { metadata: { name: "web-1", labels, ownerReferences: owner("Deployment", deployment) }, spec: { replicas: 2, selector: { matchLabels: labels }, template } });
    for (const name of ["a", "b"]) {
      const made = await client.create<Pod>(resources.pods, "default", { metadata: { name, labels, ownerReferences: owner("ReplicaSet", set) }, spec: { ...template.spec, nodeName: "wherry" } });
      await client.patch(resources.pods, "default", name, { status: { phase: "Running", startTime: timestamp(world.clock.now()), conditions: [{ type: "Ready", status: "True" }], containerStatuses: [{ name: "app", image: "i", imageID: "", ready: true, restartCount: 0, state: { running: {} }, resources: made.spec!.containers[0]!.resources ?? {} }] } }, { subresource: "status" });
    }
    api.registry.add({
      group: "metrics.k8s.io", version: "v1beta1", kind: "PodMetrics", resource: "pods", singular: "", shortNames: [], categories: [], scope: "Namespaced", verbs: ["get", "list"], subresources: [], schema: { type: "object" },
      computed: {
        list: async () => ["a", "b"].map((name) => {
          const noise = () => 0.8 + 0.4 * world.random.next();
          const usage = { cpu: `${Math.round(world.cores * noise() * 1000)}m`, memory: String(Math.round(world.bytes * noise())) };
          return { apiVersion: "metrics.k8s.io/v1beta1", kind: "PodMetrics", metadata: { name, namespace: "default" } as unknown as KubeObject["metadata"], timestamp: timestamp(world.clock.now()), window: "15s", containers: [{ name: "app", usage }] };
        }),
      },
    } satisfies Kind);
    await world.begin();
    return world;
  }

  async node(allocatable: Record<string, string>): Promise<void> {
    await this.server.client.patch(resources.nodes, undefined, "wherry", { status: { allocatable } }, { subresource: "status", type: "merge" });
  }

  async begin(): Promise<void> {
    const { client, api } = this.server;
    this.#informers = new Informers({ client, clock: systemClock });
    const kindOf = (apiVersion: string, name: string) => {
      const [group, version] = apiVersion.includes("/") ? (apiVersion.split("/") as [string, string]) : ["", apiVersion];
      const kind = api.registry.byKind(group, version, name);
      return kind && { resource: { group, version, resource: kind.resource }, scalable: kind.scale !== undefined };
    };
    this.#autoscaler = new VerticalAutoscaler({ client, informers: this.#informers, kindOf, clock: this.clock, random: this.random, log: silentLog });
    for (const resource of [resources.nodes, resources.deployments, resources.replicaSets, { group: "autoscaling", version: "v2", resource: "horizontalpodautoscalers" }, { group: "", version: "v1", resource: "limitranges" }]) this.#informers.for(resource);
    await this.#informers.start();
    this.#autoscaler.start();
  }
  async end(): Promise<void> {
    await this.#autoscaler.stop();
    await this.#informers.stop();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    await this.server[Symbol.asyncDispose]();
  }

  async autoscaler(spec: object): Promise<void> {
    await this.server.client.create(verticalPodAutoscalers, "default", { metadata: { name: "web" }, spec: { targetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "web" }, updatePolicy: { updateMode: "Off" }, ...spec } });
  }
  async vpa(): Promise<VerticalPodAutoscaler> {
    return await this.server.client.get<VerticalPodAutoscaler>(verticalPodAutoscalers, "default", "web");
  }
  async pod(name: string): Promise<Pod> {
    return await this.server.client.get<Pod>(resources.pods, "default", name);
  }
  async events(): Promise<string[]> {
    const { items } = await this.server.client.list(resources.events, { namespace: "default" });
    return items.map((event) => `${event["type"]} ${event["reason"]}: ${event["message"]}`);
  }
  /** Lets the autoscaler look again and again until something is so. */
  async until(what: string, so: () => Promise<unknown>): Promise<void> {
    for (const deadline = performance.now() + 60_000; performance.now() < deadline; ) {
      for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
      if (await so()) return;
      const dueMs = this.clock.nextDueMs();
      if (dueMs !== undefined) this.clock.advance(Math.max(0, dueMs - this.clock.now()));
    }
    throw new Error(`${what}: not so\n${JSON.stringify((await this.vpa()).status, undefined, 1)}\n${(await this.events()).join("\n")}`);
  }
  async samples(): Promise<number> {
    const { items } = await this.server.client.list<KubeObject>(verticalPodAutoscalerCheckpoints, { namespace: "default" });
    return (items as unknown as VerticalPodAutoscalerCheckpoint[])[0]?.status?.totalSamplesCount ?? 0;
  }
  async minutes(count: number): Promise<void> {
    const endMs = this.clock.now() + count * minuteMs;
    await this.until(`${count} minutes`, async () => this.clock.now() >= endMs);
  }
}

const target = async (world: World) => {
  const { cpu, memory } = (await world.vpa()).status?.recommendation?.containerRecommendations?.[0]?.target ?? {};
  return { milli: cpu === undefined ? 0 : quantityMilliValue(String(cpu)), Mi: memory === undefined ? 0 : Math.round(quantityValue(String(memory)) / Mi) };
};
const conditions = async (world: World) => ((await world.vpa()).status?.conditions ?? []).map(({ type, status, message }) => `${type}=${status}${message ? ` ${message}` : ""}`).join("; ");

describe("a vertical autoscaler over the real API", () => {
  test("recommends from what is used; what it knows outlives it", async () => {
    await using world = await World.make({ requests: { cpu: "1", memory: "64Mi" } });
    await world.autoscaler({});
    await world.until("a recommendation", async () => (await target(world)).milli > 0);
    await world.minutes(60);
    const before = await target(world);
    assert.ok(before.milli >= 220 && before.milli <= 300 && before.Mi >= 440 && before.Mi <= 600, JSON.stringify(before));
    assert.equal(await conditions(world), "RecommendationProvided=True");
    await world.end();
    const known = await world.samples();
    assert.ok(known >= 100, `${known} samples of two pods in an hour`);
    // Another load for a moment: an hour of history is not forgotten for it.
    world.cores = 0.9;
    await world.begin();
    await world.minutes(3);
    assert.ok(Math.abs((await target(world)).milli - before.milli) < 80, JSON.stringify(await target(world)));
    await world.minutes(60);
    assert.ok((await target(world)).milli > 900);
    assert.equal((await world.pod("a")).spec!.containers[0]!.resources!.requests!["cpu"], "1", "Off touches nothing");
  });

  test("resizes in place, one of two at a time", async () => {
    await using world = await World.make({ requests: { cpu: "10m", memory: "64Mi" }, limits: { cpu: "20m", memory: "128Mi" } });
    await world.autoscaler({ updatePolicy: { updateMode: "InPlaceOrRecreate" } });
    const sizes = async (name: string) => (await world.pod(name)).spec!.containers[0]!.resources!;
    await world.until("a resize", async () => (await world.events()).some((line) => line.includes("InPlaceResizedByVPA")));
    const [a, b] = [await sizes("a"), await sizes("b")];
    const [resized, other] = a.requests!["cpu"] === "10m" ? [b, a] : [a, b];
    assert.equal(other.requests!["cpu"], "10m");
    const { milli } = await target(world);
    const cpu = quantityMilliValue(String(resized.requests!["cpu"]));
    assert.ok(Math.abs(cpu - milli) < 60, `${cpu} of ${milli}`);
    assert.equal(quantityMilliValue(String(resized.limits!["cpu"])), 2 * cpu, "the limit in proportion");
    const changed = a.requests!["cpu"] === "10m" ? "b" : "a";
    assert.equal((await world.pod(changed)).metadata.annotations!["vpaInPlaceUpdated"], "true");
  });

  test("evicts where a budget lets it", async () => {
    await using world = await World.make({ requests: { cpu: "10m", memory: "64Mi" } });
    const { client } = world.server;
    await client.create(resources.podDisruptionBudgets, "default", { metadata: { name: "web" }, spec: { minAvailable: 2, selector: { matchLabels: { app: "web" } } } });
    const budget = (disruptionsAllowed: number) => client.patch(resources.podDisruptionBudgets, "default", "web", { status: { observedGeneration: 1, disruptionsAllowed, currentHealthy: 2, desiredHealthy: 2 - disruptionsAllowed, expectedPods: 2 } }, { subresource: "status" });
    await budget(0);
    await world.autoscaler({ updatePolicy: { updateMode: "Recreate" } });
    await world.until("a refusal", async () => (await world.events()).some((line) => line.startsWith("Warning EvictionRefused: Pod")));
    assert.deepEqual([(await world.pod("a")).metadata.deletionTimestamp, (await world.pod("b")).metadata.deletionTimestamp], [undefined, undefined]);
    await budget(1);
    await world.until("an eviction", async () => (await world.events()).some((line) => /^Normal EvictedPod: VPA Updater evicted Pod [ab] to apply resource recommendation\.$/.test(line)));
    const { items } = await client.list<Pod>(resources.pods, { namespace: "default" });
    assert.equal(items.filter(({ metadata }) => !metadata.deletionTimestamp).length, 1);
  });

  test("nobody is evicted for a successor that could not run", async () => {
    await using world = await World.make({ requests: { cpu: "10m", memory: "64Mi" } });
    await world.node({ cpu: "200m", memory: "16Gi" });
    await world.autoscaler({ updatePolicy: { updateMode: "Recreate" } });
    await world.until("a warning", async () => (await world.events()).some((line) => line.startsWith("Warning NoRoom: Left as they are, for no node has room for another of the recommended size: ")));
    assert.deepEqual(await target(world), { milli: 200, Mi: (await target(world)).Mi }, "more than the node has is recommended to nobody");
    assert.deepEqual([(await world.pod("a")).metadata.deletionTimestamp, (await world.pod("b")).metadata.deletionTimestamp], [undefined, undefined]);
    await world.node({ cpu: "8", memory: "16Gi" });
    await world.until("an eviction", async () => (await world.events()).some((line) => line.startsWith("Normal EvictedPod")));
  });

  test("a resize that the API refuses becomes an eviction, and says so", async () => {
    // A pod without requests is best effort, which no resize may change.
    await using world = await World.make(undefined);
    await world.autoscaler({ updatePolicy: { updateMode: "InPlaceOrRecreate" } });
    await world.until("an eviction", async () => (await world.events()).some((line) => line.startsWith("Normal EvictedPod")));
    assert.ok((await world.events()).some((line) => /^Warning InPlaceResizeRefused: Pod [ab] cannot be resized where it runs and is evicted instead: .*Pod QOS Class may not change as a result of resizing/.test(line)), (await world.events()).join("\n"));
  });

  test("killed for its memory: more is recommended", async () => {
    await using world = await World.make({ requests: { cpu: "250m", memory: "1000Mi" } });
    await world.autoscaler({});
    await world.until("a recommendation", async () => (await target(world)).Mi > 0);
    const before = (await target(world)).Mi;
    const end = { exitCode: 137, reason: "OOMKilled", startedAt: timestamp(world.clock.now() - minuteMs), finishedAt: timestamp(world.clock.now()) };
    await world.server.client.patch(resources.pods, "default", "a", { status: { containerStatuses: [{ name: "app", image: "i", imageID: "", ready: true, restartCount: 1, state: { running: {} }, lastState: { terminated: end } }] } }, { subresource: "status" });
    await world.until("more", async () => (await target(world)).Mi > before);
    const after = (await target(world)).Mi;
    assert.ok(after >= 1200 && after < 1600, `${after} Mi`);
    await world.minutes(5);
    assert.equal((await target(world)).Mi, after, "counted once");
  });

  test("killed with what it had before it was resized: that is what was too little", async () => {
    await using world = await World.make({ requests: { cpu: "10m", memory: "64Mi" } });
    world.bytes = 30 * Mi;
    await world.autoscaler({ updatePolicy: { updateMode: "InPlaceOrRecreate" } });
    await world.until("a resize", async () => (await world.events()).some((line) => line.includes("InPlaceResizedByVPA")));
    const name = (await world.pod("a")).spec!.containers[0]!.resources!.requests!["memory"] === "64Mi" ? "b" : "a";
    const resizedMs = world.clock.now();
    const killed = (startedMs: number) => {
      const end = { exitCode: 137, reason: "OOMKilled", startedAt: timestamp(startedMs), finishedAt: timestamp(world.clock.now()) };
      const status = { name: "app", image: "i", imageID: "", ready: true, restartCount: Math.round(world.clock.now() / 1000) % 1e6, state: { running: {} }, lastState: { terminated: end }, resources: { requests: { cpu: "250m", memory: "250Mi" } } };
      return world.server.client.patch(resources.pods, "default", name, { status: { containerStatuses: [status] } }, { subresource: "status" });
    };
    await world.minutes(1);
    await killed(resizedMs - 10 * minuteMs);
    await world.minutes(3);
    assert.equal((await target(world)).Mi, 250, "100 Mi more than 64, and the margin, are less than the least");
    await killed(world.clock.now() - minuteMs);
    await world.until("more", async () => (await target(world)).Mi >= 400);
  });

  test("what it cannot follow, and who works against it", async () => {
    await using world = await World.make({ requests: { cpu: "250m", memory: "1000Mi" } });
    await world.autoscaler({ targetRef: { apiVersion: "apps/v1", kind: "ReplicaSet", name: "web-1" } });
    const { client } = world.server;
    const follow = (targetRef: object) => client.patch(verticalPodAutoscalers, "default", "web", { spec: { targetRef, updatePolicy: { updateMode: "Recreate" } } }, { type: "merge" });
    const nobody = "NoPodsMatched=True No pods match this VPA object; RecommendationProvided=False No pods match this VPA object";
    const cases: [targetRef: object, problem: string][] = [
      [{ apiVersion: "apps/v1", kind: "ReplicaSet", name: "web-1" }, "The target apps/v1.ReplicaSet/web-1 has a parent controller but it should point to a topmost well-known or scalable controller"],
      [{ apiVersion: "apps/v1", kind: "Deployment", name: "gone" }, "Cannot read targetRef. Reason: Deployment default/gone does not exist"],
      [{ apiVersion: "example.com/v1", kind: "Thing", name: "x" }, 'Cannot read targetRef. Reason: unhandled targetRef example.com/v1 / Thing / x, last error no matches for kind "Thing" in group "example.com"'],
    ];
    for (const [targetRef, problem] of cases) {
      await follow(targetRef);
      await world.until(problem, async () => (await conditions(world)) === `ConfigUnsupported=True ${problem}; ${nobody}`);
    }
    await client.create({ group: "autoscaling", version: "v2", resource: "horizontalpodautoscalers" }, "default", { metadata: { name: "wide" }, spec: { scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "web" }, maxReplicas: 3, metrics: [{ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 50 } } }] } });
    await follow({ apiVersion: "apps/v1", kind: "Deployment", name: "web" });
    await world.until("a recommendation", async () => (await conditions(world)) === "RecommendationProvided=True");
    await world.until("a warning", async () => (await world.events()).some((line) => line.startsWith("Warning ScaledByBoth: HorizontalPodAutoscaler wide scales Deployment web by cpu, which this autoscaler changes")));
  });
});
