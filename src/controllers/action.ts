import type { DeleteOptions, PatchType } from "../api/client.ts";
import type { GroupVersionResource, KubeObject } from "../api/meta.ts";
import type { EventSubject } from "../api/events.ts";

/**
 * What a plan wants done, as data. Actions of a list run one after the other; the first that fails ends the list,
 * and the key is tried again. `after` and `orElse` run after the write and see its outcome; an `orElse` does not
 * make up for the failure.
 */
export type Action =
  /** With `subresource`, `of` is the object that the server changes by it. */
  | ({ do: "create"; resource: GroupVersionResource; object: Draft; subresource?: string; of?: Existing } & Outcome)
  /** Replaces; fails with a conflict when the object has moved on from `object.metadata.resourceVersion`. */
  | ({ do: "update"; resource: GroupVersionResource; object: Existing; subresource?: string } & Outcome)
  /** Writes the status, at most once per key in 30 ms: left out when too early, since the key then comes again. */
  | ({ do: "status"; resource: GroupVersionResource; object: Existing } & Outcome)
  | ({ do: "patch"; resource: GroupVersionResource; object: Existing; patch: object; type?: PatchType; /** Of an apply: take what others own. */ force?: boolean; subresource?: string } & Outcome)
  /** Only this very object (its uid is the precondition); one that is gone already is a success. */
  | ({ do: "delete"; resource: GroupVersionResource; object: Existing; options?: Omit<DeleteOptions, "preconditions" | "signal"> } & Outcome)
  | { do: "event"; about: EventSubject; type: "Normal" | "Warning"; reason: string; message: string }
  /** At the same time, in growing slices (1, 2, 4, …) when `slowStart`, so that a refusal is met once and not a hundred times. */
  | { do: "batch"; actions: Action[]; slowStart?: boolean; orElse?: (error: Error) => Action[] }
  /** Runs `actions` only if the server (not the cache) has nothing of these resources in the namespace, or nothing with this uid. */
  | { do: "ifAbsent"; namespace: string; resources: readonly GroupVersionResource[]; uid?: string; actions: Action[] }
  /** Runs `actions` only if the server still has this very object, and it is not being deleted. */
  | { do: "ifPresent"; resource: GroupVersionResource; object: Existing; actions: Action[] }
  /** Anything that is no object, such as a folder to remove. */
  | { do: "call"; run: () => Promise<void>; after?: () => Action[]; orElse?: (error: Error) => Action[] };

/** The actions that are one write. */
export type Write = Exclude<Extract<Action, { resource: GroupVersionResource }>, { do: "ifPresent" }>;

export interface Outcome {
  after?: (result: KubeObject) => Action[];
  orElse?: (error: Error) => Action[];
}

/** An object that exists, as read from a cache, perhaps with changed fields. Loose, so that typed kinds fit. */
export interface Existing {
  metadata: { name: string; namespace?: string; uid: string; resourceVersion: string; deletionTimestamp?: string };
  spec?: unknown;
  status?: unknown;
}
/** An object to be created. */
export interface Draft {
  apiVersion: string;
  kind: string;
  metadata: { name?: string; generateName?: string; namespace?: string; [field: string]: unknown };
  [field: string]: unknown;
}

export interface Plan {
  actions: Action[];
  /** When to look again though nothing changed. */
  requeueAfterMs?: number;
}
