import type { Kind } from "../../../api/kind.ts";

/** Nobody can lock himself out: what configures admission is not judged by it. Source: k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules. */
export const isExempt = ({ group, kind }: Pick<Kind, "group" | "kind">): boolean => group === "admissionregistration.k8s.io" && /^(Validating|Mutating)(WebhookConfiguration|AdmissionPolicy(Binding)?)$/.test(kind);
