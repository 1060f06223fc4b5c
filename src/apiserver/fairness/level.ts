/** Why a request was not let in. */
export type Refusal = "queue-full" | "concurrency-limit" | "time-out";

interface Waiting {
  sinceMs: number;
  admit(): void;
  refuse(why: Refusal): void;
}
export interface LevelLimits {
  /** Requests that may be under way at once. */
  seats: number;
  /** That may wait, of one flow and of all. 0: whoever finds no seat is refused. */
  flowQueueMax: number;
  queueMax: number;
}

/** Upstream's: a quarter of the request timeout of a minute. */
export const waitMs = 15_000;

/**
 * One priority level: its seats, and its flows' queues that take turns. A flow that floods waits behind itself; one
 * that asks now and then is next.
 */
export class Level {
  limits: LevelLimits;
  executing = 0;
  waiting = 0;
  rejected = 0;
  readonly #queues = new Map<string, Waiting[]>();

  constructor(limits: LevelLimits) {
    this.limits = limits;
  }

  hasRoom(): boolean {
    return this.executing < this.limits.seats && this.waiting === 0;
  }

  /** Resolves when it is this request's turn, with its seat taken; rejects with a {@link Refusal}. */
  wait(flow: string, nowMs: number): Promise<void> {
    const { flowQueueMax, queueMax, seats } = this.limits;
    const queue = this.#queues.get(flow) ?? [];
    const why: Refusal | undefined = queueMax === 0 && this.executing + this.waiting >= seats ? "concurrency-limit" : queueMax > 0 && (queue.length >= flowQueueMax || this.waiting >= queueMax) ? "queue-full" : undefined;
    if (why) {
      this.rejected++;
      return Promise.reject(why);
    }
    this.#queues.set(flow, queue);
    this.waiting++;
    return new Promise((resolve, reject: (why: Refusal) => void) => queue.push({ sinceMs: nowMs, admit: resolve, refuse: reject }));
  }

  /** Lets the next flow's first request in. False when nobody waits or no seat is free. */
  next(nowMs: number): boolean {
    while (this.executing < this.limits.seats) {
      const turn = this.#queues.entries().next().value;
      if (!turn) return false;
      const [flow, queue] = turn;
      const first = queue.shift()!;
      this.waiting--;
      // To the end of the line, if it has more.
      this.#queues.delete(flow);
      if (queue.length > 0) this.#queues.set(flow, queue);
      if (nowMs - first.sinceMs > waitMs) {
        this.rejected++;
        first.refuse("time-out");
        continue;
      }
      this.executing++;
      first.admit();
      return true;
    }
    return false;
  }
}
