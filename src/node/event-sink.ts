import { randomUUID } from "node:crypto";
import type { Client } from "../api/client.ts";
import { timestamp } from "../api/meta.ts";
import { nodeName, resources } from "../api/resources.ts";
import { StatusError } from "../api/status.ts";
import type { Pod } from "../api/types.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { NodeContext } from "./context.ts";

/** Events waiting to be written. More: the oldest is dropped; an event is news, not state. */
const queueMax = 1000;
/** How many different events are remembered for counting repetitions. */
const knownMax = 4096;
const messageCharsMax = 1024;

/**
 * Writes kubelet's Events about pods, one at a time and in order; the same event again raises its count.
 * Source of the correlation: k8s.io/client-go/tools/record/events_cache.go.
 */
export function createEventSink({ client, clock, log }: { client: Client; clock: Clock; log: Log }): NodeContext["event"] {
  const known = new Map<string, { name: string; count: number }>();
  const queue: { pod: Pod; type: string; reason: string; message: string; container: string | undefined; atMs: number }[] = [];
  let writing = false;

  const write = async ({ pod, type, reason, message, container, atMs }: (typeof queue)[number]): Promise<void> => {
    const { namespace = "default", name, uid, resourceVersion } = pod.metadata;
    const init = pod.spec?.initContainers?.some((candidate) => candidate.name === container) ?? false;
    const fieldPath = container === undefined ? undefined : `spec.${init ? "initContainers" : "containers"}{${container}}`;
    const key = JSON.stringify([uid, fieldPath, type, reason, message]);
    const now = timestamp(atMs);
    const old = known.get(key);
    if (old) {
      try {
        await client.patch(resources.events, namespace, old.name, { count: old.count + 1, lastTimestamp: now }, { type: "merge" });
        old.count++;
        return;
      } catch (error) {
        // Expired meanwhile: it is told anew.
        if (!(error instanceof StatusError) || error.code !== 404) throw error;
      }
    }
    const event = {
      apiVersion: "v1",
      kind: "Event",
      // Names as client-go makes them: the object's name and a hexadecimal tail that does not repeat.
      metadata: { name: `${name}.${randomUUID().replaceAll("-", "").slice(0, 16)}`, namespace },
      involvedObject: { apiVersion: "v1", kind: "Pod", namespace, name, uid, resourceVersion, ...(fieldPath && { fieldPath }) },
      type,
      reason,
      message,
      count: 1,
      firstTimestamp: now,
      lastTimestamp: now,
      source: { component: "kubelet", host: nodeName },
      reportingComponent: "kubelet",
      reportingInstance: nodeName,
    };
    await client.create(resources.events, namespace, event);
    known.delete(key);
    known.set(key, { name: event.metadata.name, count: 1 });
    if (known.size > knownMax) known.delete(known.keys().next().value!);
  };

  const drain = async (): Promise<void> => {
    writing = true;
    for (let next = queue.shift(); next; next = queue.shift()) {
      // A namespace that ends takes no more events; nothing to be done about either.
      await write(next).catch((error: unknown) => log.debug("event not written", { reason: next!.reason, error: (error as Error).message }));
    }
    writing = false;
  };

  return (pod, type, reason, message, container) => {
    if (queue.length >= queueMax) queue.shift();
    queue.push({ pod, type, reason, message: message.slice(0, messageCharsMax), container, atMs: clock.now() });
    if (!writing) void drain();
  };
}
