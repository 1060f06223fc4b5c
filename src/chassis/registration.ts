import { isIP } from "node:net";
import type { Client } from "../api/client.ts";
import type { KubeObject } from "../api/meta.ts";
import { StatusError } from "../api/status.ts";
import { type Clock, delay, systemClock } from "../base/clock.ts";
import { type SliceObject, serviceLabel, slices } from "./discovery.ts";
import { microTime } from "./lease.ts";

/**
 * Programs outside the cluster as endpoints of a Service in it: a machine in the next room, an old system. To everybody in the
 * cluster they are a Service like any other.
 *
 *   Service NAME without a selector            made where there is none
 *   EndpointSlice NAME-INSTANCE                address and port of one instance; owned by
 *   Lease NAME-INSTANCE                        its sign of life: `renewTime` is when it was last seen
 *
 * Who registers also looks after the others: an instance whose Lease has not changed for its duration is set to not ready, and
 * one that stays away is removed. That is measured here, from when its last change was seen; no two clocks are compared.
 */
export interface RegistrationOptions {
  client: Client;
  namespace: string;
  service: string;
  /** Unlike that of any other instance of the service: "billing-1". It keeps its place when it comes back. */
  instance: string;
  /** An IPv4 or IPv6 address that pods can reach; not a loopback address, which the API refuses. */
  address: string;
  port: number;
  portName?: string;
  /** The Service's own port, where it is made; that of the instance unless said. */
  servicePort?: number;
  /** Between signs of life; 10 s unless said. */
  everyMs?: number;
  /** Without one for so long it is not ready; three times `everyMs` unless said; whole seconds. */
  expiresMs?: number;
  clock?: Clock;
  /** Of a sign of life that failed; the next is given all the same. */
  onError?: (error: unknown) => void;
}

export interface Registration {
  /** False: out of the endpoints, and still there. */
  setReady(isReady: boolean): Promise<void>;
  /** Removes it at once. */
  deregister(): Promise<void>;
}

export interface Instance {
  instance: string;
  address: string;
  port: number;
  healthy: boolean;
  /** RFC 3339, by the instance's own clock. */
  lastSeen: string | undefined;
}

const leases = { group: "coordination.k8s.io", version: "v1", resource: "leases" };
const services = { group: "", version: "v1", resource: "services" };
const managerLabel = "endpointslice.kubernetes.io/managed-by";
const manager = "registration.wherry.dev";
const instanceLabel = "registration.wherry.dev/instance";
/** Times its duration that it may stay away before it is removed. */
const removedAfter = 10;

interface LeaseObject extends KubeObject {
  spec?: { holderIdentity?: string; leaseDurationSeconds?: number; renewTime?: string; acquireTime?: string };
}

/** Resolves when it is registered; then it gives signs of life until it is deregistered. */
export async function register(options: RegistrationOptions): Promise<Registration> {
  const made = new Registered(options);
  await made.start();
  return made;
}

class Registered implements Registration {
  readonly #options: RegistrationOptions;
  readonly #clock: Clock;
  readonly #name: string;
  readonly #expiresMs: number;
  readonly #stop = new AbortController();
  readonly #seen = new Map<string, { text: string; atMs: number }>();
  #lookedAtMs = 0;
  #isReady = true;
  #running: Promise<void> | undefined;

  constructor(options: RegistrationOptions) {
    const { service, instance, address, port, everyMs = 10_000, expiresMs = everyMs * 3 } = options;
    if (isIP(address) === 0) throw new TypeError(`address: Invalid value: "${address}": must be an IP address`);
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new TypeError(`port: Invalid value: ${port}: must be between 1 and 65535`);
    if (!Number.isInteger(expiresMs / 1000) || expiresMs <= everyMs) throw new TypeError(`expiresMs: Invalid value: ${expiresMs}: must be whole seconds, and more than everyMs (${everyMs})`);
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#name = `${service}-${instance}`;
    this.#expiresMs = expiresMs;
  }

  async start(): Promise<void> {
    await this.#makeService();
    await this.#beat();
    await this.#writeSlice();
    this.#running = this.#run();
  }

  async setReady(isReady: boolean): Promise<void> {
    this.#isReady = isReady;
    await this.#writeSlice();
  }

  async deregister(): Promise<void> {
    this.#stop.abort(new Error("deregistered"));
    await this.#running;
    const { client, namespace } = this.#options;
    // The slice first: nobody is sent there any more. With the Lease the rest would go by itself.
    for (const resource of [slices, leases]) await client.delete(resource, namespace, this.#name, this.#inTime()).catch(unless(404));
  }

  async #run(): Promise<void> {
    const { everyMs = 10_000, onError } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await delay(this.#clock, everyMs, signal).catch(() => {});
      if (signal.aborted) return;
      try {
        // Somebody took it for dead, or removed it: it is there again.
        if (await this.#beat()) await this.#writeSlice();
        const mine = await this.#options.client.get<SliceObject>(slices, this.#options.namespace, this.#name, this.#inTime()).catch(unless(404));
        if ((mine?.endpoints?.[0]?.conditions?.ready ?? false) !== this.#isReady) await this.#writeSlice();
        await this.#lookAfterOthers();
      } catch (error) {
        onError?.(error);
      }
    }
  }

  async #makeService(): Promise<void> {
    const { client, namespace, service, port, portName, servicePort = port } = this.#options;
    const existing = await client.get<KubeObject>(services, namespace, service, this.#inTime()).catch(unless(404));
    if (existing?.["spec"]?.selector && Object.keys(existing["spec"].selector as object).length > 0) throw new Error(`Service ${namespace}/${service} has a selector: its endpoints are pods, and are not to be registered`);
    if (existing) return;
    await client
      .create(services, namespace, { apiVersion: "v1", kind: "Service", metadata: { name: service, labels: { "app.kubernetes.io/managed-by": manager } }, spec: { ports: [{ ...(portName !== undefined && { name: portName }), port: servicePort, targetPort: port, protocol: "TCP" }] } }, this.#inTime())
      // Another instance was faster.
      .catch(unless(409));
  }

  /** Whether the Lease was made anew. */
  async #beat(): Promise<boolean> {
    const { client, namespace, instance } = this.#options;
    const now = microTime(this.#clock.now());
    const spec = { holderIdentity: instance, leaseDurationSeconds: this.#expiresMs / 1000, renewTime: now };
    const patched = await client.patch<LeaseObject>(leases, namespace, this.#name, { spec }, this.#inTime()).catch(unless(404));
    if (patched) return false;
    await client.create(leases, namespace, { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: this.#name, labels: this.#labels() }, spec: { ...spec, acquireTime: now } }, this.#inTime()).catch(unless(409));
    return true;
  }

  async #writeSlice(): Promise<void> {
    const { client, namespace, address, port, portName } = this.#options;
    const lease = await client.get<LeaseObject>(leases, namespace, this.#name, this.#inTime());
    const slice = {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { name: this.#name, labels: { ...this.#labels(), [managerLabel]: manager }, ownerReferences: [{ apiVersion: "coordination.k8s.io/v1", kind: "Lease", name: this.#name, uid: lease.metadata.uid }] },
      addressType: isIP(address) === 6 ? "IPv6" : "IPv4",
      endpoints: [{ addresses: [address], conditions: { ready: this.#isReady, serving: this.#isReady, terminating: false } }],
      ports: [{ name: portName ?? "", port, protocol: "TCP" }],
    };
    const existing = await client.get<SliceObject>(slices, namespace, this.#name, this.#inTime()).catch(unless(404));
    // The type of its addresses cannot be changed.
    if (existing && existing.addressType !== slice.addressType) await client.delete(slices, namespace, this.#name, this.#inTime()).catch(unless(404));
    if (existing && existing.addressType === slice.addressType) await client.update(slices, namespace, this.#name, slice, this.#inTime());
    else await client.create(slices, namespace, slice, this.#inTime()).catch(unless(409));
  }

  async #lookAfterOthers(): Promise<void> {
    const { client, namespace, service } = this.#options;
    const list = await client.list<LeaseObject>(leases, { namespace, labelSelector: `${serviceLabel}=${service},${managerLabel}=${manager}`, ...this.#inTime() });
    const now = this.#clock.monotonicMs();
    // Who slept, or could not reach the API for so long, has not seen that the others were silent; nor could they be heard.
    if (now - this.#lookedAtMs >= this.#expiresMs) this.#seen.clear();
    this.#lookedAtMs = now;
    for (const { metadata, spec } of list.items) {
      if (metadata.name === this.#name) continue;
      const text = `${metadata.uid} ${spec?.renewTime}`;
      const seen = this.#seen.get(metadata.name);
      if (seen?.text !== text) {
        this.#seen.set(metadata.name, { text, atMs: now });
        continue;
      }
      const durationMs = (spec?.leaseDurationSeconds ?? 30) * 1000;
      if (now - seen.atMs < durationMs) continue;
      if (now - seen.atMs >= durationMs * removedAfter) {
        for (const resource of [slices, leases]) await client.delete(resource, namespace, metadata.name, this.#inTime()).catch(unless(404));
        continue;
      }
      const slice = await client.get<SliceObject>(slices, namespace, metadata.name, this.#inTime()).catch(unless(404));
      if (!slice?.endpoints?.some(({ conditions }) => conditions?.ready !== false)) continue;
      const endpoints = slice.endpoints.map((endpoint) => ({ ...endpoint, conditions: { ...endpoint.conditions, ready: false, serving: false } }));
      await client.update(slices, namespace, metadata.name, { ...slice, endpoints }, this.#inTime()).catch(unless(404, 409));
    }
    const names = new Set(list.items.map(({ metadata }) => metadata.name));
    for (const name of this.#seen.keys()) if (!names.has(name)) this.#seen.delete(name);
  }

  /** A connection that died while this machine was asleep must not hold up the signs of life. */
  #inTime(): { signal: AbortSignal } {
    return { signal: AbortSignal.timeout(Math.max(1_000, this.#options.everyMs ?? 10_000)) };
  }

  #labels(): Record<string, string> {
    const { service, instance } = this.#options;
    return { [serviceLabel]: service, [managerLabel]: manager, [instanceLabel]: instance };
  }
}

/** All registered instances of a service, with when they were last seen. */
export async function listInstances({ client, namespace, service }: Pick<RegistrationOptions, "client" | "namespace" | "service">): Promise<Instance[]> {
  const labelSelector = `${serviceLabel}=${service},${managerLabel}=${manager}`;
  const [found, signs] = await Promise.all([client.list<SliceObject>(slices, { namespace, labelSelector }), client.list<LeaseObject>(leases, { namespace, labelSelector })]);
  const lastSeen = new Map(signs.items.map(({ metadata, spec }) => [metadata.name, spec?.renewTime]));
  return found.items.flatMap(({ metadata, endpoints, ports }) =>
    (endpoints ?? []).map(({ addresses, conditions }) => ({ instance: metadata.labels?.[instanceLabel] ?? metadata.name, address: addresses[0]!, port: ports?.[0]?.port ?? 0, healthy: conditions?.ready !== false, lastSeen: lastSeen.get(metadata.name) })),
  );
}

/** Of a rejection with one of these codes: undefined. */
function unless(...codes: number[]): (error: unknown) => undefined {
  return (error) => {
    if (error instanceof StatusError && codes.includes(error.code)) return undefined;
    throw error;
  };
}
