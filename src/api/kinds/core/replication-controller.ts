import type { FieldError } from "../../field.ts";
import { required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import { notNegative } from "../../validation/checks.ts";
import { nameIsDnsSubdomain, nameIsPathSegment } from "../../validation/names.ts";
import { formatSelector } from "../../validation/selector.ts";
import { replicaColumns, replicaCounts } from "../apps/replica-set.ts";
import { labelsText, text, wide } from "../columns.ts";
import { ownerWarnings, replicasScale, validateReplicaCounts, validateRunningTemplate } from "../workload.ts";
import { defaultPodTemplate } from "./pod/defaults.ts";

const validateSpec = (spec: any): FieldError[] => [
  ...notNegative("spec.minReadySeconds", spec.minReadySeconds),
  ...(Object.keys(spec.selector ?? {}).length === 0 ? [required("spec.selector")] : []),
  ...notNegative("spec.replicas", spec.replicas),
  ...validateRunningTemplate("spec.template", spec.template, { matchLabels: spec.selector ?? {} }, "ReplicationController"),
];

/** Source: k8s.io/kubernetes/pkg/apis/core/{v1/defaults.go,validation/validation.go}. */
export const replicationController: Strategy = {
  defaultPropagation: "Orphan",
  hasStatus: true,
  // What begins a name is not asked to be one.
  validateName: (name, prefix) => (prefix ? nameIsPathSegment(name, true) : nameIsDnsSubdomain(name, false)),
  defaults(object) {
    const spec = (object.spec ??= {});
    const labels = spec.template?.metadata?.labels;
    if (labels) {
      if (Object.keys(spec.selector ?? {}).length === 0) spec.selector = { ...labels };
      if (Object.keys(object.metadata.labels ?? {}).length === 0) object.metadata.labels = { ...labels };
    }
    spec.replicas ??= 1;
    if (spec.template) defaultPodTemplate(spec.template);
  },
  prepareForCreate(object) {
    object.status = { replicas: 0 };
  },
  validate: (object) => validateSpec(object.spec),
  validateStatusUpdate: (object) => validateReplicaCounts(object.status, replicaCounts, ["observedGeneration"]),
  // Upstream confuses the old template with the new one, and warns of the old.
  warnings: (object, old) => (old && old.metadata.generation !== object.metadata.generation ? ownerWarnings({ ...old, metadata: object.metadata }, old) : ownerWarnings(object, old)),
  scale: { ...replicasScale, labelSelector: (object) => formatSelector({ matchLabels: object.spec.selector }) },
  columns: [...replicaColumns, wide(text("Selector", (object) => labelsText(object.spec?.selector)))],
  selectableFields: (object) => ({ "status.replicas": String(object.status?.replicas ?? 0) }),
};
