import type { Store } from "../../store/store.ts";
import type { AdmissionRequest, AdmissionStep } from "../rest/context.ts";

/**
 * A step that only acts by objects of one resource: until there is one, nothing of it is loaded or asked.
 * `prefix` is where the store keeps them ("/admissionregistration.k8s.io/validatingwebhookconfigurations/").
 */
export function whenThere(store: Pick<Store, "range">, prefix: string, name: string, make: () => AdmissionStep): AdmissionStep {
  let made: AdmissionStep | undefined;
  const step = () => (made ??= store.range(prefix, { limit: 1 }).length > 0 ? make() : undefined);
  return {
    name,
    mutate: (request: AdmissionRequest) => step()?.mutate?.(request),
    validate: (request: AdmissionRequest) => step()?.validate?.(request),
    release: (request: AdmissionRequest) => made?.release?.(request),
  };
}
