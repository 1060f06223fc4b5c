import { type FieldError, forbidden } from "../../api/field.ts";
import { invalidError } from "../../api/status.ts";
import type { Container, PodSpec } from "../../api/types.ts";
import type { AdmissionStep } from "../rest/context.ts";

/**
 * What no pod may have here, whoever asks: the walls between a pod and the machine are not negotiable
 * (docs/internals/sandbox.md). Pods and the templates that would make them are refused alike, so that the mistake
 * shows where it is made.
 */
export function podRefusals(): AdmissionStep {
  return {
    name: "PodRefusals",
    validate({ operation, kind, object, old, subresource, warnings }) {
      if ((operation !== "CREATE" && operation !== "UPDATE") || (subresource !== undefined && subresource !== "ephemeralcontainers") || !object) return;
      const found = specOf(kind.kind, object["spec"] as Record<string, unknown> | undefined);
      if (!found) return;
      // An object that is already there may still be changed for the better, or deleted by its finalizers.
      const before = old ? specOf(kind.kind, old["spec"] as Record<string, unknown> | undefined) : undefined;
      const errors = refusals(found.spec, found.path);
      if (kind.kind === "Pod") {
        const lists = subresource === "ephemeralcontainers" ? (["ephemeralContainers"] as const) : operation === "CREATE" ? (["initContainers", "containers"] as const) : [];
        for (const list of lists) {
          // Not of debug containers that were there before this one.
          const known = before?.spec[list]?.length ?? 0;
          for (const [index, container] of (found.spec[list] ?? []).entries()) if (index >= known && container.securityContext?.capabilities?.add?.includes(debugCapability)) warnings.push(`spec.${list}[${index}].securityContext.capabilities.add: ${debugCapability} is not granted: containers run without any capability`);
        }
      }
      if (errors.length > 0 && (!before || refusals(before.spec, before.path).length === 0)) throw invalidError(kind, object.metadata.name || object.metadata.generateName || "", errors);
    },
  };
}

/** What `kubectl debug` asks for by itself, in the pod or in a copy of it. It is not granted, and said so; refused, nobody could debug without knowing of `--profile`. */
const debugCapability = "SYS_PTRACE";

function specOf(kind: string, spec: Record<string, unknown> | undefined): { spec: PodSpec; path: string } | undefined {
  if (!spec) return undefined;
  if (kind === "Pod") return { spec: spec as unknown as PodSpec, path: "spec" };
  const template = (kind === "CronJob" ? (spec["jobTemplate"] as { spec?: { template?: { spec?: PodSpec } } } | undefined)?.spec?.template : (spec["template"] as { spec?: PodSpec } | undefined))?.spec;
  return template ? { spec: template, path: kind === "CronJob" ? "spec.jobTemplate.spec.template.spec" : "spec.template.spec" } : undefined;
}

function refusals(spec: PodSpec, path: string): FieldError[] {
  const isPod = path === "spec";
  const errors: FieldError[] = [];
  for (const field of ["hostNetwork", "hostPID", "hostIPC"] as const) {
    if (spec[field]) errors.push(forbidden(`${path}.${field}`, `true would put the pod outside its own namespaces, which Wherry does not allow; remove the field`));
  }
  for (const [list, containers] of [["initContainers", spec.initContainers], ["containers", spec.containers], ["ephemeralContainers", spec.ephemeralContainers]] as [string, Container[] | undefined][]) {
    for (const [index, container] of (containers ?? []).entries()) {
      const at = `${path}.${list}[${index}].securityContext`;
      if (container.securityContext?.privileged) errors.push(forbidden(`${at}.privileged`, "true would give the container the machine, which Wherry does not allow; remove the field"));
      const added = container.securityContext?.capabilities?.add ?? [];
      // A pod may bind any port without a capability: this one is granted by nature.
      const more = added.filter((capability) => capability !== "NET_BIND_SERVICE" && !(isPod && capability === debugCapability));
      if (more.length > 0) errors.push(forbidden(`${at}.capabilities.add`, `${more.join(", ")} cannot be added: containers run without any capability; remove the field`));
      if (container.securityContext?.procMount === "Unmasked") errors.push(forbidden(`${at}.procMount`, "Unmasked is not allowed; remove the field"));
    }
  }
  return errors;
}
