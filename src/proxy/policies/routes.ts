import type { HttpRoute, HttpRule, Route } from "../../api/traffic.ts";
import type { ResolvedBackend } from "../gateway/backends.ts";
import type { AnyRouteObject, RouteKind } from "../gateway/kinds.ts";
import type { CompiledListener } from "../gateway/listeners.ts";
import type { CompiledRoute } from "../gateway/routes.ts";
import { withHost } from "./backend-health.ts";
import { type PolicyBook, type RuleEffect, withPolicies } from "./book.ts";

/**
 * A route as policies have it: what they say stands in its rules. Where they differ between the listeners that it is attached to,
 * it becomes several to the engine, "ID", "ID~1", …; and a Service port that policies call otherwise becomes an upstream of its own.
 */
export function underPolicies(compiled: CompiledRoute, kind: RouteKind, object: AnyRouteObject, listeners: ReadonlyMap<string, CompiledListener>, policies: PolicyBook): CompiledRoute {
  const [route] = compiled.routes;
  if (route?.type !== "http") return compiled;
  const key = `${object.metadata.namespace}/${object.metadata.name}`;
  const groups = new Map<string, { attachments: Route["attachments"]; effects: (RuleEffect | undefined)[] }>();
  const named = (object.spec.rules ?? []).map((rule) => ("name" in rule && typeof rule.name === "string" ? rule.name : undefined));
  for (const attachment of route.attachments) {
    const { gateway, name, owner } = listeners.get(attachment.listener)!;
    // A set's listener is its Gateway's to protect, as a whole.
    const listener = owner.kind === "Gateway" ? name : "";
    const effects = route.rules.map((rule) => policies.at({ gateway, listener, route: { kind, key, rule: named.includes(rule.name) ? rule.name : undefined } }));
    const id = effects.map((effect) => effect?.key ?? "").join("|");
    const group = groups.get(id);
    if (group) group.attachments.push(attachment);
    else groups.set(id, { attachments: [attachment], effects });
  }
  if ([...groups.values()].every(({ effects }) => effects.every((effect) => effect === undefined))) return compiled;
  const upstreams = new Map<string, NonNullable<ResolvedBackend["upstream"]>>(compiled.upstreams.map((upstream) => [upstream.id, upstream]));
  const routes = [...groups.values()].map(({ attachments, effects }, index): HttpRoute => {
    const host = attachments.flatMap(({ hostnames }) => hostnames).find((name) => name !== "" && !name.startsWith("*"));
    const rules = route.rules.map((rule, i) => {
      const effect = effects[i];
      if (!effect) return rule;
      const called = (id: string): string => {
        const upstream = upstreams.get(id);
        if (!upstream || !effect.upstream || effect.upstreamKey === "") return id;
        const settings = withHost(effect.upstream, host);
        const own = { ...upstream, id: `${id}@${effect.upstreamKey}${settings === effect.upstream ? "" : `/${host}`}`, settings, policies: effect.upstreamKey };
        upstreams.set(own.id, own);
        return own.id;
      };
      for (const upstream of effect.needs ?? []) upstreams.set(upstream.id, upstream);
      return withPolicies(rule, effect, called);
    });
    return { ...route, id: index === 0 ? route.id : `${route.id}~${index}`, attachments, rules };
  });
  const used = new Set(routes.flatMap(({ rules }) => rules.flatMap(upstreamsOf)));
  const needed = [...groups.values()].flatMap(({ effects }) => effects.flatMap((effect) => effect?.needs?.map(({ id }) => id) ?? []));
  return { ...compiled, routes, upstreams: [...upstreams.values()].filter(({ id }) => used.has(id) || needed.includes(id)) };
}

function upstreamsOf({ filters, backends }: HttpRule): string[] {
  const all = [...filters, ...backends.flatMap((backend) => backend.filters ?? [])];
  return [...backends.flatMap(({ upstream }) => upstream ?? []), ...all.flatMap((filter) => (filter.type === "mirror" ? filter.upstream : []))];
}
