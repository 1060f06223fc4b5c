import type { Endpoint, UpstreamPolicy } from "../../policy/upstream.ts";
import type { dial } from "../dial.ts";
import type { Asked } from "./asker.ts";
import type { Origin } from "./proxy-header.ts";
import { reach } from "./reach.ts";
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
  /** TCP asks after so long a silence. */
  keepAliveSeconds?: number | undefined;
  /** So old a connection gets nothing more. */
  ageMs?: number | undefined;
  /** So many requests are sent on one. */
  requestsMax?: number | undefined;
  /** Each connection begins with whose it is, and is used for no other client's requests. */
  proxyProtocol?: "v1" | "v2" | undefined;
  secure?: ((handle: TcpHandle, done: (stream: Stream | undefined, reason: string) => void) => void) | undefined;
}

/** Kept for one endpoint; beyond, the connection ends with its request. */
const idlePerEndpoint = 1024;

interface Waiting {
  endpoint: Endpoint;
  origin: Origin | undefined;
  key: string;
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
  take(endpoint: Endpoint, origin?: Origin): Asked | undefined;
  /** A new one; later. Returns how to give up waiting. `origin`: whose request it is for; nobody's without. */
  connect(endpoint: Endpoint, done: Connected, origin?: Origin): () => void;
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

  /** What connections are kept by: an endpoint, and where it is told whose they are, a client. */
  #keyOf({ key }: Endpoint, origin: Origin | undefined): string {
    return this.settings.proxyProtocol ? `${key} ${origin?.address ?? ""} ${origin?.port ?? 0}` : key;
  }

  take(endpoint: Endpoint, origin?: Origin): UpstreamConnection | undefined {
    const kept = this.#idle.get(this.#keyOf(endpoint, origin));
    const connection = kept?.pop();
    if (connection) connection.deadline = Infinity;
    return connection;
  }

  connect(endpoint: Endpoint, done: Connected, origin?: Origin): () => void {
    const waiting: Waiting = { endpoint, origin, key: this.#keyOf(endpoint, origin), done, cancelled: false };
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
    reach(this.#dial, waiting.endpoint, this.settings, waiting.origin, (connected, reason) => (connected ? this.#connected(waiting, connected) : this.#failed(waiting, reason)));
  }
  #connected(waiting: Waiting, handle: TcpHandle | Stream): void {
    const connection = new UpstreamConnection(handle, waiting.endpoint, this.#base, waiting.key);
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
    if (connection.served >= (this.settings.requestsMax ?? Infinity)) return connection.close();
    if (this.#waiting.length > 0) {
      const at = this.#waiting.findIndex(({ key }) => key === connection.key);
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
    const { key } = connection;
    let kept = this.#idle.get(key);
    if (!kept) this.#idle.set(key, (kept = []));
    const idleMs = Math.min(this.settings.idleMs, connection.keepMs === Infinity ? Infinity : Math.max(connection.keepMs - 1000, connection.keepMs / 2));
    const { now } = this.#base.sweeper;
    const endsAt = connection.since + (this.settings.ageMs || Infinity);
    if (kept.length >= idlePerEndpoint || this.#closed || endsAt <= now) return connection.close();
    connection.deadline = Math.min(now + idleMs, endsAt);
    kept.push(connection);
    // Of one client few are worth keeping, and clients are many.
    if (this.#idle.size > idlePerEndpoint && this.settings.proxyProtocol) for (const oldest of this.#idle.values().next().value!.slice()) oldest.close();
  }

  #gone(connection: UpstreamConnection): void {
    if (!this.#open.delete(connection)) return;
    const kept = this.#idle.get(connection.key);
    const at = kept?.indexOf(connection) ?? -1;
    if (at >= 0) kept!.splice(at, 1);
    if (kept?.length === 0) this.#idle.delete(connection.key);
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
