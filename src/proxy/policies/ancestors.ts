import { gatewayGroup, type ParentReference } from "../gateway/kinds.ts";
import { type AttachedPolicy, referencesOf } from "./attach.ts";

/**
 * Whom a policy's status is told to: the Gateways, and listeners of them, that it is about. Of one that is about a route, those that
 * the route is attached to; of one that has no place, where it was meant to be, as far as that is ours to say.
 */
export function policyAncestors({ policy, places }: AttachedPolicy, parentsOf: (route: string) => { parentRef: ParentReference; gateway: string }[], isOurs: (gateway: string) => boolean): ParentReference[] {
  const found = new Map<string, ParentReference>();
  const add = (gateway: string, sectionName: string | undefined): void => {
    if (!isOurs(gateway)) return;
    const [namespace, name] = gateway.split("/") as [string, string];
    found.set(`${gateway}#${sectionName ?? ""}`, { group: gatewayGroup, kind: "Gateway", namespace, name, ...(sectionName !== undefined && { sectionName }) });
  };
  const meant = referencesOf(policy).map(({ kind, name, sectionName }) => `${kind}/${policy.metadata.namespace}/${name}${sectionName === undefined ? "" : `#${sectionName}`}`);
  for (const place of places.length > 0 ? places : meant) {
    const [target, section] = place.split("#") as [string, string | undefined];
    if (target.startsWith("Gateway/")) add(target.slice("Gateway/".length), section);
    else for (const { gateway, parentRef } of parentsOf(target)) add(gateway, parentRef.sectionName);
  }
  return [...found.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, reference]) => reference);
}
