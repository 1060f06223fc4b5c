import { forbidden, type FieldError } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { each } from "../../validation/checks.ts";
import { podColumns, podRowConditions } from "./pod/columns.ts";
import { validateImageSpaces } from "./pod/containers.ts";
import { defaultPod, mirrorServiceAccount } from "./pod/defaults.ts";
import { qosClass } from "./pod/qos.ts";
import { prepareForResize, validateResize } from "./pod/resize.ts";
import { validatePodAnnotations, validatePodSpec } from "./pod/spec.ts";
import { validateEphemeralContainersUpdate, validatePodStatusUpdate, validatePodUpdate } from "./pod/update.ts";
import { dns1123Label } from "../../validation/names.ts";
import { podWarnings } from "./pod/warnings.ts";

/** What holds for every write of a pod, first or later. */
function validatePod(pod: KubeObject): FieldError[] {
  const errors = [...validatePodAnnotations("metadata.annotations", pod.metadata.annotations), ...validatePodSpec("spec", pod.spec, { isPod: true })];
  if (!pod.spec.serviceAccountName) {
    errors.push(
      ...each("spec.volumes", pod.spec.volumes, (volume, at) =>
        each(`${at}.projected.sources`, volume.projected?.sources, (source, sourceAt) => (source.serviceAccountToken ? [forbidden(`${sourceAt}.serviceAccountToken`, "must not be specified when serviceAccountName is not set")] : [])),
      ),
    );
  }
  for (const list of ["containers", "initContainers"]) errors.push(...each(`spec.${list}`, pod.spec[list], (container, at) => validateImageSpaces(at, container)));
  return errors;
}

/** Fields of features that are off by default upstream and are not here, unless they were there before. */
function dropUnserved(status: any, old: any): void {
  if (old?.resources === undefined && old?.allocatedResources === undefined) {
    delete status.resources;
    delete status.allocatedResources;
  }
  if (old?.extendedResourceClaimStatus === undefined) delete status.extendedResourceClaimStatus;
  for (const list of ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"]) for (const container of status[list] ?? []) delete container.allocatedResourcesStatus;
}

/** Source: k8s.io/kubernetes/pkg/registry/core/pod/strategy.go. */
export const pod: Strategy = {
  hasStatus: true,
  defaults: defaultPod,
  prepareForCreate(object) {
    // Admission may have named the ServiceAccount since the defaults were set.
    mirrorServiceAccount(object.spec);
    object.status = { phase: "Pending", qosClass: qosClass(object) };
  },
  prepareForUpdate: (object) => mirrorServiceAccount(object.spec),
  prepareForStatusUpdate({ metadata, status }, old) {
    if (old.metadata.ownerReferences) metadata.ownerReferences = old.metadata.ownerReferences;
    else delete metadata.ownerReferences;
    if (!status) return;
    dropUnserved(status, old.status);
    if (!status.qosClass && old.status?.qosClass) status.qosClass = old.status.qosClass;
    // A node that does not know of generations must not take them away.
    const before = [...(old.status?.conditions ?? [])];
    for (const [now, then] of [[status, old.status], ...(status.conditions ?? []).map((condition: any) => [condition, before.splice(before.findIndex(({ type }) => type === condition.type) >>> 0, 1)[0]])]) if (!now.observedGeneration && then?.observedGeneration) now.observedGeneration = then.observedGeneration;
  },
  validate(object) {
    const errors = validatePod(object);
    // They come by their own subresource, to a pod that exists.
    if (!object.metadata.resourceVersion && (object.spec.ephemeralContainers ?? []).length > 0) errors.push(forbidden("spec.ephemeralContainers", "cannot be set on create"));
    if (object.spec.nodeName && (object.spec.schedulingGates ?? []).length > 0) errors.push(forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared"));
    return errors;
  },
  validateUpdate: validatePodUpdate,
  validateStatusUpdate: validatePodStatusUpdate,
  parts: {
    ephemeralcontainers: {
      prepareForUpdate(object, old) {
        const { managedFields } = object.metadata;
        const { ephemeralContainers } = object.spec;
        Object.assign(object, old, { metadata: { ...old.metadata, ...(managedFields && { managedFields }) }, spec: { ...old.spec, ephemeralContainers } });
        if (ephemeralContainers === undefined) delete object.spec.ephemeralContainers;
      },
      validateUpdate: validateEphemeralContainersUpdate,
    },
    resize: { prepareForUpdate: prepareForResize, validateUpdate: validateResize },
  },
  // Upstream leaves updates alone: people rarely write them, and most of a pod stays as it is.
  warnings(object, old) {
    if (old) return [];
    const wrong = dns1123Label(object.metadata.name ?? "");
    return [...(wrong.length > 0 ? [`metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [${wrong.join(" ")}]`] : []), ...podWarnings("", object)];
  },
  gracePeriodSeconds(object) {
    // Nobody runs it, or it has run: nothing to wait for.
    if (!object.spec.nodeName || object.status?.phase === "Succeeded" || object.status?.phase === "Failed") return 0;
    const seconds = object.spec.terminationGracePeriodSeconds ?? 30;
    return seconds < 0 ? 1 : seconds;
  },
  columns: podColumns,
  rowConditions: podRowConditions,
  selectableFields: ({ spec, status }) => ({
    "spec.nodeName": spec?.nodeName ?? "",
    "spec.restartPolicy": spec?.restartPolicy ?? "",
    "spec.schedulerName": spec?.schedulerName ?? "",
    "spec.serviceAccountName": spec?.serviceAccountName ?? "",
    "spec.hostNetwork": String(spec?.hostNetwork ?? false),
    "status.phase": status?.phase ?? "",
    "status.podIP": status?.podIPs?.[0]?.ip ?? status?.podIP ?? "",
    "status.podIPs": status?.podIPs?.[0]?.ip ?? status?.podIP ?? "",
    "status.nominatedNodeName": status?.nominatedNodeName ?? "",
  }),
};
