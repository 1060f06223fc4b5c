import type { Client } from "../../api/client.ts";
import { splitKey } from "../../api/informer.ts";
import { resources } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import { Backoff } from "../../base/backoff.ts";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { IngressAddress } from "./kinds.ts";
import type { World } from "./world.ts";

const writesAtOnceMax = 8;

/** Brings `status.loadBalancer.ingress` to what is wanted: the latest for each Ingress, a few at a time, and only what differs. */
export class StatusWriter {
  readonly #client: Client;
  readonly #world: World;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #wanted = new Map<string, readonly IngressAddress[]>();
  readonly #writing = new Set<string>();
  readonly #backoff = new Map<string, Backoff>();
  #stopped = false;
  #idle: (() => void)[] = [];

  constructor({ client, world, clock, log }: { client: Client; world: World; clock: Clock; log: Log }) {
    this.#client = client;
    this.#world = world;
    this.#clock = clock;
    this.#log = log;
  }

  want(key: string, addresses: readonly IngressAddress[]): void {
    this.#wanted.set(key, addresses);
    this.#next();
  }

  /** Resolves when nothing is being written any more; what still waits is given up. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wanted.clear();
    if (this.#writing.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #next(): void {
    for (const [key, addresses] of this.#wanted) {
      if (this.#stopped || this.#writing.size >= writesAtOnceMax) return;
      if (this.#writing.has(key)) continue;
      this.#wanted.delete(key);
      this.#writing.add(key);
      void this.#write(key, addresses).finally(() => {
        this.#writing.delete(key);
        if (this.#stopped && this.#writing.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
        else this.#next();
      });
    }
  }

  async #write(key: string, addresses: readonly IngressAddress[]): Promise<void> {
    const ingress = this.#world.ingress(key);
    if (!ingress || JSON.stringify(ingress.status?.loadBalancer?.ingress ?? []) === JSON.stringify(addresses)) return void this.#backoff.delete(key);
    const { namespace, name } = splitKey(key);
    try {
      // A merge patch replaces lists, and nobody else writes this one.
      const status = { loadBalancer: { ingress: addresses.length === 0 ? null : addresses } };
      await this.#client.patch(resources.ingresses, namespace, name, { metadata: { uid: ingress.metadata.uid }, status }, { type: "merge", subresource: "status", fieldManager: "wherry-ingress" });
      this.#backoff.delete(key);
    } catch (error) {
      if (this.#stopped || (error instanceof StatusError && (error.code === 404 || error.code === 409))) return;
      const backoff = this.#backoff.get(key) ?? new Backoff(20, 5_000);
      this.#backoff.set(key, backoff);
      this.#log.warn("a status was not written", { ingress: key, error: (error as Error).message });
      this.#clock.setTimer(backoff.next(), () => {
        if (this.#stopped || this.#wanted.has(key)) return;
        this.want(key, addresses);
      });
    }
  }
}
