import type { AdmissionStep } from "../rest/context.ts";
import { certificateRequests, podCertificates } from "./certificates.ts";
import { claimResize } from "./claim-resize.ts";
import { defaultIngressClass } from "./default-ingress-class.ts";
import { defaultTolerationSeconds } from "./default-toleration-seconds.ts";
import { meshLabel } from "./mesh-label.ts";
import { namespaceLifecycle } from "./namespace-lifecycle.ts";
import { nodeTaint } from "./node-taint.ts";
import { nodeRestriction } from "./node-restriction.ts";
import { podRefusals } from "./pod-refusals.ts";
import { priority } from "./priority.ts";
import { resourceQuota } from "./quota/step.ts";
import { podSecurity } from "./pod-security/step.ts";
import { policyStatus } from "./policies/type-check.ts";
import { rbacEscalation } from "./rbac-escalation.ts";
import { runtimeClass } from "./runtime-class.ts";
import { serviceAccount } from "./service-account.ts";
import { serviceAddresses } from "./service-addresses.ts";
import { storageClass } from "./storage-class.ts";
import { storageObjectInUse } from "./storage-object-in-use.ts";
import { unservedKinds } from "./unserved-kinds.ts";
import type { WebhookOptions } from "./webhooks/steps.ts";
import { whenThere } from "./when-there.ts";
import { lazyModule } from "../../base/lazy.ts";
import type { ApiOptions } from "../api.ts";

const limits = lazyModule<typeof import("./limit-ranger.ts")>(import.meta.url, "./limit-ranger.ts");
const mutating = lazyModule<typeof import("./policies/mutating.ts")>(import.meta.url, "./policies/mutating.ts");
const validating = lazyModule<typeof import("./policies/validating.ts")>(import.meta.url, "./policies/validating.ts");
const webhooks = lazyModule<typeof import("./webhooks/steps.ts")>(import.meta.url, "./webhooks/steps.ts");
const vpas = lazyModule<typeof import("./vpa/step.ts")>(import.meta.url, "./vpa/step.ts");
const istio = lazyModule<typeof import("./istio/step.ts")>(import.meta.url, "./istio/step.ts");
const istioGroups = ["networking.istio.io", "security.istio.io"];
const registration = "/admissionregistration.k8s.io";

export type AdmissionOptions = ApiOptions & WebhookOptions;

/**
 * In upstream's order (pkg/kubeapiserver/options/plugins.go), our own steps where they fit: may it be here at all,
 * then what is filled in, what others fill in, what is refused, and last what others refuse.
 */
export const admissionSteps = (options: AdmissionOptions): AdmissionStep[] => [
  namespaceLifecycle(options),
  whenThere(options.store, "/core/limitranges/", "LimitRanger", () => limits().limitRanger(options)),
  serviceAccount(options),
  nodeRestriction(options),
  nodeTaint(),
  podSecurity(options),
  priority(options),
  meshLabel(options),
  defaultTolerationSeconds(),
  storageClass(options),
  storageObjectInUse(),
  claimResize(options),
  runtimeClass(options),
  defaultIngressClass(options),
  whenThere(options.store, "/autoscaling.k8s.io/", "VerticalPodAutoscaler", () => vpas().verticalPodAutoscalers(options), "autoscaling.k8s.io"),
  whenThere(options.store, `${registration}/mutatingadmissionpolicies/`, "MutatingAdmissionPolicy", () => mutating().mutatingPolicies(options)),
  whenThere(options.store, `${registration}/mutatingwebhookconfigurations/`, "MutatingAdmissionWebhook", () => webhooks().mutatingWebhooks(options)),
  serviceAddresses(options),
  podRefusals(),
  rbacEscalation(options),
  certificateRequests(options),
  podCertificates(options),
  unservedKinds(),
  { name: "IstioConfiguration", validate: (request) => (istioGroups.includes(request.kind.group) ? istio().refuseWrongIstio(request) : undefined) },
  policyStatus(options),
  whenThere(options.store, `${registration}/validatingadmissionpolicies/`, "ValidatingAdmissionPolicy", () => validating().validatingPolicies(options)),
  whenThere(options.store, `${registration}/validatingwebhookconfigurations/`, "ValidatingAdmissionWebhook", () => webhooks().validatingWebhooks(options)),
  resourceQuota(options),
];
