import type { ApiOptions } from "../api.ts";
import type { AdmissionStep } from "../rest/context.ts";
import { namespaceLifecycle } from "./namespace-lifecycle.ts";
import { podDefaults } from "./pod-defaults.ts";
import { podRefusals } from "./pod-refusals.ts";
import { rbacEscalation } from "./rbac-escalation.ts";
import { serviceAccount } from "./service-account.ts";
import { serviceAddresses } from "./service-addresses.ts";
import { storageClass } from "./storage-class.ts";
import { unservedKinds } from "./unserved-kinds.ts";

/** In upstream's order: may it be here at all, then what is filled in, then what is refused. */
export const admissionSteps = (options: ApiOptions): AdmissionStep[] => [
  namespaceLifecycle(options),
  serviceAccount(options),
  podDefaults(options),
  storageClass(options),
  serviceAddresses(options),
  podRefusals(),
  rbacEscalation(options),
  unservedKinds(),
];
