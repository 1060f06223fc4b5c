import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ProbeRequest, ProbeResult, Readiness } from "../../api/network.ts";
import { resources } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import type { Pod } from "../../api/types.ts";
import { FakeClock } from "../../base/clock.ts";
import { silentLog } from "../../base/log.ts";
import type { NodeContext } from "../context.ts";
import type { Image } from "../images/image.ts";
import { NodeAllocations } from "../pod/allocations.ts";
import { PodWorker } from "../pod/worker.ts";
import type { ContainerSpec } from "../sandbox/sandbox.ts";
import type { ClusterTrustBundle } from "../volumes/trust-bundle.ts";
import { FakeSandbox } from "./fake-sandbox.ts";
import { MemoryClient } from "./memory-client.ts";

export const plainImage: Image = { id: "wherry://test", entrypoint: ["serve"], cmd: [], env: {}, workingDir: "/", user: "1000", users: {}, mounts: [], volumes: [], stopSignal: "SIGTERM", notices: [] };

export const plainSpec: ContainerSpec = { name: "app", argv: [], env: { PATH: process.env["PATH"] ?? "" }, workingDir: "/", uid: 0, gid: 0, userName: "root", homeDir: "/", mounts: [], readOnlyRoot: false, limits: {}, stdin: false, tty: false };

/** An agent's surroundings in memory, and one pod at a time in it. */
export class NodeHarness implements AsyncDisposable {
  readonly dataDir = mkdtempSync(join(tmpdir(), "wherry-node-"));
  readonly client = new MemoryClient();
  readonly sandbox: FakeSandbox;
  readonly clock = new FakeClock();
  readonly events: { type: string; reason: string; message: string }[] = [];
  readonly readiness: { ip: string; ready: Readiness | undefined }[] = [];
  probe: (request: ProbeRequest) => Promise<ProbeResult> = async () => ({ success: true, output: "" });
  resolveImage: (image: string) => Promise<Image> = async () => plainImage;
  readonly ctx: NodeContext;
  readonly workers: PodWorker[] = [];

  constructor(kind: "scripted" | "processes" = "scripted") {
    this.sandbox = new FakeSandbox(kind, join(this.dataDir, "scratch"));
    const optional = async <T>(read: Promise<T>) => await read.catch((error: unknown) => {
      if (error instanceof StatusError && error.code === 404) return undefined;
      throw error;
    });
    this.ctx = {
      client: this.client,
      sandbox: this.sandbox,
      network: { probe: (request) => this.probe(request), setReady: (ip, ready) => void this.readiness.push({ ip, ready }) },
      clock: this.clock,
      log: silentLog,
      objects: {
        configMap: (namespace, name) => optional(this.client.get(resources.configMaps, namespace, name)),
        secret: (namespace, name) => optional(this.client.get(resources.secrets, namespace, name)),
        claim: (namespace, name) => optional(this.client.get(resources.persistentVolumeClaims, namespace, name)),
        volume: (name) => optional(this.client.get(resources.persistentVolumes, undefined, name)),
        trustBundles: async () => (await this.client.list<ClusterTrustBundle>(resources.clusterTrustBundles)).items,
        services: () => [],
      },
      images: { resolve: (image) => this.resolveImage(image) },
      allocations: new NodeAllocations({ cpuMillis: 4000, memoryBytes: 4 * 2 ** 30 }),
      uids: { acquire: () => process.getuid?.() ?? 0, group: (_, gid) => gid, release() {} },
      dataDir: this.dataDir,
      hostIP: "192.0.2.1",
      hostPathRoots: [],
      root: false,
      event: (_pod, type, reason, message) => void this.events.push({ type, reason, message }),
    };
  }

  /** Creates the pod in the API and hands it to a worker, which hears of its changes. */
  async run(spec: Partial<Pod["spec"] & object>, metadata: Partial<Pod["metadata"]> = {}, status: Pod["status"] = {}): Promise<PodWorker> {
    const pod = await this.client.create<Pod>(resources.pods, "default", { apiVersion: "v1", kind: "Pod", metadata: { name: "web", generation: 1, ...metadata }, spec: { containers: [{ name: "app", image: "app:1" }], nodeName: "wherry", ...spec }, status });
    const worker = new PodWorker(this.ctx, pod);
    this.workers.push(worker);
    const stop = new AbortController();
    void (async () => {
      for await (const { type, object } of this.client.watch<Pod>(resources.pods, { resourceVersion: pod.metadata.resourceVersion, signal: stop.signal })) {
        if (object.metadata.uid !== pod.metadata.uid) continue;
        if (type === "DELETED") {
          worker.remove();
          return;
        }
        worker.update(object);
      }
    })();
    void worker.ended.then(() => stop.abort());
    worker.start();
    await this.settle();
    return worker;
  }

  pod(name = "web"): Pod | undefined {
    return this.client.objects.get(`/core/pods/default/${name}`) as Pod | undefined;
  }

  /** Lets everything that can happen without time passing happen: until no file is being worked on and nothing new comes. */
  async settle(): Promise<void> {
    for (let quiet = 0, seen = -1; quiet < 8; ) {
      this.clock.advance(0);
      await new Promise((resolve) => setTimeout(resolve, 1));
      const now = this.client.writes.length + this.events.length + this.sandbox.started.length * 1000;
      const busy = process.getActiveResourcesInfo().some((name) => /^(FSReq|CloseReq)/.test(name));
      quiet = now === seen && !busy ? quiet + 1 : 0;
      seen = now;
    }
  }
  /** Moves time from timer to timer, letting each one's consequences happen before the next. */
  async advance(ms: number): Promise<void> {
    await this.settle();
    const endMs = this.clock.now() + ms;
    for (;;) {
      const dueMs = this.clock.nextDueMs();
      if (dueMs === undefined || dueMs > endMs) break;
      this.clock.advance(Math.max(0, dueMs - this.clock.now()));
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    this.clock.advance(endMs - this.clock.now());
    await this.settle();
  }
  /** Waits (in real time) until something is true; for real processes. */
  async until(what: () => boolean, deadlineMs = 10_000): Promise<void> {
    const end = performance.now() + deadlineMs;
    while (!what()) {
      if (performance.now() > end) throw new Error(`not true after ${deadlineMs} ms: ${what.toString()}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
  async [Symbol.asyncDispose](): Promise<void> {
    for (const worker of this.workers) {
      void worker.shutdown("fast");
      worker.kill();
    }
    await this.sandbox.stop();
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}
