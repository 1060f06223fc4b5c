import type { PatchType } from "../../api/client.ts";
import { builtinSchema } from "../../api/kinds/table.ts";
import type { Kind } from "../../api/kind.ts";
import type { KubeObject } from "../../api/meta.ts";
import { badRequestError, conflictError, invalidError, type StatusError } from "../../api/status.ts";
import { cannotBeHandled } from "../../api/walker.ts";
import { invalid, required } from "../../api/field.ts";
import { appliedTo } from "./apply.ts";
import type { RestDependencies, WriteContext } from "./context.ts";
import { recordWrite, setManagedFields } from "./managed-fields.ts";
import { applied, unfitting } from "./patch.ts";
import { toParent, toScale } from "./scale-ownership.ts";

/** The autoscaling/v1 Scale of an object: what /scale answers for every verb. */
export function scaleOf(kind: Kind, object: KubeObject): KubeObject {
  const { specReplicasPath, statusReplicasPath, labelSelector } = kind.scale!;
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const replicas = at(object, specReplicasPath) ?? 0;
  const selector = labelSelector(object);
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: { name, ...(namespace !== undefined && { namespace }), uid, resourceVersion, creationTimestamp },
    spec: replicas === 0 ? {} : { replicas },
    status: { replicas: at(object, statusReplicasPath) ?? 0, ...(selector !== "" && { selector }) },
  };
}

/** Scale is no resource, but writes to it are recorded as if it were one. */
const scaleKind = () => ({ group: "autoscaling", version: "v1", kind: "Scale", schema: builtinSchema("autoscaling", "v1", "Scale")! }) as Kind;

/**
 * The object as a write to its /scale makes it, with the managedFields that follow: a private draft.
 * Source: pkg/registry/apps/deployment/storage, scaleUpdatedObjectInfo.
 */
export function rescaled(dependencies: RestDependencies, kind: Kind, old: KubeObject, type: PatchType | "update", body: unknown, context: WriteContext): KubeObject {
  const { registry } = dependencies;
  const scale = scaleOf(kind, old);
  const live: KubeObject = { ...scale, metadata: { ...scale.metadata } };
  setManagedFields(live, toScale(registry, kind, old.metadata.managedFields));
  const named = (body as { metadata?: { resourceVersion?: string } } | null)?.metadata?.resourceVersion;
  let wanted: unknown;
  if (type === "update") wanted = body;
  else {
    wanted = type === "apply" ? appliedTo(dependencies, scaleKind(), live, body, context.fieldManager, context.force ?? false, "scale") : applied(scaleKind(), scale, type, body);
    wanted = { ...(wanted as KubeObject), metadata: { ...(wanted as KubeObject).metadata, resourceVersion: named ?? "" } };
  }
  const draft = withScale(kind, old, wanted, type === "update" || type === "apply" ? undefined : (why) => unfitting(wanted, why));
  const entries = type === "apply" ? (wanted as KubeObject).metadata.managedFields : recordWrite(dependencies, scaleKind(), live, scaleOf(kind, draft), context.fieldManager, "scale");
  setManagedFields(draft, toParent(registry, kind, old.metadata.managedFields, entries));
  return draft;
}

/** The object with the Scale's replicas in place: a private draft. */
function withScale(kind: Kind, old: KubeObject, scale: unknown, refuse: (why: string) => StatusError = (why) => cannotBeHandled("v1", "Scale", why)): KubeObject {
  const given = scale as { metadata?: { name?: string; resourceVersion?: string; uid?: string }; spec?: { replicas?: unknown } } | null;
  if (typeof given !== "object" || given === null) throw badRequestError("the body is no Scale object");
  const replicas = given.spec?.replicas ?? 0;
  if (typeof replicas !== "number" || !Number.isInteger(replicas)) throw refuse(`json: cannot unmarshal ${typeof replicas} into Go struct field ScaleSpec.spec.replicas of type int32`);
  const of = { group: "autoscaling", kind: "Scale" };
  if (given.metadata?.name !== undefined && given.metadata.name === "") throw invalidError(of, "", [required("metadata.name")]);
  // A custom resource is judged by its own schema.
  if (replicas < 0 && !kind.custom) throw invalidError(of, old.metadata.name, [invalid("spec.replicas", replicas, "must be greater than or equal to 0")]);
  if (given.metadata?.uid && given.metadata.uid !== old.metadata.uid) throw conflictError(kind, old.metadata.name, `Precondition failed: UID in precondition: ${given.metadata.uid}, UID in object meta: ${old.metadata.uid}`);
  const draft = JSON.parse(JSON.stringify(old)) as KubeObject;
  setAt(draft, kind.scale!.specReplicasPath, replicas);
  draft.metadata.resourceVersion = given.metadata?.resourceVersion ?? "";
  return draft;
}

/** A built-in object has them by nature; upstream shows no scale of a custom one without. */
export const hasReplicas = (kind: Kind, object: KubeObject): boolean => !kind.custom || at(object, kind.scale!.specReplicasPath) !== undefined;
export const replicasOf = (kind: Kind, object: KubeObject): number => at(object, kind.scale!.specReplicasPath) ?? 0;
export const setReplicas = (kind: Kind, object: KubeObject, replicas: number): void => setAt(object, kind.scale!.specReplicasPath, replicas);

/** ".spec.replicas" */
function at(object: KubeObject, path: string): number | undefined {
  let value: unknown = object;
  for (const part of path.replace(/^\./, "").split(".")) value = (value as Record<string, unknown> | undefined)?.[part];
  return value as number | undefined;
}

function setAt(object: KubeObject, path: string, value: number): void {
  const parts = path.replace(/^\./, "").split(".");
  let holder = object as Record<string, unknown>;
  for (const part of parts.slice(0, -1)) holder = (holder[part] ??= {}) as Record<string, unknown>;
  holder[parts.at(-1)!] = value;
}
