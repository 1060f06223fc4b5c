import type { Policy } from "../../api/envoy/kinds.ts";
import type { EdgeListener } from "../../api/traffic.ts";
import type { Listener } from "../gateway/kinds.ts";
import type { CompiledListener } from "../gateway/listeners.ts";
import type { World } from "../gateway/world.ts";
import type { Attachments, Place } from "./attach.ts";
import { clientTrafficEffect } from "./client-traffic.ts";
import type { ListenerEffect, Refusal } from "./effect.ts";
import { notHonoured } from "./fields.ts";
import { judgedListener } from "./judged.ts";
import type { References } from "./references.ts";

type Shape = Parameters<typeof clientTrafficEffect>[2];
const shapeOf = ({ protocol, tls, hostname }: Listener): Shape => ({ protocol: protocol as EdgeListener["protocol"], ...(tls && { tls: { mode: tls.mode === "Passthrough" ? "passthrough" : "terminate", certificates: [] } }), ...(hostname !== undefined && { hostname: hostname.toLowerCase() }) });

/** Why a ClientTrafficPolicy cannot be done as it is written, for any of the listeners that it is in force for. */
export function clientRefusals(world: World, attachments: Attachments, policy: Policy, places: readonly Place[], references: References): Refusal[] {
  const found = new Map<string, Refusal>(notHonoured("ClientTrafficPolicy", policy.spec).map((refusal) => [refusal.field, refusal]));
  for (const place of places) {
    const [target, section] = place.split("#") as [string, string | undefined];
    const gateway = target.slice("Gateway/".length);
    const own = world.gateway(gateway)?.spec.listeners ?? [];
    // A set's listeners are under the whole Gateway's policy.
    const all = [...own, ...world.listenerSetsOf(gateway).flatMap(({ spec }) => spec.listeners)];
    const policyOf = (listener: Listener): Policy | undefined => attachments.at({ gateway, listener: own.includes(listener) ? listener.name : "" })?.policies[0];
    for (const listener of all) {
      if ((section !== undefined && (listener.name !== section || !own.includes(listener))) || policyOf(listener) !== policy) continue;
      for (const refusal of judgedListener(policy.spec, (spec) => clientTrafficEffect(spec, references, shapeOf(listener))).refused) found.set(refusal.field, refusal);
      // Of two that cannot both be, the general one stays.
      const rival = section === undefined ? undefined : all.find((other) => other.port === listener.port && sharesSocket(listener, other, policy) && policyOf(other) !== policy);
      if (rival) found.set("targetRefs", { field: "targetRefs", why: `are for listener ${listener.name}, which shares port ${listener.port} with listener ${rival.name}, which they are not for: whose a connection is, is not known when it comes` });
    }
  }
  return [...found.values()];
}

/** Of those that share a port: without TLS a connection is nobody's before its first request, and what comes before TLS is everybody's. */
function sharesSocket(one: Listener, other: Listener, { spec }: Policy): boolean {
  if (one.protocol === "HTTP") return other.protocol === "HTTP";
  const isSecured = ({ protocol }: Listener): boolean => protocol === "HTTPS" || protocol === "TLS";
  return isSecured(one) && isSecured(other) && ("proxyProtocol" in spec || "enableProxyProtocol" in spec || (spec as { timeout?: { tcp?: object } }).timeout?.tcp !== undefined);
}

/** The listener as it is served where a policy is in force. */
export function withClientPolicy(compiled: CompiledListener, { tls, refused: _refused, ...rest }: ListenerEffect, refusal: string | undefined): CompiledListener {
  const { edge } = compiled;
  if (!edge) return compiled;
  if (refusal !== undefined) return { ...compiled, edge: { ...edge, refusal } };
  return { ...compiled, edge: { ...edge, ...rest, ...(tls && edge.tls?.mode === "terminate" && { tls: { ...edge.tls, ...tls } }) } };
}
