import type { Guard } from "../api/guard.ts";
import type { EdgeListener, Route, TrafficPatch, TrafficSnapshot, Upstream } from "../api/traffic.ts";

/** All patches so far, as one: what a worker that starts now is told. */
export class TrafficState {
  readonly listeners = new Map<string, EdgeListener>();
  readonly routes = new Map<string, Route>();
  readonly upstreams = new Map<string, Upstream>();
  readonly guards = new Map<string, Guard>();
  #revision = 0;

  /** Returns what really changed; never whole. */
  apply({ revision: told, whole, scope, put, remove }: TrafficPatch): TrafficPatch {
    // Each compiler counts its own.
    const revision = (this.#revision = Math.max(this.#revision, told));
    const changed: TrafficPatch = { revision, put: {}, remove: {} };
    for (const part of ["listeners", "routes", "upstreams", "guards"] as const) {
      const known = this[part] as Map<string, { id: string }>;
      const values: { id: string }[] = put[part] ?? [];
      const ids = whole ? new Set(values.map(({ id }) => id)) : undefined;
      const gone = (ids ? [...known.keys()].filter((id) => !ids.has(id) && isIn(scope, id)) : (remove[part] ?? [])).filter((id) => known.delete(id));
      const fresh = whole ? values.filter((value) => JSON.stringify(known.get(value.id)) !== JSON.stringify(value)) : values;
      for (const value of fresh) known.set(value.id, value);
      if (gone.length > 0) changed.remove[part] = gone;
      if (fresh.length > 0) Object.assign(changed.put, { [part]: fresh });
    }
    return changed;
  }
  snapshot(): TrafficSnapshot {
    return { revision: this.#revision, listeners: [...this.listeners.values()], routes: [...this.routes.values()], upstreams: [...this.upstreams.values()], ...(this.guards.size > 0 && { guards: [...this.guards.values()] }) };
  }
}

/** "Challenge/…" are answers for ACME servers; "Ingress/…" and "ingress/http(s)" are Ingresses'; namespaces are in lower case, and Gateways' listeners have three parts. */
function isIn(scope: TrafficPatch["scope"], id: string): boolean {
  if (scope === undefined) return true;
  if (scope === "acme" || id.startsWith("Challenge/")) return scope === "acme" && id.startsWith("Challenge/");
  const isIngress = id.startsWith("Ingress/") || id === "ingress/http" || id === "ingress/https";
  return scope === (isIngress ? "ingress" : id.startsWith("istio:") ? "istio" : "gateway");
}
