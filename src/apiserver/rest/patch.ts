import type { Kind } from "../../api/kind.ts";
import type { KubeObject } from "../../api/meta.ts";
import { applyJsonPatch } from "../../api/patch/json.ts";
import { applyMergePatch } from "../../api/patch/merge.ts";
import { applyStrategicMergePatch } from "../../api/patch/strategic.ts";
import { badRequestError, StatusError } from "../../api/status.ts";
import type { PatchType } from "../../api/client.ts";
import type { RestDependencies, WriteContext } from "./context.ts";
import { decode } from "./decode.ts";
import { change, type UpdateTarget } from "./update.ts";

export async function patch(dependencies: RestDependencies, kind: Kind, namespace: string | undefined, name: string, type: PatchType, body: unknown, context: WriteContext, target?: UpdateTarget): Promise<KubeObject> {
  return change(dependencies, kind, namespace, name, context, target, (old) => {
    const patched = applied(kind, old, type, body);
    const object = decode(kind, patched, context, true);
    if (object.metadata.name !== old.metadata.name) throw badRequestError(`the name of the object (${object.metadata.name ?? ""}) does not match the name on the URL (${old.metadata.name})`);
    if ((object.metadata.namespace ?? old.metadata.namespace) !== old.metadata.namespace) throw badRequestError(`the namespace of the object (${object.metadata.namespace}) does not match the namespace on the request (${old.metadata.namespace ?? ""})`);
    // A resourceVersion that the patch did not touch is the old one by nature, not by demand: then a race is retried.
    if (!names(type, body)) object.metadata.resourceVersion = "";
    return JSON.parse(JSON.stringify(object)) as KubeObject;
  });
}

/** The object with the patch on it; also for Scale. Throws the StatusErrors of the patch modules. */
export function applied(kind: Pick<Kind, "schema">, old: object, type: PatchType, body: unknown): unknown {
  const original = old as Record<string, unknown>;
  switch (type) {
    case "json":
      return applyJsonPatch(original, body);
    case "merge":
      return applyMergePatch(original, body);
    case "strategic":
      return applyStrategicMergePatch(original, body, kind.schema);
  }
}

function names(type: PatchType, body: unknown): boolean {
  if (type === "json") return Array.isArray(body) && body.some((operation) => (operation as { path?: string }).path === "/metadata/resourceVersion");
  return (body as { metadata?: { resourceVersion?: string } } | null)?.metadata?.resourceVersion !== undefined;
}

/** Server-side apply is refused until field ownership is real: a wrong "no conflict" would be worse than none. */
export const applyUnsupported = (): StatusError =>
  new StatusError(415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json (server-side apply is not served yet: use kubectl apply without --server-side)");
