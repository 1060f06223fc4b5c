/** Deadlines of many connections, looked at a few times a second: nobody arms a timer for a request. */
export interface Swept {
  /** In milliseconds of {@link Sweeper.now}; Infinity for none. */
  deadline: number;
  expire(): void;
}

const tickMs = 250;

export class Sweeper {
  /** Monotonic milliseconds as of the last tick: exact to a quarter of a second, and costs nothing to read. */
  now = performance.now();
  readonly #members = new Set<Swept>();
  #timer: NodeJS.Timeout | undefined;

  add(member: Swept): void {
    this.#members.add(member);
    if (this.#timer) return;
    this.now = performance.now();
    this.#timer = setInterval(() => this.tick(performance.now()), tickMs).unref();
  }
  remove(member: Swept): void {
    this.#members.delete(member);
    if (this.#members.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
  tick(now: number): void {
    this.now = now;
    for (const member of this.#members) if (member.deadline <= now) member.expire();
  }
}
