import type { Guard } from "../../api/guard.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { Route, TrafficPatch, TrafficSnapshot, Upstream } from "../../api/traffic.ts";
import { Published } from "../published.ts";
import { Compilation, type Judged } from "./compile.ts";
import type { Report } from "./report.ts";
import type { World } from "./world.ts";

/** What is to be said to one of Istio's objects. */
export interface Told {
  object: KubeObject;
  report: Report;
}

/**
 * Istio's objects → routes that are attached to Services, and what there is to say to each object. Pure but for its memory:
 * after any sequence of changes it holds what a fresh one would make of the same world.
 */
export class Translator {
  readonly #world: World;
  readonly #routes = new Published<Route>();
  readonly #upstreams = new Published<Upstream>();
  readonly #guards = new Published<Guard>();
  readonly #isEnforced: boolean;
  /** What each object was told last. */
  #said = new Map<KubeObject["metadata"]["uid"], string>();
  /** Namespaces of which pods' labels were asked for; "" is all. */
  #podsRead = new Set<string>();
  #judged: Judged = new Map();
  #isDirty = true;
  #revision = 0;

  /** `isEnforced`: addresses prove who calls. */
  constructor(world: World, { isEnforced }: { isEnforced: boolean } = { isEnforced: true }) {
    this.#world = world;
    this.#isEnforced = isEnforced;
  }

  /** Something is there, is otherwise, or is gone: the world already shows it. Returns whether it matters. */
  changed(kind: string, key: string): boolean {
    if (kind === "Pod" && !this.#podsRead.has("") && !this.#podsRead.has(key.slice(0, key.indexOf("/")))) return false;
    this.#isDirty = true;
    return true;
  }

  snapshot(): TrafficSnapshot {
    return { revision: this.#revision, listeners: [], routes: this.#routes.values(), upstreams: this.#upstreams.values(), guards: this.#guards.values() };
  }

  /** Works off what changed. Without `patch` nothing changed for the engine. */
  flush(): { patch: TrafficPatch | undefined; told: Told[] } {
    if (!this.#isDirty) return { patch: undefined, told: [] };
    this.#isDirty = false;
    this.#podsRead = new Set();
    const compiled = new Compilation(this.#world, this.#podsRead, this.#isEnforced, this.#judged);
    this.#judged = compiled.judged;
    this.#publish(this.#routes, compiled.routes);
    this.#publish(this.#upstreams, compiled.upstreams);
    this.#publish(this.#guards, compiled.guards);
    const [routes, upstreams, guards] = [this.#routes.take(), this.#upstreams.take(), this.#guards.take()];
    const patch = routes || upstreams || guards ? { revision: ++this.#revision, put: { ...(upstreams && { upstreams: upstreams.put }), ...(routes && { routes: routes.put }), ...(guards && { guards: guards.put }) }, remove: { ...(routes && { routes: routes.remove }), ...(upstreams && { upstreams: upstreams.remove }), ...(guards && { guards: guards.remove }) } } : undefined;
    return { patch, told: this.#news(compiled.reports) };
  }

  /** Of those to whom there is something new to say. */
  #news(reports: ReadonlyMap<KubeObject, Report>): Told[] {
    const before = this.#said;
    this.#said = new Map();
    const news: Told[] = [];
    for (const [object, report] of reports) {
      const { uid, generation } = object.metadata;
      const text = JSON.stringify([generation, [...report.found], [...report.fields], [...report.places]]);
      this.#said.set(uid, text);
      if (before.get(uid) !== text) news.push({ object, report });
    }
    return news;
  }

  #publish<T extends { id: string }>(published: Published<T>, now: ReadonlyMap<string, T>): void {
    for (const { id } of published.values()) if (!now.has(id)) published.remove(id);
    for (const [id, value] of now) published.put(id, value);
  }
}
