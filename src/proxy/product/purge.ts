import { type ApiObject, type ApiStatus, purgeAnnotation, routeNameOf } from "../../api/product/kinds.ts";

type Purge = NonNullable<ApiStatus["purge"]>;

/** What the annotation asks for: names of caches, and how the paths begin that go; or why it cannot be done. */
export function purgeOf({ metadata, spec }: ApiObject, requested: string): { caches: string[]; prefix: string } | { message: string } {
  const [token = "", stage, prefix = "", ...more] = requested.split(" ").filter(Boolean);
  if (token === "" || more.length > 0) return { message: "must be TOKEN, TOKEN STAGE, or TOKEN STAGE /PATH" };
  const stages = spec.stages ?? [];
  const cacheOf = (name: string): string => `api/${metadata.namespace}/${routeNameOf(metadata.name, name)}`;
  if (stage === undefined) return { caches: stages.map(({ name }) => cacheOf(name)), prefix };
  const named = stages.find(({ name }) => name === stage);
  if (!named) return { message: `there is no stage ${stage}` };
  if (prefix !== "" && !prefix.startsWith("/")) return { message: `${prefix}: a path begins with '/'` };
  const { path } = named;
  if (prefix !== "" && path !== undefined && !(prefix === path || prefix.startsWith(`${path}/`))) return { message: `${prefix}: paths of stage ${stage} begin with ${path}` };
  return { caches: [cacheOf(stage)], prefix };
}

/**
 * Does what an API's annotation asks for, once for each of its values. Gives the status's `purge`: the one that is there already, where
 * nothing new is asked for.
 */
export async function purged(api: ApiObject, empty: (cache: string, prefix: string) => Promise<number>, now: string): Promise<Purge | undefined> {
  const requested = api.metadata.annotations?.[purgeAnnotation];
  const before = api.status?.purge;
  if (requested === undefined || requested === before?.requested) return before;
  const asked = purgeOf(api, requested);
  if ("message" in asked) return { requested, removed: 0, completed: now, message: asked.message };
  const removed = await Promise.all(asked.caches.map((cache) => empty(cache, asked.prefix)));
  return { requested, removed: removed.reduce((sum, one) => sum + one, 0), completed: now };
}
