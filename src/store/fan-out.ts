import type { Log } from "../base/log.ts";
import { RevisionCompactedError, type StoreEvent, type Watch, type Watcher } from "./store.ts";
import type { Window } from "./window.ts";

export interface FanOutLimits {
  /** Watchers fed in one turn of the loop. */
  slice: number;
  /** Events waiting for one watcher. */
  queueEvents: number;
}

/** Events handed over in one call, so that a long backlog gives others their turn. */
const eventsPerCall = 500;

/**
 * Hands changes to watchers, a slice of watchers each turn of the loop. No watcher has a queue of its own: it has
 * a cursor into the shared window, so a thousand slow ones cost a thousand numbers.
 *
 *   idle ──change──▶ dirty ──fed──▶ idle        dirty ──onEvents says false──▶ paused ──resume──▶ dirty
 *   any ──too far behind──▶ ended (onEnd)       any ──close──▶ closed
 */
export class FanOut {
  readonly #window: Window;
  readonly #limits: FanOutLimits;
  readonly #log: Log;
  readonly #defer: (callback: () => void) => void;
  /** Watches by prefix: a change is matched once per distinct prefix, not once per watcher. */
  readonly #groups = new Map<string, Set<WatchState>>();
  readonly #dirty = new Set<WatchState>();
  readonly #paused = new Set<WatchState>();
  #revision: number;
  #scheduled = false;

  constructor(window: Window, revision: number, limits: FanOutLimits, log: Log, defer: (callback: () => void) => void) {
    this.#window = window;
    this.#revision = revision;
    this.#limits = limits;
    this.#log = log;
    this.#defer = defer;
  }

  watch(prefix: string, fromRevision: number, watcher: Watcher): Watch {
    const backlog = this.#window.countAfter(fromRevision, prefix);
    const state: WatchState = { prefix, watcher, cursor: fromRevision, waiting: backlog, waitingMax: this.#limits.queueEvents + backlog, phase: "idle" };
    const group = this.#groups.get(prefix);
    if (group) group.add(state);
    else this.#groups.set(prefix, new Set([state]));
    if (backlog > 0) this.#mark(state);
    const latest = () => this.#revision;
    return {
      get revision() {
        return state.waiting === 0 ? Math.max(state.cursor, latest()) : state.cursor;
      },
      resume: () => {
        if (state.phase !== "paused") return;
        this.#paused.delete(state);
        state.phase = "idle";
        if (state.waiting > 0) this.#mark(state);
      },
      close: () => this.#remove(state, "closed"),
    };
  }

  /** Takes note of changes that are durable and in the window. */
  publish(events: readonly StoreEvent[], revision: number): void {
    const before = this.#revision;
    this.#revision = revision;
    for (const [prefix, group] of this.#groups) {
      for (const event of events) {
        if (!event.entry.key.startsWith(prefix)) continue;
        for (const state of group) this.#enqueue(state, event, before);
      }
    }
    for (const state of this.#paused) if (state.cursor < this.#window.compacted) this.#end(state);
  }

  closeAll(): void {
    for (const group of this.#groups.values()) for (const state of group) this.#remove(state, "closed");
  }

  #enqueue(state: WatchState, event: StoreEvent, before: number): void {
    if (event.entry.revision <= state.cursor) return;
    // An idle watcher has missed nothing so far, whatever its cursor says.
    if (state.waiting === 0) state.cursor = Math.max(state.cursor, before);
    state.waiting++;
    if (state.waiting > state.waitingMax) this.#end(state);
    else if (state.phase === "idle") this.#mark(state);
  }

  #mark(state: WatchState): void {
    state.phase = "dirty";
    this.#dirty.add(state);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#defer(() => {
      this.#scheduled = false;
      this.#feedSlice();
      if (this.#dirty.size > 0) this.#schedule();
    });
  }

  #feedSlice(): void {
    // Watchers of one prefix at one cursor, the usual case, share the very array.
    const shared = new Map<string, ReturnType<Window["after"]>>();
    let turns = Math.min(this.#limits.slice, this.#dirty.size);
    for (const state of this.#dirty) {
      if (turns-- === 0) return;
      this.#dirty.delete(state);
      if (state.cursor < this.#window.compacted) {
        this.#end(state);
        continue;
      }
      const name = `${state.cursor} ${state.prefix}`;
      let part = shared.get(name);
      if (!part) shared.set(name, (part = this.#window.after(state.cursor, state.prefix, eventsPerCall)));
      this.#feed(state, part);
    }
  }

  #feed(state: WatchState, part: { events: readonly StoreEvent[]; upTo: number }): void {
    state.phase = "idle";
    state.cursor = part.upTo;
    state.waiting -= part.events.length;
    let more: boolean | void;
    try {
      more = state.watcher.onEvents(part.events);
    } catch (error) {
      this.#log.error("a watcher failed and is ended", { prefix: state.prefix, error });
      return this.#end(state, error as Error);
    }
    // It may have been closed in there.
    if ((state.phase as Phase) !== "idle") return;
    if (more === false) {
      state.phase = "paused";
      this.#paused.add(state);
    } else if (state.waiting > 0) this.#mark(state);
  }

  #end(state: WatchState, error: Error = new RevisionCompactedError(state.cursor, this.#window.compacted, this.#revision)): void {
    if (state.phase === "closed" || state.phase === "ended") return;
    this.#remove(state, "ended");
    // Never from inside the write that was one too many, and not to one that has closed meanwhile.
    this.#defer(() => {
      if (state.phase === "ended") state.watcher.onEnd(error);
    });
  }

  #remove(state: WatchState, phase: "ended" | "closed"): void {
    state.phase = phase;
    this.#dirty.delete(state);
    this.#paused.delete(state);
    const group = this.#groups.get(state.prefix);
    group?.delete(state);
    if (group?.size === 0) this.#groups.delete(state.prefix);
  }
}

type Phase = "idle" | "dirty" | "paused" | "ended" | "closed";

interface WatchState {
  readonly prefix: string;
  readonly watcher: Watcher;
  /** Handed over up to here. Behind the store while nothing waits: then it is moved up at the next change. */
  cursor: number;
  /** Matching changes after the cursor. */
  waiting: number;
  /** The bound; what was there when the watch began does not count. */
  readonly waitingMax: number;
  phase: Phase;
}
