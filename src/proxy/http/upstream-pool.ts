import type { Endpoint, UpstreamPolicy } from "../../policy/upstream.ts";
import type { dial } from "../dial.ts";
import type { Asked } from "./asker.ts";
import { UpstreamConnection, type UpstreamOwner } from "./upstream-connection.ts";
import type { Stream } from "./stream.ts";
import type { TcpHandle } from "../../base/handles.ts";

export interface UpstreamSettings {
  id: string;
  /** HTTP/1.1 unless said. */
  http2?: boolean;
  connectMs: number;
  idleMs: number;
  /** The policy's bound; when it becomes less, what is open beyond it must go. */
  connectionsMax?: number | undefined;
  /** Over TLS: makes a stream of the connected handle, or says why it cannot. */
  secure?: ((handle: TcpHandle, done: (stream: Stream | undefined, reason: string) => void) => void) | undefined;
}

/** Kept for one endpoint; beyond, the connection ends with its request. */
const idlePerEndpoint = 1024;

interface Waiting {
  endpoint: Endpoint;
  done: Connected;
  cancelled: boolean;
}
/** `connection`, or why there is none. */
export type Connected = (connection: Asked | undefined, reason: string, isOverflow: boolean) => void;

/** Whom a request of one Service port can be sent to. */
export interface Pool {
  settings: UpstreamSettings;
  readonly policy: UpstreamPolicy;
  /** Those that are open. */
  readonly connections: number;
  /** One that is there, at once. */
  take(endpoint: Endpoint): Asked | undefined;
  /** A new one; later. Returns how to give up waiting. */
  connect(endpoint: Endpoint, done: Connected): () => void;
  /** Closes what is idle to endpoints that get nothing more; running requests finish. */
  leave(isLeaving: (endpoint: Endpoint) => boolean): void;
  close(): void;
}

/** Connections to the endpoints of one Service port, the last used first: the rest may fall idle and end. */
export class UpstreamPool implements Pool {
  settings: UpstreamSettings;
  readonly policy: UpstreamPolicy;
  readonly #base: UpstreamOwner;
  readonly #dial: typeof dial;
  readonly #idle = new Map<string, UpstreamConnection[]>();
  readonly #open = new Set<UpstreamConnection>();
  readonly #waiting: Waiting[] = [];
  #closed = false;

  constructor(settings: UpstreamSettings, policy: UpstreamPolicy, base: Omit<UpstreamOwner, "idle" | "closed">, dialEndpoint: typeof dial) {
    this.settings = settings;
    this.policy = policy;
    this.#dial = dialEndpoint;
    this.#base = { ...base, idle: (connection) => this.#keep(connection), closed: (connection) => this.#gone(connection) };
  }

  get connections(): number {
    return this.#open.size;
  }

  take(endpoint: Endpoint): UpstreamConnection | undefined {
    const kept = this.#idle.get(endpoint.key);
    const connection = kept?.pop();
    if (connection) connection.deadline = Infinity;
    return connection;
  }

  connect(endpoint: Endpoint, done: Connected): () => void {
    const waiting: Waiting = { endpoint, done, cancelled: false };
    if (this.#takeSlot()) {
      this.#connect(waiting);
    } else if (this.policy.pendingStarted()) {
      this.#waiting.push(waiting);
    } else {
      waiting.cancelled = true;
      process.nextTick(() => {
        done(undefined, "as many requests as may are waiting for a connection", true);
        this.#base.output.flush();
      });
    }
    return () => {
      waiting.cancelled = true;
      const at = this.#waiting.indexOf(waiting);
      if (at < 0) return;
      this.#waiting.splice(at, 1);
      this.policy.pendingEnded();
    };
  }

  /** A free one, or one that an idle connection to another endpoint holds: nobody waits for a connection that nobody uses. */
  #takeSlot(): boolean {
    if (this.policy.connectionOpened()) return true;
    for (const kept of this.#idle.values()) {
      // Each that is closed leaves the list.
      while (kept.length > 0) {
        kept[0]!.close();
        if (this.policy.connectionOpened()) return true;
      }
    }
    return false;
  }

  /** The slot is taken already. */
  #connect(waiting: Waiting): void {
    const { endpoint } = waiting;
    this.#dial(endpoint.ip, endpoint.port, this.settings.connectMs, (status, handle) => {
      if (!handle) return this.#failed(waiting, status === -110 ? "it did not accept in time" : "it does not accept connections");
      if (!this.settings.secure) return this.#connected(waiting, handle);
      this.settings.secure(handle, (stream, reason) => (stream ? this.#connected(waiting, stream) : this.#failed(waiting, reason)));
    });
  }
  #connected(waiting: Waiting, handle: TcpHandle | Stream): void {
    const connection = new UpstreamConnection(handle, waiting.endpoint, this.#base);
    this.#open.add(connection);
    // The last one of an upstream that nobody names any more: its request began before, and is served.
    if (this.#closed) connection.forbidReuse();
    if (waiting.cancelled) return this.#keep(connection);
    waiting.done(connection, "", false);
    this.#base.output.flush();
  }
  #failed(waiting: Waiting, reason: string): void {
    this.policy.connectionClosed();
    this.#next();
    if (waiting.cancelled) return;
    waiting.done(undefined, reason, false);
    this.#base.output.flush();
  }

  #keep(connection: UpstreamConnection): void {
    if (this.#waiting.length > 0) {
      const at = this.#waiting.findIndex(({ endpoint }) => endpoint.key === connection.endpoint.key);
      // A slot in use by an endpoint that nobody waits for is freed for those who wait.
      if (at < 0) return connection.close();
      const [waiting] = this.#waiting.splice(at, 1);
      this.policy.pendingEnded();
      return void process.nextTick(() => {
        if (waiting!.cancelled) return this.#keep(connection);
        waiting!.done(connection, "", false);
        this.#base.output.flush();
      });
    }
    const { key } = connection.endpoint;
    let kept = this.#idle.get(key);
    if (!kept) this.#idle.set(key, (kept = []));
    const idleMs = Math.min(this.settings.idleMs, connection.keepMs === Infinity ? Infinity : Math.max(connection.keepMs - 1000, connection.keepMs / 2));
    if (kept.length >= idlePerEndpoint || this.#closed) return connection.close();
    connection.deadline = this.#base.sweeper.now + idleMs;
    kept.push(connection);
  }

  #gone(connection: UpstreamConnection): void {
    if (!this.#open.delete(connection)) return;
    const kept = this.#idle.get(connection.endpoint.key);
    const at = kept?.indexOf(connection) ?? -1;
    if (at >= 0) kept!.splice(at, 1);
    if (kept?.length === 0) this.#idle.delete(connection.endpoint.key);
    this.policy.connectionClosed();
    this.#next();
  }
  #next(): void {
    if (this.#waiting.length === 0 || !this.policy.connectionOpened()) return;
    this.policy.pendingEnded();
    this.#connect(this.#waiting.shift()!);
  }

  leave(isLeaving: (endpoint: Endpoint) => boolean): void {
    for (const connection of this.#open) {
      if (!isLeaving(connection.endpoint)) continue;
      if (connection.asker) connection.forbidReuse();
      else connection.close();
    }
  }
  close(): void {
    this.#closed = true;
    this.leave(() => true);
  }
}
