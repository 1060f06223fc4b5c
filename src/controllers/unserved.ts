import { unserved, unservedText } from "../api/unserved.ts";
import type { KubeObject } from "../api/meta.ts";
import { type Controller, controller } from "./runner.ts";

/** One a kind: tells by an Event on the object itself that nothing acts on it, for those who look and did not apply. */
export const unservedControllers: Controller[] = unserved.map((entry) =>
  controller<KubeObject>({
    name: `unserved-${entry.resource}`,
    for: { group: entry.group, version: entry.group === "autoscaling" ? "v2" : "v1", resource: entry.resource },
    plan: ({ object }) => ({ actions: object.metadata.deletionTimestamp ? [] : [{ do: "event", about: object, type: "Warning", reason: "NotServed", message: unservedText(entry) }] }),
  }),
);
