import { type dial, hostUnreachable } from "./dial.ts";

/** Of pods that have ended: their links take a moment to go, and addresses are given anew much later. */
const goneMax = 4_096;

/**
 * Dialling that knows who has gone. A SYN that meets a pod's network in the moment when that is taken down is lost, and the kernel
 * does not take "no route" for an answer to the ones that follow: the connection would wait for all of its time, though the agent
 * has said long since that nobody is there.
 */
export class Dials {
  readonly #pending = new Map<string, Set<() => void>>();
  readonly #gone = new Set<string>();
  /** Keeps {@link dial}'s promises. */
  readonly dial: typeof dial;

  constructor(dialEndpoint: typeof dial) {
    this.dial = (ip, port, timeoutMs, done) => {
      if (this.#gone.has(ip)) return queueMicrotask(() => done(hostUnreachable, undefined));
      let pending = this.#pending.get(ip);
      if (!pending) this.#pending.set(ip, (pending = new Set()));
      let isOver = false;
      const over = (): boolean => {
        if (isOver) return false;
        isOver = true;
        pending.delete(fail);
        if (pending.size === 0 && this.#pending.get(ip) === pending) this.#pending.delete(ip);
        return true;
      };
      const fail = (): void => void (over() && done(hostUnreachable, undefined));
      pending.add(fail);
      dialEndpoint(ip, port, timeoutMs, (status, handle) => {
        if (over()) done(status, handle);
        else handle?.close();
      });
    };
  }

  /** A pod has ended: who waits for it need not, and nobody dials it until there is another. */
  gone(ip: string): void {
    this.#gone.add(ip);
    if (this.#gone.size > goneMax) this.#gone.delete(this.#gone.values().next().value!);
    for (const fail of this.#pending.get(ip)?.values() ?? []) fail();
  }
  /** There is a pod at this address. */
  came(ip: string): void {
    this.#gone.delete(ip);
  }
}
