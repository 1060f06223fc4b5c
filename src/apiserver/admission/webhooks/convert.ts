import type { Kind } from "../../../api/kind.ts";
import { apiVersionOf, type KubeObject } from "../../../api/meta.ts";
import type { AdmissionRequest } from "../../rest/context.ts";

/** The object as another version of its kind shows it, or another group that is a view of the same. What a webhook converts must have been settled. */
export function converted(object: KubeObject, from: Kind, to: Kind): KubeObject {
  if (from === to) return object;
  const stored = (from.storedAs ?? from.custom)?.toStored(object) ?? object;
  const shown = (to.storedAs ?? to.custom)?.fromStored(stored) ?? stored;
  return { ...shown, apiVersion: apiVersionOf(to.group, to.version), kind: to.kind };
}

/** Waits for the webhook that converts between the two, if one does. The object must not change any more: what it becomes is remembered by it. */
export async function settle(object: KubeObject, from: Kind, to: Kind): Promise<void> {
  if (from === to || !to.custom?.conversions) return;
  await from.custom?.beforeStore?.(object);
  const stored = from.custom?.toStored(object) ?? object;
  await to.custom.conversions.settle([stored], apiVersionOf(to.group, to.version));
}

/** The request with copies of its objects that can be shown in the version of `to` without waiting. */
export async function settled(request: AdmissionRequest, to: Kind): Promise<AdmissionRequest> {
  const { kind, object, old } = request;
  if (kind === to || request.objectKind || !to.custom?.conversions) return request;
  request.annotations ??= {};
  const copy = object && (JSON.parse(JSON.stringify(object)) as KubeObject);
  if (copy) await settle(copy, kind, to);
  if (old) await settle(old, kind, to);
  return { ...request, object: copy };
}

/** A body of a subresource (Scale, Eviction) has one version only. */
export function inVersion(request: AdmissionRequest, object: KubeObject | undefined, as: Kind): KubeObject | undefined {
  return object && !request.objectKind ? converted(object, request.kind, as) : object;
}
