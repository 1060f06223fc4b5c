import type { KubeObject } from "../../api/meta.ts";
import { semanticEqual } from "../../api/validation/checks.ts";

/**
 * Owners that are named twice are named once, with a warning; `afterAdmission`: when that was seen.
 * Source: k8s.io/apiserver/pkg/endpoints/handlers/rest.go.
 */
export function dedupOwners({ metadata }: KubeObject, warnings: string[], afterAdmission: boolean): void {
  const references = metadata.ownerReferences;
  if (!Array.isArray(references) || references.length < 2) return;
  const kept: typeof references = [];
  const twice: string[] = [];
  for (const reference of references) {
    if (kept.some((other) => semanticEqual(other, reference))) twice.push(reference.uid);
    else kept.push(reference);
  }
  if (twice.length === 0) return;
  warnings.push(`.metadata.ownerReferences contains duplicate entries${afterAdmission ? " after mutating admission happens" : ""}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: ${twice.join(", ")}`);
  metadata.ownerReferences = kept;
}
