import type { Kind } from "../../api/kind.ts";
import { apiVersionOf, type KubeObject } from "../../api/meta.ts";
import type { AdmissionRequest, GroupVersionKind, RestDependencies, WriteContext } from "./context.ts";

/** Admission of what is posted to a subresource and is an object of its own (Binding, Eviction, TokenRequest): gives it as admission made it. */
export async function admitSubresource<T>({ admission }: Pick<RestDependencies, "admission">, kind: Kind, subresource: string, objectKind: GroupVersionKind, namespace: string | undefined, name: string, body: object, context: WriteContext): Promise<T> {
  const object = JSON.parse(JSON.stringify({ kind: objectKind.kind, apiVersion: apiVersionOf(objectKind.group, objectKind.version), ...body })) as KubeObject;
  const request: AdmissionRequest = { operation: "CREATE", kind, subresource, objectKind, namespace, name, user: context.user, dryRun: context.dryRun, warnings: context.warnings, fieldManager: context.fieldManager, ...(context.annotations && { annotations: context.annotations }), object, old: undefined };
  await admission.mutate(request);
  await admission.validate(request);
  return object as T;
}
