import { isIP } from "node:net";
import { duplicate, type FieldError, forbidden, invalid, required } from "../../../field.ts";
import type { KubeObject } from "../../../meta.ts";
import { validateIP } from "../../../validation/address.ts";
import { each, immutable, semanticEqual } from "../../../validation/checks.ts";
import { differences } from "../../../validation/differences.ts";
import { nameIsDnsSubdomain, qualifiedName, rangeError } from "../../../validation/names.ts";
import { validateImageSpaces } from "./containers.ts";
import { validateTolerations } from "./scheduling.ts";

// Shapes were proved by the schema; `any` stands for "as the schema says".
type Draft = any;

const int32Max = 2 ** 31 - 1;

const updatable = [
  "`spec.containers[*].image`",
  "`spec.initContainers[*].image`",
  "`spec.activeDeadlineSeconds`",
  "`spec.tolerations` (only additions to existing tolerations)",
  "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
].join(",");

/**
 * What a pod that exists may still change.
 * Source: ValidatePodUpdate in k8s.io/kubernetes/pkg/apis/core/validation/validation.go.
 */
export function validatePodUpdate(pod: KubeObject, old: KubeObject): FieldError[] {
  const spec = pod.spec as Draft;
  const oldSpec = old.spec as Draft;
  const errors: FieldError[] = [];
  for (const list of ["containers", "initContainers"]) {
    if ((spec[list] ?? []).length !== (oldSpec[list] ?? []).length) return [...errors, forbidden(`spec.${list}`, "pod updates may not add or remove containers")];
    errors.push(...each(`spec.${list}`, spec[list], (container, at) => [...(container.image ? [] : [required(`${at}.image`)]), ...validateImageSpaces(at, container)]));
  }
  const deadline = spec.activeDeadlineSeconds;
  const oldDeadline = oldSpec.activeDeadlineSeconds;
  if (deadline !== undefined) {
    if (deadline < 0 || deadline > int32Max) return [...errors, invalid("spec.activeDeadlineSeconds", deadline, rangeError(0, int32Max))];
    if (oldDeadline !== undefined && oldDeadline < deadline) return [...errors, invalid("spec.activeDeadlineSeconds", deadline, "must be less than or equal to previous value")];
  } else if (oldDeadline !== undefined) errors.push(invalid("spec.activeDeadlineSeconds", null, "must not update from a positive integer to nil value"));
  errors.push(...validateOnlyAddedTolerations(spec.tolerations, oldSpec.tolerations));
  errors.push(...validateOnlyRemovedGates(spec.schedulingGates, oldSpec.schedulingGates));

  // What may change is put back; anything that then still differs may not.
  const withOldImages = (list: string): Draft[] | undefined => spec[list]?.map((container: Draft, index: number) => ({ ...container, image: oldSpec[list][index].image }));
  const rest: Draft = {
    ...spec,
    containers: withOldImages("containers"),
    initContainers: withOldImages("initContainers"),
    activeDeadlineSeconds: oldDeadline,
    schedulingGates: oldSpec.schedulingGates,
    tolerations: oldSpec.tolerations,
  };
  if (oldSpec.terminationGracePeriodSeconds < 0 && rest.terminationGracePeriodSeconds === 1) rest.terminationGracePeriodSeconds = oldSpec.terminationGracePeriodSeconds;
  if ((oldSpec.schedulingGates ?? []).length > 0) {
    // A gated pod was seen by no scheduler yet: its node selector may still be narrowed.
    const narrowed = Object.entries(oldSpec.nodeSelector ?? {}).every(([key, value]) => rest.nodeSelector?.[key] === value);
    if (!narrowed) errors.push(invalid("spec.nodeSelector", rest.nodeSelector, "only additions to spec.nodeSelector are allowed (no mutations or deletions)"));
    rest.nodeSelector = oldSpec.nodeSelector;
  }
  if (!semanticEqual(rest, oldSpec)) errors.push(forbidden("spec", `pod updates may not change fields other than ${updatable}\n${differences(oldSpec, rest)}`));
  return errors;
}

function validateOnlyAddedTolerations(tolerations: Draft[] | undefined, old: Draft[] | undefined): FieldError[] {
  const kept = (old ?? []).every((before) => (tolerations ?? []).some((after) => semanticEqual({ ...before, tolerationSeconds: after.tolerationSeconds }, after)));
  if (!kept) return [forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")];
  return validateTolerations("spec.tolerations", tolerations);
}

function validateOnlyRemovedGates(gates: Draft[] | undefined, old: Draft[] | undefined): FieldError[] {
  const known = new Set((old ?? []).map((gate) => gate.name));
  return each("spec.schedulingGates", gates, (gate, at) => (known.has(gate.name) ? [] : [forbidden(`${at}.name`, `only deletion is allowed, but found new scheduling gate '${gate.name}'`)]));
}

/** Writes to the `ephemeralcontainers` subresource: containers may be added there, never changed or taken away. */
export function validateEphemeralContainersUpdate(pod: KubeObject, old: KubeObject): FieldError[] {
  const path = "spec.ephemeralContainers";
  return ((old.spec.ephemeralContainers ?? []) as Draft[]).flatMap((before) => {
    const after = (pod.spec.ephemeralContainers ?? []).find((container: Draft) => container.name === before.name);
    if (!after) return [forbidden(path, `existing ephemeral containers ${JSON.stringify(before.name)} may not be removed\n`)];
    return semanticEqual(before, after) ? [] : [forbidden(path, `existing ephemeral containers ${JSON.stringify(before.name)} may not be changed\n${differences(before, after)}`)];
  });
}

const notNegativeInteger = "must be a non-negative integer";
const ownConditions = new Set(["PodScheduled", "Ready", "Initialized"]);

/** Source: ValidatePodStatusUpdate, as above. */
export function validatePodStatusUpdate(pod: KubeObject, old: KubeObject): FieldError[] {
  const status = (pod.status ?? {}) as Draft;
  const oldStatus = (old.status ?? {}) as Draft;
  const errors: FieldError[] = [];
  errors.push(...each("status.conditions", status.conditions, (condition, at) => [...(condition.observedGeneration < 0 ? [invalid(`${at}.observedGeneration`, condition.observedGeneration, notNegativeInteger)] : []), ...(ownConditions.has(condition.type) ? [] : qualifiedName(condition.type ?? "").map((text) => invalid(`${at}.Type`, condition.type, text)))]));
  if ((pod.spec?.nodeName ?? "") !== (old.spec?.nodeName ?? "")) errors.push(forbidden("status.nodeName", "may not be changed directly"));
  const nominated = status.nominatedNodeName;
  if (nominated && nominated !== oldStatus.nominatedNodeName) errors.push(...nameIsDnsSubdomain(nominated, false).map((text) => invalid("status.nominatedNodeName", nominated, text)));
  errors.push(...immutable("status.qosClass", status.qosClass ?? "", oldStatus.qosClass ?? ""));
  if (status.observedGeneration < 0) errors.push(invalid("status.observedGeneration", status.observedGeneration, notNegativeInteger));
  const sidecars = new Set<string>((old.spec?.initContainers ?? []).filter((container: Draft) => container.restartPolicy === "Always").map((container: Draft) => container.name));
  errors.push(...validateStates("containerStatuses", status, oldStatus, old.spec?.restartPolicy));
  errors.push(...validateStates("initContainerStatuses", status, oldStatus, old.spec?.restartPolicy, sidecars));
  errors.push(...validateStates("ephemeralContainerStatuses", status, oldStatus, "Never"));
  const claims = new Set<string>((pod.spec?.resourceClaims ?? []).map((claim: Draft) => claim.name));
  const named = new Set<string>();
  errors.push(
    ...each("status.resourceClaimStatuses", status.resourceClaimStatuses, ({ name = "", resourceClaimName }, at) => {
      const found = claims.has(name) ? [] : [invalid(`${at}.name`, name, "must match the name of an entry in `spec.resourceClaims`")];
      if (named.has(name)) found.push(duplicate(`${at}.name`, name));
      named.add(name);
      return resourceClaimName === undefined ? found : [...found, ...nameIsDnsSubdomain(resourceClaimName, false).map((text) => invalid(`${at}.name`, resourceClaimName, text))];
    }),
  );
  const addresses = (field: string): FieldError[] => {
    const ips: string[] = (status[field] ?? []).map(({ ip = "" }: Draft) => ip);
    return [...each(`status.${field}`, ips, (ip, at) => validateIP(at, ip)), ...validateFamilies(`status.${field}`, ips, status[field])];
  };
  errors.push(...((status.podIPs ?? []).length === 0 && status.podIP ? validateIP("status.podIPs[0]", status.podIP) : addresses("podIPs")));
  const first = status.hostIPs?.[0];
  if (first && (first.ip ?? "") !== (status.hostIP ?? "")) errors.push(invalid("status.hostIPs[0].ip", first.ip ?? "", "must be equal to `hostIP`"));
  return [...errors, ...addresses("hostIPs")];
}

/** Without a policy that restarts it, a container that has ended stays ended. */
function validateStates(list: string, status: Draft, old: Draft, restartPolicy: string | undefined, except = new Set<string>()): FieldError[] {
  if (restartPolicy === "Always") return [];
  return each(`status.${list}`, old[list], (before, at) => {
    const ended = before.state?.terminated;
    if (!ended || except.has(before.name) || (restartPolicy === "OnFailure" && (ended.exitCode ?? 0) !== 0)) return [];
    const after = (status[list] ?? []).find((container: Draft) => container.name === before.name);
    return after && !after.state?.terminated ? [forbidden(`${at}.state`, "may not be transitioned to non-terminated state")] : [];
  });
}

/** At most one address of each family. Source: k8s.io/utils/net, IsDualStackIPStrings. */
function validateFamilies(path: string, ips: readonly string[], given: unknown): FieldError[] {
  if (ips.length < 2) return [];
  const unreadable = ips.findIndex((ip) => isIP(ip) === 0);
  const errors: FieldError[] = unreadable < 0 ? [] : [{ type: "InternalError", field: path, body: `Internal error: failed to check for dual stack with error:invalid IP[${unreadable}]: ${ips[unreadable]}` }];
  const isDual = unreadable < 0 && new Set(ips.map(isIP)).size === 2;
  return isDual && ips.length === 2 ? errors : [...errors, invalid(path, given, "may specify no more than one IP for each IP family")];
}
