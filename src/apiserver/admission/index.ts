import type { AdmissionStep } from "../rest/context.ts";
import { certificateRequests } from "./certificates.ts";
import { claimResize } from "./claim-resize.ts";
import { defaultIngressClass } from "./default-ingress-class.ts";
import { defaultTolerationSeconds } from "./default-toleration-seconds.ts";
import { limitRanger } from "./limit-ranger.ts";
import { namespaceLifecycle } from "./namespace-lifecycle.ts";
import { podRefusals } from "./pod-refusals.ts";
import { priority } from "./priority.ts";
import { resourceQuota } from "./quota/step.ts";
import { podSecurity } from "./pod-security/step.ts";
import { mutatingPolicies } from "./policies/mutating.ts";
import { policyStatus } from "./policies/type-check.ts";
import { validatingPolicies } from "./policies/validating.ts";
import { rbacEscalation } from "./rbac-escalation.ts";
import { runtimeClass } from "./runtime-class.ts";
import { serviceAccount } from "./service-account.ts";
import { serviceAddresses } from "./service-addresses.ts";
import { storageClass } from "./storage-class.ts";
import { storageObjectInUse } from "./storage-object-in-use.ts";
import { unservedKinds } from "./unserved-kinds.ts";
import { mutatingWebhooks, validatingWebhooks, type WebhookOptions } from "./webhooks/steps.ts";
import type { ApiOptions } from "../api.ts";

export type AdmissionOptions = ApiOptions & WebhookOptions;

/**
 * In upstream's order (pkg/kubeapiserver/options/plugins.go), our own steps where they fit: may it be here at all,
 * then what is filled in, what others fill in, what is refused, and last what others refuse.
 */
export const admissionSteps = (options: AdmissionOptions): AdmissionStep[] => [
  namespaceLifecycle(options),
  limitRanger(options),
  serviceAccount(options),
  podSecurity(options),
  priority(options),
  defaultTolerationSeconds(),
  storageClass(options),
  storageObjectInUse(),
  claimResize(options),
  runtimeClass(options),
  defaultIngressClass(options),
  mutatingPolicies(options),
  mutatingWebhooks(options),
  serviceAddresses(options),
  podRefusals(),
  rbacEscalation(options),
  certificateRequests(options),
  unservedKinds(),
  policyStatus(options),
  validatingPolicies(options),
  validatingWebhooks(options),
  resourceQuota(options),
];
