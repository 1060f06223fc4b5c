import type { Upstream } from "../../api/traffic.ts";
import type { Random } from "../../base/random.ts";
import { Turn } from "../../policy/balancers/round-robin.ts";
import { rendezvous } from "../../policy/hash.ts";
import type { Endpoint } from "../../policy/upstream.ts";
import type { ServicePort } from "../service-table.ts";
import type { Place } from "../tcp-service.ts";

/** Whether an upstream is more than its Service's port to a connection that nobody reads. */
export const isPlain = ({ addresses, endpoints, breaker, connectMs, balancer }: Upstream): boolean => !addresses && !endpoints && breaker?.connectionsMax === undefined && connectMs === undefined && !hashesAddresses(balancer);

const hashesAddresses = (balancer: Upstream["balancer"]): boolean => balancer !== undefined && "by" in balancer && balancer.by === "address";

/** Where a route leads connections that nobody reads: some of a Service's endpoints, or others, under the part of a policy that holds for TCP. */
export class StreamPlace implements Place {
  readonly upstream: Upstream;
  readonly connectMs: number | undefined;
  readonly #port: () => ServicePort | undefined;
  readonly #turn: Turn;
  #open = 0;

  /** `port`: the Service's, if there is one now. */
  constructor(upstream: Upstream, port: () => ServicePort | undefined, random: Random) {
    this.upstream = upstream;
    this.connectMs = upstream.connectMs;
    this.#port = port;
    this.#turn = new Turn(random);
  }

  get active(): readonly Endpoint[] {
    const { endpoints, addresses } = this.upstream;
    if (endpoints) return endpoints.map(({ ip, port }) => ({ ip, port, key: `${ip}:${port}` }));
    const all = this.#port()?.active ?? [];
    return addresses ? all.filter(({ ip }) => addresses.includes(ip)) : all;
  }
  get held(): boolean {
    return !this.upstream.endpoints && (this.#port()?.held ?? false);
  }
  get hasAffinity(): boolean {
    return hashesAddresses(this.upstream.balancer);
  }
  choose(client: string): number {
    const { active } = this;
    return this.hasAffinity ? rendezvous(client, active.map(({ key }) => key)) : this.#turn.next(active.length);
  }
  remember(): void {}
  wait(go: () => void): boolean {
    return this.#port()?.wait(go) ?? false;
  }
  begin(): (() => void) | undefined {
    const max = this.upstream.breaker?.connectionsMax;
    if (max !== undefined && this.#open >= max) return undefined;
    this.#open++;
    let isOver = false;
    return () => {
      if (!isOver) this.#open--;
      isOver = true;
    };
  }
}
