import type { Kind } from "../../../api/kind.ts";
import { apiVersionOf, type KubeObject } from "../../../api/meta.ts";
import type { AdmissionRequest } from "../../rest/context.ts";

/** The object as another version of its kind shows it, or another group that is a view of the same. */
export function converted(object: KubeObject, from: Kind, to: Kind): KubeObject {
  if (from === to) return object;
  const stored = (from.storedAs ?? from.custom)?.toStored(object) ?? object;
  const shown = (to.storedAs ?? to.custom)?.fromStored(stored) ?? stored;
  return { ...shown, apiVersion: apiVersionOf(to.group, to.version), kind: to.kind };
}

/** A body of a subresource (Scale, Eviction) has one version only. */
export function inVersion(request: AdmissionRequest, object: KubeObject | undefined, as: Kind): KubeObject | undefined {
  return object && !request.objectKind ? converted(object, request.kind, as) : object;
}
