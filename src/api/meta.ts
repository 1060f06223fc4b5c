/** The shapes every Kubernetes object shares. Source: k8s.io/apimachinery/pkg/apis/meta/v1. */

export interface ObjectMeta {
  name: string;
  generateName?: string;
  namespace?: string;
  uid: string;
  /** The decimal form of the store's revision; opaque to clients, comparable as an integer since 1.35. */
  resourceVersion: string;
  generation?: number;
  /** RFC 3339 with seconds, UTC. */
  creationTimestamp: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  finalizers?: string[];
  managedFields?: ManagedFieldsEntry[];
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface ManagedFieldsEntry {
  manager?: string;
  operation?: "Apply" | "Update";
  apiVersion?: string;
  time?: string;
  fieldsType?: "FieldsV1";
  fieldsV1?: unknown;
  subresource?: string;
}

/**
 * Any object. `spec` and `status` are loose on purpose: the schema walker has proved their shape before anyone
 * reads them. Code that knows the kind uses the types of `kubernetes-models` through `api/types.ts`.
 */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  // oxlint-disable-next-line no-explicit-any
  [field: string]: any;
}

export interface ListMeta {
  resourceVersion: string;
  continue?: string;
  remainingItemCount?: number;
}

export interface KubeList<T = KubeObject> {
  apiVersion: string;
  kind: string;
  metadata: ListMeta;
  items: T[];
}

export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
  observedGeneration?: number;
  [field: string]: unknown;
}

export type WatchEventType = "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
export interface WatchEvent<T = KubeObject> {
  type: WatchEventType;
  object: T;
}

/** Names a resource: `{ group: "apps", version: "v1", resource: "deployments" }`. The core group is "". */
export interface GroupVersionResource {
  group: string;
  version: string;
  resource: string;
}

/** "v1", or "apps/v1". */
export function apiVersionOf(group: string, version: string): string {
  return group === "" ? version : `${group}/${version}`;
}

/** "pods", or "deployments.apps": how messages name a resource. */
export function qualifiedResource(group: string, resource: string): string {
  return group === "" ? resource : `${resource}.${group}`;
}

let lastSecond = Number.NaN;
let lastText = "";

/** RFC 3339 with whole seconds, as metav1.Time is written. */
export function timestamp(nowMs: number): string {
  // Each write asks for the present second, several times.
  const second = Math.floor(nowMs / 1000);
  if (second !== lastSecond) [lastSecond, lastText] = [second, `${new Date(second * 1000).toISOString().slice(0, -".000Z".length)}Z`];
  return lastText;
}

/** RFC 3339 with microseconds, as metav1.MicroTime is written (Leases, new Events). */
export function microTimestamp(nowMs: number): string {
  return new Date(nowMs).toISOString().replace("Z", "000Z");
}

/** The owner that manages this object, if one does. */
export function controllerOf(object: { metadata: Pick<ObjectMeta, "ownerReferences"> }): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((owner) => owner.controller === true);
}

/**
 * Conditions with `next` put in place: lastTransitionTime moves only when the status changes, and an equal
 * condition returns the very same list, so that a no-op stays a no-op.
 */
export function withCondition(conditions: readonly Condition[] | undefined, next: Condition, nowMs: number): Condition[] {
  const list = (conditions ?? []) as Condition[];
  const old = list.find((condition) => condition.type === next.type);
  const lastTransitionTime = old && old.status === next.status ? old.lastTransitionTime : timestamp(nowMs);
  const merged: Condition = { ...next, lastTransitionTime: lastTransitionTime ?? timestamp(nowMs) };
  if (old && Object.keys(merged).every((key) => merged[key] === old[key])) return list;
  return old ? list.map((condition) => (condition === old ? merged : condition)) : [...list, merged];
}
