import type { TcpHandle } from "../../base/handles.ts";
import { lazyModule } from "../../base/lazy.ts";
import type { Endpoint, UpstreamPolicy } from "../../policy/upstream.ts";
import type { dial } from "../dial.ts";
import type { Asked } from "./asker.ts";
import type { Output } from "./output.ts";
import { reach } from "./reach.ts";
import type { Stream } from "./stream.ts";
import type { Sweeper } from "./sweeper.ts";
import type { Http2Upstream } from "./upstream-http2.ts";
import type { Connected, Pool, UpstreamSettings } from "./upstream-pool.ts";

const http2 = lazyModule<typeof import("./upstream-http2.ts")>(import.meta.url, "./upstream-http2.ts");

/** What a server is taken to allow at once, until it has said so. As RFC 9113 §6.5.2 recommends. */
export const streamsAssumed = 100;

interface Waiting {
  place: Place;
  done: Connected;
  /** No connection may be opened for it: it is counted as pending. */
  isPending: boolean;
}
/** One endpoint. */
interface Place {
  endpoint: Endpoint;
  sessions: Http2Upstream[];
  dialling: number;
  waiting: Waiting[];
}

/**
 * Connections of HTTP/2 to the endpoints of one Service port. Each is shared by as many requests as its server allows; another
 * one is opened when all are full. Who is asked was decided before, for each request: a connection is nobody's.
 */
export class UpstreamSessions implements Pool {
  settings: UpstreamSettings;
  readonly policy: UpstreamPolicy;
  readonly #base: { sweeper: Sweeper; output: Output; headBytesMax: number };
  readonly #dial: typeof dial;
  readonly #places = new Map<string, Place>();
  #open = 0;
  #closed = false;

  constructor(settings: UpstreamSettings, policy: UpstreamPolicy, base: { sweeper: Sweeper; output: Output; headBytesMax: number }, dialEndpoint: typeof dial) {
    this.settings = settings;
    this.policy = policy;
    this.#base = base;
    this.#dial = dialEndpoint;
  }

  get connections(): number {
    return this.#open;
  }

  take(endpoint: Endpoint): Asked | undefined {
    const sessions = this.#places.get(endpoint.key)?.sessions;
    const { ageMs } = this.settings;
    if (ageMs) for (const session of sessions?.slice() ?? []) if (session.since + ageMs <= this.#base.sweeper.now) session.retire();
    const session = sessions?.find(({ hasRoom }) => hasRoom);
    const asked = session?.open();
    if (session && session.asked >= (this.settings.requestsMax ?? Infinity)) session.retire();
    return asked;
  }

  connect(endpoint: Endpoint, done: Connected): () => void {
    let place = this.#places.get(endpoint.key);
    if (!place) this.#places.set(endpoint.key, (place = { endpoint, sessions: [], dialling: 0, waiting: [] }));
    const waiting: Waiting = { place, done, isPending: false };
    // Room that was found since, or a connection that is on its way.
    const isProvided = place.sessions.some(({ hasRoom }) => hasRoom) || place.waiting.length < place.dialling * streamsAssumed;
    if (!isProvided && !this.#dialOne(place)) {
      if (!this.policy.pendingStarted()) {
        let open = true;
        process.nextTick(() => {
          if (open) done(undefined, "as many requests as may are waiting for a connection", true);
          this.#base.output.flush();
        });
        this.#forget(place);
        return () => (open = false);
      }
      waiting.isPending = true;
    }
    place.waiting.push(waiting);
    if (place.dialling === 0) process.nextTick(() => this.#serve(place));
    return () => {
      const at = place.waiting.indexOf(waiting);
      if (at >= 0) this.#leaves(place.waiting.splice(at, 1)[0]!);
    };
  }
  #leaves(waiting: Waiting): Connected {
    if (waiting.isPending) this.policy.pendingEnded();
    this.#forget(waiting.place);
    return waiting.done;
  }
  #forget(place: Place): void {
    if (place.sessions.length === 0 && place.dialling === 0 && place.waiting.length === 0 && this.#places.get(place.endpoint.key) === place) this.#places.delete(place.endpoint.key);
  }

  /** False: there are as many as may be. */
  #dialOne(place: Place): boolean {
    if (!this.policy.connectionOpened()) {
      // A slot in use by an endpoint that nobody asks is freed for those who wait.
      for (const other of this.#places.values()) if (other !== place && other.waiting.length === 0) other.sessions.find(({ streams }) => streams === 0)?.close();
      if (!this.policy.connectionOpened()) return false;
    }
    place.dialling++;
    // One connection is for all clients: nobody is told whose it is.
    reach(this.#dial, place.endpoint, this.settings, undefined, (connected, reason) => (connected ? this.#connected(place, connected) : this.#failed(place, reason)));
    return true;
  }
  #connected(place: Place, handle: TcpHandle | Stream): void {
    place.dialling--;
    this.#open++;
    const session: Http2Upstream = new (http2().Http2Upstream)(handle, place.endpoint, {
      ...this.#base,
      idleMs: () => this.settings.idleMs,
      freed: () => this.#freed(place, session),
      closed: () => this.#gone(place, session),
    });
    place.sessions.push(session);
    this.#serve(place);
    // Who waited for it is served, though nobody names the upstream any more.
    if (this.#closed) session.retire();
    this.#base.output.flush();
  }
  #failed(place: Place, reason: string): void {
    place.dialling--;
    this.policy.connectionClosed();
    for (const waiting of place.waiting.splice(0)) this.#leaves(waiting)(undefined, reason, false);
    this.#forget(place);
    this.#dialForPending();
    this.#base.output.flush();
  }

  /** Those who wait get what there is, in their order. */
  #serve(place: Place): void {
    while (place.waiting.length > 0) {
      const asked = this.take(place.endpoint);
      if (!asked) break;
      this.#leaves(place.waiting.shift()!)(asked, "", false);
    }
    // What is there is full.
    if (place.waiting.length > place.dialling * streamsAssumed && this.#dialOne(place)) for (const waiting of place.waiting) this.#unpend(waiting);
    this.#base.output.flush();
  }
  #unpend(waiting: Waiting): void {
    if (waiting.isPending) this.policy.pendingEnded();
    waiting.isPending = false;
  }

  /** A request of this connection has ended. */
  #freed(place: Place, session: Http2Upstream): void {
    if (place.waiting.length > 0) return this.#serve(place);
    if (session.streams === 0) for (const other of this.#places.values()) if (other.waiting.some(({ isPending }) => isPending)) return session.close();
  }
  #gone(place: Place, session: Http2Upstream): void {
    const at = place.sessions.indexOf(session);
    if (at < 0) return;
    place.sessions.splice(at, 1);
    this.#open--;
    this.policy.connectionClosed();
    this.#forget(place);
    this.#dialForPending();
  }
  #dialForPending(): void {
    for (const place of this.#places.values()) if (place.waiting.length > place.dialling * streamsAssumed) this.#serve(place);
  }

  leave(isLeaving: (endpoint: Endpoint) => boolean): void {
    for (const { endpoint, sessions } of this.#places.values()) if (isLeaving(endpoint)) for (const session of sessions.slice()) session.retire();
  }
  close(): void {
    this.#closed = true;
    this.leave(() => true);
  }
}
