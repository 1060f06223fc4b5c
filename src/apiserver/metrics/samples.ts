import type { NodeUsage, UsageCounters } from "../../api/node.ts";
import { type Clock, delay } from "../../base/clock.ts";

/** What something used: CPU as the mean over `windowMs` before `atMs`, memory at `atMs`. */
export interface Usage {
  atMs: number;
  windowMs: number;
  /** Billionths of a core. */
  cpuNanos: number;
  memoryBytes: number;
}

export interface Rates {
  node: Usage;
  /** By pod uid, then container. A container that has not run long enough to say is not there. */
  pods: Map<string, Map<string, Usage>>;
}

/** The mean is over about this long where there are samples for it: as metrics-server's resolution. */
const windowMs = 15_000;
/** Older samples say nothing about now. */
const staleMs = 60_000;
/** Counters of programs without a cgroup advance in hundredths of a second: below this a mean is mostly noise. */
const leastMs = 1_000;
/** Asks within this of each other share a sample. */
const shareMs = 250;

/**
 * Rates from counters, and nothing while nobody asks: each question takes a sample and compares it with one taken
 * for a question before. The first question after a silence waits a second for the sample that it needs.
 */
export class UsageSamples {
  readonly #read: () => Promise<NodeUsage>;
  readonly #clock: Clock;
  /** Oldest first. */
  #samples: NodeUsage[] = [];
  #asking: Promise<Rates> | undefined;

  constructor(read: () => Promise<NodeUsage>, clock: Clock) {
    this.#read = read;
    this.#clock = clock;
  }

  /** `startedAtMs` says since when a container runs, so that one younger than the samples has a rate of its own life. */
  rates(startedAtMs: (uid: string, container: string) => number | undefined): Promise<Rates> {
    return (this.#asking ??= this.#rates(startedAtMs).finally(() => (this.#asking = undefined)));
  }

  async #rates(startedAtMs: (uid: string, container: string) => number | undefined): Promise<Rates> {
    let latest = this.#samples.at(-1);
    if (!latest || this.#clock.now() - latest.node.atMs > shareMs || latest.node.atMs > this.#clock.now()) latest = await this.#sample();
    let base = this.#baseOf(latest);
    if (!base) {
      base = latest;
      // A timer may fire a millisecond before its time by the other clock, and a clock that is set back begins anew.
      for (let waitMs = leastMs; waitMs > 0; waitMs = leastMs - (latest.node.atMs - base.node.atMs)) {
        await delay(this.#clock, waitMs);
        latest = await this.#sample();
        if (latest.node.atMs < base.node.atMs) base = latest;
      }
    }
    return ratesBetween(base, latest, startedAtMs);
  }

  async #sample(): Promise<NodeUsage> {
    const sample = await this.#read();
    const { atMs } = sample.node;
    // A clock that was set back leaves samples of the future.
    this.#samples = this.#samples.filter(({ node }) => node.atMs <= atMs && atMs - node.atMs <= staleMs);
    this.#samples.push(sample);
    return sample;
  }

  /** The oldest within the window, else the youngest before it. */
  #baseOf({ node: { atMs } }: NodeUsage): NodeUsage | undefined {
    const usable = this.#samples.filter(({ node }) => atMs - node.atMs >= leastMs);
    return usable.find(({ node }) => atMs - node.atMs <= windowMs) ?? usable.at(-1);
  }
}

export function ratesBetween(base: NodeUsage, latest: NodeUsage, startedAtMs: (uid: string, container: string) => number | undefined): Rates {
  const before = new Map(base.pods.map(({ uid, containers }) => [uid, new Map(containers.map((counters) => [counters.name, counters]))]));
  const pods = new Map<string, Map<string, Usage>>();
  for (const { uid, containers } of latest.pods) {
    const rates = new Map<string, Usage>();
    for (const counters of containers) {
      const startMs = startedAtMs(uid, counters.name);
      const known = before.get(uid)?.get(counters.name);
      // One that started after the sample, or whose counters began anew, is measured from its start.
      const from = known && known.cpuNs <= counters.cpuNs && (startMs === undefined || startMs < known.atMs) ? known : startMs === undefined ? undefined : { atMs: startMs, cpuNs: 0 };
      const usage = from && rate(from, counters);
      if (usage) rates.set(counters.name, usage);
    }
    pods.set(uid, rates);
  }
  return { node: rate(base.node, latest.node) ?? { atMs: latest.node.atMs, windowMs: 0, cpuNanos: 0, memoryBytes: latest.node.memoryBytes }, pods };
}

function rate(from: Pick<UsageCounters, "atMs" | "cpuNs">, to: UsageCounters): Usage | undefined {
  const elapsedMs = to.atMs - from.atMs;
  if (elapsedMs < leastMs) return undefined;
  return { atMs: to.atMs, windowMs: elapsedMs, cpuNanos: Math.max(0, Math.round(((to.cpuNs - from.cpuNs) / elapsedMs) * 1000)), memoryBytes: to.memoryBytes };
}
