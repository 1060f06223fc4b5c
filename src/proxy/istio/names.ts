import { lookup as lookupName } from "node:dns";
import type { Clock, Timer } from "../../base/clock.ts";

export type Lookup = (name: string, done: (addresses: readonly string[]) => void) => void;

/** As Envoy's, where the answer says nothing of how long it holds: the machine's resolver keeps what it knows for itself. */
const againMs = 5_000;

/** By the machine's own resolver, and its hosts file. */
const machine: Lookup = (name, done) => lookupName(name, { family: 4, all: true }, (error, found) => done(error ? [] : found.map(({ address }) => address)));

interface Known {
  addresses: readonly string[] | undefined;
  timer: Timer | undefined;
}

/** Names beyond the cluster, looked up again and again once somebody has asked for them. */
export class Names {
  readonly #clock: Clock;
  readonly #changed: (name: string) => void;
  readonly #lookup: Lookup;
  readonly #known = new Map<string, Known>();
  #stopped = false;

  constructor({ clock, changed, lookup = machine }: { clock: Clock; changed: (name: string) => void; lookup?: Lookup }) {
    this.#clock = clock;
    this.#changed = changed;
    this.#lookup = lookup;
  }

  /** What is known now; undefined: nothing yet, or no address. `changed` tells when that changes. */
  get(name: string): readonly string[] | undefined {
    const known = this.#known.get(name);
    if (known) return known.addresses;
    const fresh: Known = { addresses: undefined, timer: undefined };
    this.#known.set(name, fresh);
    this.#look(name, fresh);
    return undefined;
  }

  #look(name: string, known: Known): void {
    this.#lookup(name, (addresses) => {
      if (this.#stopped || this.#known.get(name) !== known) return;
      const next = addresses.length === 0 ? undefined : addresses.toSorted();
      // A resolver that fails for a moment takes nobody's endpoints away.
      const isNews = next !== undefined && JSON.stringify(next) !== JSON.stringify(known.addresses);
      if (isNews) known.addresses = next;
      known.timer = this.#clock.setTimer(againMs, () => this.#look(name, known));
      if (isNews) this.#changed(name);
    });
  }

  stop(): void {
    this.#stopped = true;
    for (const { timer } of this.#known.values()) timer?.cancel();
  }
}
