import { resources } from "../api/resources.ts";
import type { Event } from "../api/types.ts";
import { limits } from "../base/limits.ts";
import type { Action, Plan } from "./action.ts";
import type { Cache } from "./cache.ts";
import type { Controller } from "./runner.ts";

const intervalMs = 60_000;
/** Deleted at a time; a storm of old Events must not fill the write queue. */
const batchMax = 500;

/** Events go an hour after they last happened. Upstream's store does it by leases; ours by looking once a minute. */
export const eventExpiryController: Controller = {
  name: "event-expiry-controller",
  watches: [{ resource: resources.namespaces, keys: () => ["events"] }],
  reads: [resources.events],
  plan: ({ cache, nowMs }) => planEventExpiry(cache, nowMs),
};

export function planEventExpiry(cache: Cache, nowMs: number): Plan {
  const old = cache.list<Event>(resources.events).filter((event) => lastSeenMs(event) + limits.eventTtlMs <= nowMs);
  const actions = old.slice(0, batchMax).map((event): Action => ({ do: "delete", resource: resources.events, object: event }));
  return { actions: [{ do: "batch", actions }], requeueAfterMs: old.length > batchMax ? 1_000 : intervalMs };
}

function lastSeenMs(event: Event): number {
  const times = [event.lastTimestamp, event.series?.lastObservedTime, event.eventTime, event.firstTimestamp, event.metadata.creationTimestamp];
  return Math.max(...times.map((time) => (time ? Date.parse(time as string) : 0)));
}
