import { type FieldError, invalid } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { checked } from "../../validation/checks.ts";
import { nameIsDnsLabel, qualifiedName } from "../../validation/names.ts";
import { ageOf, name, text } from "../columns.ts";

/** Every namespace can be selected by its name. */
function labelWithName(object: KubeObject): void {
  if (object.metadata.name) object.metadata.labels = { ...object.metadata.labels, "kubernetes.io/metadata.name": object.metadata.name };
}

const validateFinalizers = (object: KubeObject): FieldError[] =>
  ((object.spec?.finalizers ?? []) as string[]).flatMap((finalizer) => [
    ...checked("spec.finalizers", finalizer, qualifiedName),
    ...(finalizer.includes("/") || ["kubernetes", "orphan", "foregroundDeletion"].includes(finalizer) ? [] : [invalid("spec.finalizers", finalizer, "name is neither a standard finalizer name nor is it fully qualified")]),
  ]);

/** Source: k8s.io/kubernetes/pkg/registry/core/namespace/strategy.go. */
export const namespace: Strategy = {
  hasStatus: true,
  validateName: nameIsDnsLabel,
  defaults(object) {
    labelWithName(object);
    (object.status ??= {}).phase ||= "Active";
  },
  prepareForCreate(object) {
    // A generated name exists only now.
    labelWithName(object);
    object.status = { phase: "Active" };
    const finalizers: string[] = (object.spec ??= {}).finalizers ?? [];
    object.spec.finalizers = finalizers.includes("kubernetes") ? finalizers : [...finalizers, "kubernetes"];
  },
  prepareForUpdate(object, old) {
    // Only the finalize subresource changes these.
    object.spec = old.spec;
  },
  validate: validateFinalizers,
  validateStatusUpdate(object) {
    const phase = object.status?.phase;
    if (!object.metadata.deletionTimestamp) return phase === "Active" ? [] : [invalid("status.Phase", phase ?? "", "may only be 'Active' if `deletionTimestamp` is empty")];
    return phase === "Terminating" ? [] : [invalid("status.Phase", phase ?? "", "may only be 'Terminating' if `deletionTimestamp` is not empty")];
  },
  columns: [name, text("Status", ({ status }) => status?.phase), ageOf],
  selectableFields: ({ status }) => ({ "status.phase": status?.phase ?? "" }),
};
