import type { Client } from "../../api/client.ts";
import { splitKey } from "../../api/informer.ts";
import { resources } from "../../api/resources.ts";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { LatestWriter } from "../latest-writer.ts";
import type { IngressAddress } from "./kinds.ts";
import type { World } from "./world.ts";

/** Brings `status.loadBalancer.ingress` to what is wanted; by the Ingress's key. */
export function ingressStatusWriter({ client, world, clock, log }: { client: Client; world: World; clock: Clock; log: Log }): LatestWriter<readonly IngressAddress[]> {
  return new LatestWriter({
    clock,
    log,
    write: async (key, addresses) => {
      const ingress = world.ingress(key);
      if (!ingress || JSON.stringify(ingress.status?.loadBalancer?.ingress ?? []) === JSON.stringify(addresses)) return;
      const { namespace, name } = splitKey(key);
      // A merge patch replaces lists, and nobody else writes this one.
      const status = { loadBalancer: { ingress: addresses.length === 0 ? null : addresses } };
      await client.patch(resources.ingresses, namespace, name, { metadata: { uid: ingress.metadata.uid }, status }, { type: "merge", subresource: "status", fieldManager: "wherry-ingress" });
    },
  });
}
