import { statfs } from "node:fs/promises";
import { microTimestamp } from "../api/meta.ts";
import { nodeName, resources } from "../api/resources.ts";
import { StatusError } from "../api/status.ts";
import type { Lease, Node } from "../api/types.ts";
import type { Timer } from "../base/clock.ts";
import type { NodeContext } from "./context.ts";
import { newNode, nodeStatus, readMachine } from "./node-object.ts";

const leaseNamespace = "kube-node-lease";
const leaseSeconds = 40;
const renewMs = 10_000;

/** Keeps the Node object and its Lease: the lease is renewed every 10 s, the status is written when it changes. */
export class NodeRegistration {
  readonly #ctx: NodeContext;
  readonly #version: string;
  #node: Node | undefined;
  #lease: Lease | undefined;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(ctx: NodeContext, version: string) {
    this.#ctx = ctx;
    this.#version = version;
  }

  /** Resolves when the node is registered and Ready; tries until then. */
  async start(): Promise<void> {
    await this.#beat();
  }
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #beat(): Promise<void> {
    try {
      await this.#writeNode();
      await this.#renewLease();
    } catch (error) {
      // The API is restarted within a second; the next beat finds it. Conflicts are read again.
      this.#node = undefined;
      this.#lease = undefined;
      this.#ctx.log.debug("node heartbeat failed", { error });
    }
    if (!this.#stopped) this.#timer = this.#ctx.clock.setTimer(this.#node && this.#lease ? renewMs : 1000, () => void this.#beat());
  }

  async #writeNode(): Promise<void> {
    const { client, clock, dataDir, sandbox, hostIP } = this.#ctx;
    const wanted = newNode();
    this.#node ??= await getOrCreate<Node>(this.#ctx, resources.nodes, undefined, nodeName, wanted);
    const { bavail, blocks, bsize } = await statfs(dataDir);
    const machine = readMachine({ freeBytes: bavail * bsize, totalBytes: blocks * bsize });
    const status = nodeStatus(this.#node.status, { mode: sandbox.mode, findings: sandbox.findings, machine, hostIP, version: this.#version }, clock.now());
    const missing = Object.entries(wanted.metadata.labels).filter(([key, value]) => this.#node!.metadata.labels?.[key] !== value);
    if (missing.length > 0) this.#node = await client.patch<Node>(resources.nodes, undefined, nodeName, { metadata: { labels: Object.fromEntries(missing) } }, { type: "merge" });
    const { images: _, ...before } = this.#node.status ?? {};
    if (JSON.stringify(sorted(before)) !== JSON.stringify(sorted(status))) this.#node = await client.patch<Node>(resources.nodes, undefined, nodeName, { status }, { type: "merge", subresource: "status" });
  }

  async #renewLease(): Promise<void> {
    const { client, clock } = this.#ctx;
    const renewTime = microTimestamp(clock.now());
    const spec = { holderIdentity: nodeName, leaseDurationSeconds: leaseSeconds, renewTime };
    if (!this.#lease) {
      const owner = { apiVersion: "v1", kind: "Node", name: nodeName, uid: this.#node!.metadata.uid };
      this.#lease = await getOrCreate<Lease>(this.#ctx, resources.leases, leaseNamespace, nodeName, { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: nodeName, namespace: leaseNamespace, ownerReferences: [owner] }, spec });
    }
    this.#lease = await client.update<Lease>(resources.leases, leaseNamespace, nodeName, { ...this.#lease, spec: { ...this.#lease.spec, ...spec } });
  }
}

async function getOrCreate<T>({ client }: NodeContext, resource: typeof resources.nodes | typeof resources.leases, namespace: string | undefined, name: string, object: object): Promise<T> {
  try {
    return await client.get<T>(resource, namespace, name);
  } catch (error) {
    if (!(error instanceof StatusError) || error.code !== 404) throw error;
    return await client.create<T>(resource, namespace, object);
  }
}

/** Keys in order, so that the same status compares equal however it was written. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, item]) => [key, sorted(item)]));
}
