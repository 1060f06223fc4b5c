import type { AdmissionStep } from "../rest/context.ts";
import { limitRanger } from "./limit-ranger.ts";
import { namespaceLifecycle } from "./namespace-lifecycle.ts";
import { podDefaults } from "./pod-defaults.ts";
import { podRefusals } from "./pod-refusals.ts";
import { resourceQuota } from "./quota/step.ts";
import { podSecurity } from "./pod-security/step.ts";
import { rbacEscalation } from "./rbac-escalation.ts";
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
  podDefaults(options),
  storageClass(options),
  storageObjectInUse(),
  mutatingWebhooks(options),
  serviceAddresses(options),
  podRefusals(),
  rbacEscalation(options),
  unservedKinds(),
  validatingWebhooks(options),
  resourceQuota(options),
];
