import type { Health, HealthCheck, HealthReport } from "../../api/traffic-health.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import type { Random } from "../../base/random.ts";
import { EndpointHealth, type Finding } from "../../policy/health.ts";
import type { Endpoint } from "../../policy/upstream.ts";

/** One check, as a worker is asked for it. */
export interface CheckRequest {
  upstream: string;
  ip: string;
  port: number;
}
export interface CheckResult {
  finding: Finding;
  /** "503", "10.244.0.7:8080: it does not accept connections". */
  reason: string;
}

export interface CheckerOptions {
  clock: Clock;
  random: Random;
  /** Undefined, or none at all: nobody could ask. */
  check(request: CheckRequest): Promise<CheckResult | undefined>;
  /** To all workers. */
  tell(health: Health): void;
  /** Somebody is well who was not, or the other way; came, or went. */
  changed?(): void;
  /** At one time; the others wait for their turn. */
  runningMax?: number;
}

/** An upstream with a check, and who is to be checked. */
export interface Checked {
  id: string;
  check: HealthCheck;
  endpoints: readonly Endpoint[];
  /** Requests may have made workers eject endpoints, each for itself: a good check takes them back. */
  ejects: boolean;
}

const runningMaxDefault = 64;
/** Beyond a check's own time. */
const lateMs = 5_000;

/**
 * Who checks endpoints, for all workers: in `wherry`, which outlives them; a worker only carries a check out. Each endpoint of an
 * upstream is checked by itself, next when the last check has ended. What is found is told when it changes.
 */
export class HealthChecker {
  readonly #options: CheckerOptions;
  readonly #places = new Map<string, Map<string, Place>>();
  #running = 0;
  readonly #waiting: Place[] = [];

  constructor(options: CheckerOptions) {
    this.#options = options;
  }

  /** All that is to be checked from now on; the rest is forgotten, and workers are told so. */
  want(all: readonly Checked[]): void {
    const gone = new Set(this.#places.keys());
    for (const checked of all) {
      gone.delete(checked.id);
      this.#wantOne(checked);
    }
    for (const id of gone) {
      for (const place of this.#places.get(id)!.values()) this.#forget(place);
      this.#places.delete(id);
    }
    if (gone.size > 0 || all.length > 0) this.#options.changed?.();
  }
  #wantOne({ id, check, endpoints, ejects }: Checked): void {
    let places = this.#places.get(id);
    if (!places) this.#places.set(id, (places = new Map()));
    const gone = new Set(places.keys());
    for (const endpoint of endpoints) {
      gone.delete(endpoint.key);
      const known = places.get(endpoint.key);
      if (known) {
        // Another check is not to wait for the end of the last one's interval.
        const isOther = JSON.stringify(known.check) !== JSON.stringify(check);
        Object.assign(known, { check, ejects });
        if (isOther && known.timer) this.#schedule(known, 0);
        continue;
      }
      const place: Place = { upstream: id, endpoint, check, ejects, health: new EndpointHealth(), timer: undefined, isGone: false, reason: "not checked yet", since: this.#seconds() };
      places.set(endpoint.key, place);
      this.#schedule(place, this.#options.random.next() * (check.initialJitterMs ?? 0));
    }
    for (const key of gone) {
      this.#forget(places.get(key)!);
      places.delete(key);
    }
  }
  #forget(place: Place): void {
    place.isGone = true;
    place.timer?.cancel();
    const at = this.#waiting.indexOf(place);
    if (at >= 0) this.#waiting.splice(at, 1);
    this.#options.tell({ upstream: place.upstream, key: place.endpoint.key, isWell: null });
  }

  #schedule(place: Place, delayMs: number): void {
    place.timer?.cancel();
    place.timer = this.#options.clock.setTimer(delayMs, () => {
      place.timer = undefined;
      if (this.#running < (this.#options.runningMax ?? runningMaxDefault)) void this.#run(place);
      else this.#waiting.push(place);
    });
  }
  async #run(place: Place): Promise<void> {
    this.#running++;
    const { endpoint, check, upstream } = place;
    const result = await this.#withinTime(this.#options.check({ upstream, ip: endpoint.ip, port: check.port ?? endpoint.port }), check.timeoutMs + lateMs);
    this.#running--;
    if (!place.isGone) {
      // What could not be asked says nothing of who was to be asked.
      if (result) this.#learn(place, result);
      this.#schedule(place, place.check.intervalMs);
    }
    const next = this.#waiting.shift();
    if (next) void this.#run(next);
  }
  /** A worker that does not answer says nothing of the endpoint. */
  #withinTime(asked: Promise<CheckResult | undefined>, ms: number): Promise<CheckResult | undefined> {
    const { promise, resolve } = Promise.withResolvers<CheckResult | undefined>();
    const timer = this.#options.clock.setTimer(ms, () => resolve(undefined));
    void asked.then(resolve, () => resolve(undefined));
    return promise.finally(() => timer.cancel());
  }
  #learn(place: Place, { finding, reason }: CheckResult): void {
    const isChanged = place.health.learn(finding, place.check);
    place.reason = reason;
    if (isChanged) place.since = this.#seconds();
    if (isChanged) this.#options.changed?.();
    const { upstream, endpoint, health } = place;
    if (isChanged || (place.ejects && finding === "well" && health.isWell)) this.#options.tell({ upstream, key: endpoint.key, isWell: health.isWell! });
  }
  #seconds(): number {
    return Math.floor(this.#options.clock.now() / 1000);
  }

  /** For a worker that begins, and for people: of endpoints that were not checked yet, `isWell` is null. */
  reports(): HealthReport[] {
    return [...this.#places.values()].flatMap((places) => [...places.values()].map(({ upstream, endpoint, health, reason, since }) => ({ upstream, key: endpoint.key, isWell: health.isWell ?? null, reason, since })));
  }

  close(): void {
    for (const places of this.#places.values()) {
      for (const place of places.values()) {
        place.isGone = true;
        place.timer?.cancel();
      }
    }
    this.#places.clear();
    this.#waiting.length = 0;
  }
}

interface Place {
  readonly upstream: string;
  readonly endpoint: Endpoint;
  check: HealthCheck;
  ejects: boolean;
  readonly health: EndpointHealth;
  /** While it waits for its next check. */
  timer: Timer | undefined;
  isGone: boolean;
  reason: string;
  since: number;
}
