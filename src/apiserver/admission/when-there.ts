import type { Store } from "../../store/store.ts";
import type { AdmissionRequest, AdmissionStep } from "../rest/context.ts";

/**
 * A step that only acts by objects of one resource: until there is one, nothing of it is loaded or asked.
 * `prefix` is where the store keeps them ("/admissionregistration.k8s.io/validatingwebhookconfigurations/"); of a step
 * that also judges these objects themselves, `group` is theirs.
 */
export function whenThere(store: Pick<Store, "range">, prefix: string, name: string, make: () => AdmissionStep, group?: string): AdmissionStep {
  let made: AdmissionStep | undefined;
  const step = (request: AdmissionRequest) => (made ??= request.kind.group === group || store.range(prefix, { limit: 1 }).length > 0 ? make() : undefined);
  return {
    name,
    mutate: (request: AdmissionRequest) => step(request)?.mutate?.(request),
    validate: (request: AdmissionRequest) => step(request)?.validate?.(request),
    release: (request: AdmissionRequest) => made?.release?.(request),
  };
}
