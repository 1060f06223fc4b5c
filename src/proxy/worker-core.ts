import type { NetSnapshot } from "../api/network.ts";
import type { TcpHandle, UdpHandle } from "../base/handles.ts";
import type { Log } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import { hash } from "../policy/balance.ts";
import { Listeners, type Keeper, type ListenerSpec } from "./listeners.ts";
import type { HostListener, WorkerInit } from "./messages.ts";
import { type ServicePort, ServiceTable, servicePortKey } from "./service-table.ts";
import { Connections } from "./tcp-service.ts";

/** What a worker asks of `wherry`, which alone lives outside the pod network. */
export interface Outside {
  dial(ip: string, port: number): Promise<TcpHandle>;
  resolve(name: string, type: string): Promise<unknown[]>;
}

const connectionsMax = 20_000;

/** One `wherry-net` worker: the snapshot's listeners, kept in step with endpoints as they come and go. */
export class Worker {
  readonly init: WorkerInit;
  readonly #table: ServiceTable;
  readonly #listeners: Listeners;
  readonly #connections = new Connections(connectionsMax);
  #hostListeners: HostListener[];
  /** Listener keys by the Service port they lead to. */
  #keysOf = new Map<ServicePort, string[]>();

  constructor(init: WorkerInit, keeper: Keeper, _outside: Outside, log: Log) {
    this.init = init;
    this.#hostListeners = init.hostListeners;
    this.#table = new ServiceTable(init.snapshot, systemRandom);
    for (const [ip, ready] of init.overrides) this.#table.setReady(ip, ready);
    this.#listeners = new Listeners(keeper, init.mode, init.kept, log);
    this.#want();
  }

  apply(snapshot: NetSnapshot, hostListeners: HostListener[]): void {
    this.#hostListeners = hostListeners;
    this.#table.apply(snapshot);
    this.#want();
  }

  setReady(ip: string, ready: boolean | undefined): void {
    for (const port of this.#table.setReady(ip, ready)) {
      for (const key of this.#keysOf.get(port) ?? []) this.#listeners.setOpen(key, port.active.length > 0);
    }
  }

  give(key: string, handle: TcpHandle | UdpHandle, listening: boolean): void {
    this.#listeners.give(key, handle, listening);
  }

  #want(): void {
    const specs = new Map<string, ListenerSpec>();
    this.#keysOf = new Map();
    const add = (key: string, port: ServicePort, spec: Pick<ListenerSpec, "protocol" | "ip" | "port" | "given">) => {
      if (spec.protocol === "UDP") return;
      specs.set(key, { ...spec, open: port.active.length > 0, accept: (client) => this.#connections.serve(client, port) });
      this.#keysOf.set(port, [...(this.#keysOf.get(port) ?? []), key]);
    };
    for (const port of this.#table.ports.values()) {
      const { protocol } = port.port;
      // Datagrams of one client must meet one worker; connections may meet any.
      if (protocol === "UDP" && hash(port.key) % this.init.workers !== this.init.index) continue;
      for (const ip of port.service.clusterIPs) add(`${protocol.toLowerCase()}/${ip}:${port.port.port}`, port, { protocol, ip, port: port.port.port, given: false });
    }
    for (const { key, serves } of this.#hostListeners) {
      if (serves.type !== "service") continue;
      const port = this.#table.ports.get(servicePortKey(serves.namespace, serves.service, serves.protocol, serves.port));
      if (port) add(key, port, { protocol: serves.protocol, ip: "", port: 0, given: true });
    }
    this.#listeners.want(specs);
  }
}
