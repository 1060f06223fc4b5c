import { gatewayGroup, type Reference } from "./kinds.ts";
import type { World } from "./world.ts";

/**
 * Whether an object may name another one: in its own namespace always, elsewhere where a ReferenceGrant of the other
 * namespace says so. `kind` is the kind of who refers, of Gateway API's group unless said.
 */
export function isGranted(world: World, from: { group?: string; kind: string; namespace: string }, to: Reference & { kind: string; namespace: string }): boolean {
  if (from.namespace === to.namespace) return true;
  return world.grantsIn(to.namespace).some(
    ({ spec }) =>
      spec.from.some((source) => source.group === (from.group ?? gatewayGroup) && source.kind === from.kind && source.namespace === from.namespace) &&
      spec.to.some((target) => target.group === (to.group ?? "") && target.kind === to.kind && (target.name === undefined || target.name === "" || target.name === to.name)),
  );
}
