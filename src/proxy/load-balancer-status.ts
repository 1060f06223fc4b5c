import type { Client } from "../api/client.ts";
import { Informer, keyOf } from "../api/informer.ts";
import type { HostAddress } from "../api/network.ts";
import { resources } from "../api/resources.ts";
import { StatusError } from "../api/status.ts";
import type { Service } from "../api/types.ts";
import { Backoff } from "../base/backoff.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Random } from "../base/random.ts";

type Ingress = NonNullable<NonNullable<NonNullable<Service["status"]>["loadBalancer"]>["ingress"]>;

/**
 * What a LoadBalancer Service's status shall say, given where the machine reaches it; [] for other types, and
 * undefined while that is not known yet.
 */
export function loadBalancerIngress(service: Service, addresses: readonly HostAddress[]): Ingress | undefined {
  if (service.spec?.type !== "LoadBalancer") return [];
  const own = addresses.filter(({ namespace, service: name, loadBalancerIP }) => loadBalancerIP !== undefined && namespace === service.metadata.namespace && name === service.metadata.name);
  const ips = [...new Set(own.map(({ loadBalancerIP }) => loadBalancerIP!))];
  return ips.length === 0 ? undefined : ips.map((ip) => ({ ip, ipMode: "VIP" }));
}

export interface LoadBalancerStatus {
  /** Where the machine reaches Services now. */
  report(addresses: readonly HostAddress[]): void;
  stop(): Promise<void>;
}

/** Writes `status.loadBalancer.ingress` of Services, as a cloud's controller does. */
export function startLoadBalancerStatus({ client, clock, random, log }: { client: Client; clock: Clock; random?: Random; log: Log }): LoadBalancerStatus {
  const services = new Informer<Service>({ client, resource: resources.services, clock, log, ...(random ? { random } : {}) });
  const retries = new Map<string, Backoff>();
  let addresses: readonly HostAddress[] = [];
  let stopped = false;

  const reconcile = async (key: string): Promise<void> => {
    const service = services.get(key);
    if (stopped || !service) return void retries.delete(key);
    const wanted = loadBalancerIngress(service, addresses);
    const present = service.status?.loadBalancer?.ingress ?? [];
    if (!wanted || JSON.stringify(present.map(({ ip }) => ip)) === JSON.stringify(wanted.map(({ ip }) => ip))) return;
    try {
      const { namespace, name, resourceVersion } = service.metadata;
      const status = { loadBalancer: { ingress: wanted.length === 0 ? null : wanted } };
      await client.patch(resources.services, namespace, name, { metadata: { resourceVersion }, status }, { type: "merge", subresource: "status", fieldManager: "wherry-load-balancer" });
      retries.delete(key);
    } catch (error) {
      // A conflict or a deletion is news that the watch brings anyway.
      if (error instanceof StatusError && (error.code === 409 || error.code === 404)) return;
      const backoff = retries.get(key) ?? new Backoff(100, 10_000);
      retries.set(key, backoff);
      log.warn("the status of a load balancer was not written", { service: key, error: (error as Error).message });
      clock.setTimer(backoff.next(), () => void reconcile(key));
    }
  };
  services.onChange((key) => void reconcile(key));
  services.start();
  return {
    report(next) {
      addresses = next;
      for (const service of services.list()) void reconcile(keyOf(service));
    },
    async stop() {
      stopped = true;
      await services.stop();
    },
  };
}
