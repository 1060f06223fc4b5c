import type { Kind } from "../../api/kind.ts";
import type { KubeObject } from "../../api/meta.ts";
import { applyJsonPatch } from "../../api/patch/json.ts";
import { goText } from "../../api/patch/go-text.ts";
import { applyMergePatch } from "../../api/patch/merge.ts";
import { applyStrategicMergePatch } from "../../api/patch/strategic.ts";
import { invalid } from "../../api/field.ts";
import { badRequestError, conflictError, invalidError, StatusError } from "../../api/status.ts";
import type { PatchType } from "../../api/client.ts";
import type { RestDependencies, WriteContext } from "./context.ts";
import { decode } from "./decode.ts";
import { appliedTo, unconvertible } from "./apply.ts";
import { createOnce, placeIn } from "./create.ts";
import { draftOf } from "./managed-fields.ts";
import { keyOf, objectOf } from "./keys.ts";
import { change, conflictRetries, type UpdateTarget } from "./update.ts";

export async function patch(dependencies: RestDependencies, kind: Kind, namespace: string | undefined, name: string, type: Exclude<PatchType, "apply">, body: unknown, context: WriteContext, target?: UpdateTarget): Promise<KubeObject> {
  return change(dependencies, kind, namespace, name, context, target, (old) => {
    const patched = applied(kind, old, type, body);
    const object = decode(kind, patched, context, true, (why) => (type === "strategic" ? unfitting(goText(body), converterText(why)) : unfitting(patched, why)));
    if (!object.metadata.name) throw badRequestError(`the name of the object (${name} based on URL) was undeterminable: name must be provided`);
    if (object.metadata.name !== old.metadata.name) throw badRequestError(`the name of the object (${object.metadata.name ?? ""}) does not match the name on the URL (${old.metadata.name})`);
    if ((object.metadata.namespace ?? old.metadata.namespace) !== old.metadata.namespace) throw badRequestError(`the namespace of the object (${object.metadata.namespace}) does not match the namespace on the request (${old.metadata.namespace ?? ""})`);
    // A resourceVersion that the patch did not touch is the old one by nature, not by demand: then a race is retried.
    if (!names(type, body)) object.metadata.resourceVersion = "";
    return draftOf(object);
  });
}

/** A patch is refused as such when what comes out of it does not fit the kind. */
export const unfitting = (value: unknown, why: string): StatusError => invalidError({ group: "", kind: "" }, "", [invalid("patch", typeof value === "string" ? value : JSON.stringify(value), why)]);

/** Strategic patches go through another decoder upstream, with texts of its own. */
function converterText(why: string): string {
  const [, what, number, to] = /^json: cannot unmarshal (number|string|bool|object|array)( \S+)? into Go .*of type (\S+)$/.exec(why) ?? [];
  if (what === undefined) return why;
  const scalar = what === "number" ? (number?.includes(".") ? "float64" : "int64") : what;
  const kind = what === "object" ? "map" : what === "array" ? "slice" : scalar;
  if (to!.startsWith("[]")) return `cannot restore slice from ${kind}`;
  if (to!.startsWith("map[")) return `cannot restore map from ${kind}`;
  if (to!.includes(".") && !/^v1\.[A-Z]\w*(Type|Policy|Mode|Protocol|Effect|Operator)$|^v1\.Protocol$/.test(to!)) return `cannot restore struct from: ${kind}`;
  const target = to!.includes(".") ? "string" : to;
  // What Go converts between, but its decoder does not; anything else it does not even know.
  const isConvertible = (scalar === "int64" && target === "string") || (scalar === "float64" && /^int/.test(target!));
  return isConvertible ? `cannot convert ${scalar} to ${to}` : `unrecognized type: ${target}`;
}

/** The object with the patch on it; also for Scale. Throws the StatusErrors of the patch modules. */
export function applied(kind: Pick<Kind, "schema">, old: object, type: Exclude<PatchType, "apply">, body: unknown): unknown {
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

function names(type: Exclude<PatchType, "apply">, body: unknown): boolean {
  if (type === "json") return Array.isArray(body) && body.some((operation) => (operation as { path?: string }).path === "/metadata/resourceVersion");
  return (body as { metadata?: { resourceVersion?: string } } | null)?.metadata?.resourceVersion !== undefined;
}

/**
 * Server-side apply: the object as the configuration wants it, created when there is none.
 * Source of the order: k8s.io/apiserver/pkg/endpoints/handlers/patch.go.
 */
export async function apply(dependencies: RestDependencies, kind: Kind, namespace: string | undefined, name: string, config: unknown, context: WriteContext, target?: UpdateTarget): Promise<KubeObject> {
  const { store } = dependencies;
  // What is only ever answered, such as a review, must not come to lie in the store.
  if (!kind.verbs.includes("patch")) throw new StatusError(404, "NotFound", "the server could not find the requested resource");
  const key = keyOf(kind, namespace, name);
  for (let attempt = 0; ; attempt++) {
    if (store.get(key) || target !== undefined || kind.part !== undefined) return change(dependencies, kind, namespace, name, context, target, (old) => configured(dependencies, kind, namespace, name, old, config, context, target), "given");
    const object = configured(dependencies, kind, namespace, name, undefined, config, context, target);
    if (object.metadata.uid) throw conflictError(kind, name, `uid mismatch: the provided object specified uid ${object.metadata.uid}, and no existing object was found`);
    context.authorizeCreate?.();
    try {
      const entry = await createOnce(dependencies, kind, object, context, "given");
      context.created = true;
      return objectOf(kind, entry);
    } catch (error) {
      // Somebody else made it meanwhile: then there is something to merge with.
      if (!(error instanceof StatusError) || error.reason !== "AlreadyExists" || attempt >= conflictRetries) throw error;
      await store.flush();
    }
  }
}

function configured(dependencies: RestDependencies, kind: Kind, namespace: string | undefined, name: string, old: KubeObject | undefined, config: unknown, context: WriteContext, target: UpdateTarget): KubeObject {
  const wanted = appliedTo(dependencies, kind, old, config, context.fieldManager, context.force ?? false, target ?? kind.part);
  // Unknown fields were refused, and what null took away gets its default again.
  const object = decode(kind, wanted, { fieldValidation: "Ignore", warnings: [] }, true, (why) => unconvertible(kind, config, why));
  placeIn(kind, object, namespace);
  if (!object.metadata.name) throw badRequestError(`the name of the object (${name} based on URL) was undeterminable: name must be provided`);
  if (object.metadata.name !== name) throw badRequestError(`the name of the object (${object.metadata.name}) does not match the name on the URL (${name})`);
  if (old && object.metadata.uid !== old.metadata.uid) {
    const immutable = invalid("metadata.uid", object.metadata.uid, "field is immutable");
    throw invalidError(kind, name, [immutable, immutable]); // upstream checks it in two places
  }
  const { metadata } = object as { metadata: { selfLink?: string; resourceVersion?: string } };
  delete metadata.selfLink;
  if (!old) delete metadata.resourceVersion;
  else if (!(config as Partial<KubeObject>).metadata?.resourceVersion) metadata.resourceVersion = "";
  return draftOf(object);
}
