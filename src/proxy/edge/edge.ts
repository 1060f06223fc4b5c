import { randomBytes } from "node:crypto";
import type { EdgeListener, Route, TrafficPatch, TrafficSnapshot, Upstream } from "../../api/traffic.ts";
import type { TcpHandle } from "../../base/handles.ts";
import type { Log } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import type { FilterTools } from "../../policy/exchange.ts";
import { PolicyError } from "../../policy/policy-error.ts";
import { RouteTable } from "../../policy/route-table.ts";
import { SessionNames } from "../../policy/session-token.ts";
import { createUpstreamPolicy, type UpstreamTools } from "../../policy/upstream-policy.ts";
import type { UpstreamPolicy } from "../../policy/upstream.ts";
import type { dial } from "../dial.ts";
import { Engine } from "../http/engine.ts";
import { resetHandle } from "../pump.ts";
import { type ServicePort, type ServiceTable, servicePortKey } from "../service-table.ts";
import { TrafficState } from "../traffic-state.ts";
import { HttpPort } from "./http-port.ts";

export interface EdgeOptions {
  table: ServiceTable;
  dial: typeof dial;
  random: Random;
  log: Log;
  accessLog?: (lines: string) => void;
}

/**
 * What Gateways serve, in one worker: listeners by address and port, routes in one table, one upstream a Service port. Told by
 * patches; a request sees a patch whole or not at all, since nothing awaits while one is applied.
 */
export class Edge {
  readonly engine: Engine;
  readonly routes: RouteTable;
  readonly #options: EdgeOptions;
  readonly #state = new TrafficState();
  readonly #upstreams = new Map<string, UpstreamPolicy>();
  /** Upstreams by the Service port behind them. */
  readonly #byServicePort = new Map<string, Set<string>>();
  /** By "ADDRESS:PORT". */
  readonly #httpPorts = new Map<string, HttpPort>();
  readonly #tools: UpstreamTools;

  constructor(options: EdgeOptions, { sessionKey, ...traffic }: TrafficSnapshot) {
    const { random } = options;
    this.#options = options;
    const tools: FilterTools = { random, nowMs: () => performance.now(), setTimer, ...(sessionKey !== undefined && { sessionKey }) };
    this.engine = new Engine({ dial: options.dial, random, ...(options.accessLog && { accessLog: options.accessLog }) });
    this.routes = new RouteTable(tools);
    this.#tools = { random, nowMs: tools.nowMs, sessions: new SessionNames(sessionKey ?? randomBytes(16).toString("hex")) };
    this.apply({ revision: traffic.revision, whole: true, put: traffic, remove: {} });
  }

  /** Addresses that are listened at. */
  get listeners(): ReadonlyMap<string, EdgeListener> {
    return this.#state.listeners;
  }

  apply(patch: TrafficPatch): void {
    const { put, remove } = this.#state.apply(patch);
    for (const id of remove.routes ?? []) this.routes.remove(id);
    for (const id of remove.upstreams ?? []) this.#removeUpstream(id);
    for (const upstream of put.upstreams ?? []) this.#putUpstream(upstream);
    for (const route of put.routes ?? []) this.#putRoute(route);
    if (put.listeners || remove.listeners) this.#relisten();
  }

  /** Endpoints of these Service ports came or went; of all when none are named. */
  refresh(ports?: readonly ServicePort[]): void {
    const keys = ports ? ports.map(({ key }) => key) : this.#byServicePort.keys();
    for (const key of keys) for (const id of this.#byServicePort.get(key) ?? []) this.#refreshUpstream(id, key);
  }

  /** A connection that was accepted there. */
  accept(client: TcpHandle, address: string, port: number): void {
    const http = this.#httpPorts.get(`${address}:${port}`);
    if (!http) return resetHandle(client);
    client.setNoDelay(true);
    this.engine.accept(client, http);
  }

  #putRoute(route: Route): void {
    // A kind's change of type cannot be: its id names the kind.
    if (route.type !== "http") return;
    try {
      this.routes.put(route);
    } catch (error) {
      // The compiler has checked it: this is a fault of ours, and only this route's loss.
      if (!(error instanceof PolicyError)) throw error;
      this.#options.log.error("a route is not served", { route: route.id, error: error.message });
      this.routes.remove(route.id);
    }
  }

  #putUpstream(upstream: Upstream): void {
    const { id, namespace, service, port } = upstream;
    let policy = this.#upstreams.get(id);
    if (policy) policy.configure(upstream);
    else this.#upstreams.set(id, (policy = createUpstreamPolicy(upstream, this.#tools)));
    this.engine.putUpstream({ id, connectMs: upstream.connectMs ?? 3_000, idleMs: upstream.idleMs ?? 60_000 }, policy);
    const key = servicePortKey(namespace, service, "TCP", port);
    const ids = this.#byServicePort.get(key);
    if (ids) ids.add(id);
    else this.#byServicePort.set(key, new Set([id]));
    this.#refreshUpstream(id, key);
  }

  #removeUpstream(id: string): void {
    this.#upstreams.delete(id);
    this.engine.removeUpstream(id);
    for (const [key, ids] of this.#byServicePort) if (ids.delete(id) && ids.size === 0) this.#byServicePort.delete(key);
  }

  #refreshUpstream(id: string, key: string): void {
    this.#upstreams.get(id)?.update(this.#options.table.ports.get(key)?.active ?? []);
  }

  /** Listeners are few, and change rarely. */
  #relisten(): void {
    const byPort = new Map<string, EdgeListener[]>();
    for (const listener of this.#state.listeners.values()) {
      if (listener.protocol !== "HTTP") continue;
      const at = `${listener.address}:${listener.port}`;
      byPort.set(at, [...(byPort.get(at) ?? []), listener]);
    }
    for (const at of this.#httpPorts.keys()) if (!byPort.has(at)) this.#httpPorts.delete(at);
    for (const [at, listeners] of byPort) {
      const known = this.#httpPorts.get(at);
      if (known) known.listeners = listeners;
      else this.#httpPorts.set(at, new HttpPort(listeners, this.routes));
    }
  }

  close(): void {
    this.engine.close();
  }
}

function setTimer(delayMs: number, callback: () => void): { cancel(): void } {
  const timer = setTimeout(callback, delayMs).unref();
  return { cancel: () => clearTimeout(timer) };
}
