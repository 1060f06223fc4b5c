import { type FieldError, forbidden, invalid } from "../../../field.ts";
import type { KubeObject } from "../../../meta.ts";
import { each, semanticEqual } from "../../../validation/checks.ts";
import { qosClass } from "./qos.ts";

// Shapes were proved by the schema; `any` stands for "as the schema says".
type Draft = any;

/** How upstream names the whole object, by an empty path. */
const whole = "[]";

/** Of what was sent to pods/resize, resources and resize policies count; containers in another order are for validation to refuse. */
export function prepareForResize(pod: KubeObject, old: KubeObject): void {
  const { managedFields } = pod.metadata;
  const spec = { ...old.spec };
  for (const list of ["containers", "initContainers"]) {
    const [now, before] = [(pod.spec[list] ?? []) as Draft[], (old.spec[list] ?? []) as Draft[]];
    if (now.length !== before.length) return;
    if (now.length === 0) continue;
    spec[list] = now.some(({ name }, index) => name !== before[index].name) ? now : now.map(({ resources, resizePolicy }, index) => {
      const container = { ...before[index], resources, resizePolicy };
      for (const field of ["resources", "resizePolicy"]) if (container[field] === undefined) delete container[field];
      return container;
    });
  }
  Object.assign(pod, old, { metadata: { ...old.metadata, ...(managedFields && { managedFields }) }, spec });
}

/**
 * Which resizes are possible at all. Whether one fits is the node's to say.
 * Source: ValidatePodResize in k8s.io/kubernetes/pkg/apis/core/validation/validation.go.
 */
export function validateResize(pod: KubeObject, old: KubeObject): FieldError[] {
  const [spec, oldSpec] = [pod.spec as Draft, old.spec as Draft];
  if (old.metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined) return [forbidden(whole, "static pods cannot be resized")];
  if (oldSpec.os?.name === "windows") return [forbidden(whole, "windows pods cannot be resized")];
  const errors: FieldError[] = [];
  if ((old.status?.qosClass || qosClass(old)) !== qosClass(pod)) errors.push(invalid("spec", pod.status?.qosClass ?? "", "Pod QOS Class may not change as a result of resizing"));
  const running = (old.status?.containerStatuses ?? []).find(({ state }: Draft) => state?.running);
  if (running && running.resources === undefined) errors.push(forbidden("spec", "Pod running on node without support for resize"));
  if ([spec, oldSpec].some(({ resources }) => Object.keys({ ...resources?.requests, ...resources?.limits }).length > 0)) {
    return [...errors, forbidden(whole, "resize of pods with pod-level resources is forbidden when InPlacePodLevelResourcesVerticalScalingEnabled feature gate is disabled")];
  }
  const order = [...reordered("containers", spec, oldSpec), ...reordered("initContainers", spec, oldSpec)];
  if (order.length > 0) return [...errors, ...order];
  errors.push(
    ...each("spec.initContainers", oldSpec.initContainers, (before, at, index) => (isSidecar(before) ? removed(`${at}.resources`, spec.initContainers[index].resources, before.resources) : [])),
    ...each("spec.containers", oldSpec.containers, (before, at, index) => removed(`${at}.resources`, spec.containers[index].resources, before.resources)),
  );
  for (const [index, container] of spec.containers.entries()) if (!sameButSize(container, oldSpec.containers[index])) errors.push(forbidden("spec", "only cpu and memory resources are mutable"));
  for (const [index, container] of (spec.initContainers ?? []).entries()) {
    const before = oldSpec.initContainers[index];
    if (isSidecar(container) && !sameButSize(container, before)) errors.push(forbidden("spec", "only cpu and memory resources for sidecar containers are mutable"));
    if (!isSidecar(container) && !semanticEqual(container, before)) errors.push(forbidden("spec", "resources for non-sidecar init containers are immutable"));
  }
  return errors;
}

const isSidecar = ({ restartPolicy }: Draft): boolean => restartPolicy === "Always";

function reordered(list: string, spec: Draft, old: Draft): FieldError[] {
  const [now, before] = [(spec[list] ?? []) as Draft[], (old[list] ?? []) as Draft[]];
  if (now.length !== before.length) return [forbidden(`spec.${list}`, `${list} may not be added or removed on resize`)];
  return each(`spec.${list}`, now, ({ name }, at, index) => (name === before[index].name ? [] : [forbidden(`${at}.name`, `${list} may not be renamed or reordered on resize`)]));
}

const removed = (path: string, now: Draft, before: Draft): FieldError[] =>
  ["requests", "limits"].flatMap((part) => (Object.keys(before?.[part] ?? {}).some((name) => now?.[part]?.[name] === undefined) ? [forbidden(`${path}.${part}`, `resource ${part} cannot be removed`)] : []));

/** Whether two containers differ in their CPU and memory alone. */
function sameButSize(container: Draft, before: Draft): boolean {
  const others = ({ resources, ...rest }: Draft) => {
    const without = (amounts: Record<string, string> | undefined) => Object.fromEntries(Object.entries(amounts ?? {}).filter(([name]) => name !== "cpu" && name !== "memory"));
    return { ...rest, limits: without(resources?.limits), requests: without(resources?.requests), claims: resources?.claims };
  };
  return semanticEqual(others(container), others(before));
}
