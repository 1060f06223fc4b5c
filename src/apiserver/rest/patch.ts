import type { Kind } from "../../api/kind.ts";
import { apiVersionOf, type KubeObject } from "../../api/meta.ts";
import { applyJsonPatch } from "../../api/patch/json.ts";
import { goText } from "../../api/patch/go-text.ts";
import { applyMergePatch } from "../../api/patch/merge.ts";
import { applyStrategicMergePatch } from "../../api/patch/strategic.ts";
import { invalid } from "../../api/field.ts";
import { badRequestError, conflictError, invalidError, notFoundError, StatusError } from "../../api/status.ts";
import type { PatchType } from "../../api/client.ts";
import { strictDecodingText } from "../../api/walker.ts";
import type { RestDependencies, WriteContext } from "./context.ts";
import { decode } from "./decode.ts";
import { appliedTo, unconvertible } from "./apply.ts";
import { converterText } from "./converter-text.ts";
import { createOnce, placeIn } from "./create.ts";
import { draftOf } from "./managed-fields.ts";
import { keyOf, objectOf } from "./keys.ts";
import { change, conflictRetries, missingWhole, type UpdateTarget } from "./update.ts";

export async function patch(dependencies: RestDependencies, kind: Kind, namespace: string | undefined, name: string, type: Exclude<PatchType, "apply">, body: unknown, context: WriteContext, target?: UpdateTarget): Promise<KubeObject> {
  return change(dependencies, kind, namespace, name, context, target, (old) => {
    const patched = applied(kind, old, type, body) as Record<string, unknown>;
    // What a strategic patch says of the type is not looked at.
    if (type === "strategic") for (const field of ["apiVersion", "kind"]) if (typeof patched[field] === "string" && patched[field] !== old[field]) patched[field] = old[field];
    if (type !== "strategic" && !kind.custom) requireVersion(kind, patched, name, context);
    else if (kind.custom) requireType(kind, patched, name);
    const object = decode(kind, patched, context, true, (why) => (type === "strategic" ? unfitting(goText(body), converterText(why)) : unfitting(patched, why)), type === "strategic");
    if (!object.metadata.name) throw badRequestError(`the name of the object (${name} based on URL) was undeterminable: name must be provided`);
    if (object.metadata.name !== old.metadata.name) throw badRequestError(`the name of the object (${object.metadata.name ?? ""}) does not match the name on the URL (${old.metadata.name})`);
    if (kind.scope === "Cluster") delete (object.metadata as Partial<KubeObject["metadata"]>).namespace;
    if ((object.metadata.namespace ?? old.metadata.namespace) !== old.metadata.namespace) throw badRequestError("the namespace of the provided object does not match the namespace sent on the request");
    // A resourceVersion that the patch did not touch is the old one by nature, not by demand: then a race is retried.
    if (!names(type, body)) object.metadata.resourceVersion = "";
    return draftOf(object);
  });
}

/** Without its version upstream reads an object as its own struct of no version, in which there is nothing but type and kind. */
function requireVersion(kind: Kind, patched: unknown, name: string, context: WriteContext): void {
  const { apiVersion, kind: given, ...rest } = patched as Record<string, unknown>;
  for (const [field, value] of Object.entries({ apiVersion, kind: given })) {
    if (value !== undefined && value !== null && typeof value !== "string") throw unfitting(patched, `couldn't get version/kind; json parse error: json: cannot unmarshal ${Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value} into Go struct field .${field} of type string`);
  }
  if (apiVersion !== undefined && apiVersion !== null && apiVersion !== "") return;
  if (given !== undefined && given !== null && given !== "" && given !== kind.kind) throw unfitting(patched, `no kind ${JSON.stringify(given)} is registered for the internal version of group ${JSON.stringify(kind.group)} in scheme "pkg/runtime/scheme.go:111"`);
  const unknown = Object.keys(rest).map((field) => `unknown field ${JSON.stringify(field)}`);
  if (context.fieldValidation === "Strict" && unknown.length > 0) throw unfitting(patched, strictDecodingText(unknown));
  if (context.fieldValidation === "Warn") context.warnings.push(...unknown);
  throw badRequestError(`the name of the object (${name} based on URL) was undeterminable: name must be provided`);
}

/** A custom resource is nothing without its type, which upstream does not take from the URL here. */
function requireType(kind: Kind, patched: unknown, name: string): void {
  const { apiVersion, kind: given } = patched as Record<string, unknown>;
  if (given === undefined || given === null || given === "") throw unfitting(patched, `Object 'Kind' is missing in '${JSON.stringify(patched)}'`);
  if (apiVersion === undefined || apiVersion === null || apiVersion === "") throw badRequestError("Object 'apiVersion' is missing in 'object has no apiVersion field'");
  const wanted = apiVersionOf(kind.group, kind.version);
  if (given === kind.kind && typeof apiVersion === "string" && apiVersion !== wanted) throw invalidError({ group: apiVersion.includes("/") ? apiVersion.split("/")[0]! : "", kind: kind.kind }, name, [invalid("apiVersion", apiVersion, `must be ${wanted}`)]);
}

/** A patch is refused as such when what comes out of it does not fit the kind. */
export const unfitting = (value: unknown, why: string): StatusError => invalidError({ group: "", kind: "" }, "", [invalid("patch", typeof value === "string" ? value : JSON.stringify(value), why)]);

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
    if (store.get(key)) return change(dependencies, kind, namespace, name, context, target, (old) => configured(dependencies, kind, namespace, name, old, config, context, target), "given");
    const isPart = target !== undefined || kind.part !== undefined;
    if (isPart && !kind.createOnUpdate) throw notFoundError(kind, name);
    const object = configured(dependencies, kind, namespace, name, undefined, config, context, target);
    if (isPart) throw missingWhole(kind, object);
    context.authorizeCreate?.();
    try {
      const entry = (context.entry = await createOnce(dependencies, kind, object, context, "given"));
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
  const object = decode(kind, wanted, { fieldValidation: "Ignore", warnings: [] }, true, (why) => unconvertible(kind, config, why), true);
  if (!old && object.metadata.uid) throw conflictError(kind, name, `uid mismatch: the provided object specified uid ${object.metadata.uid}, and no existing object was found`);
  placeIn(kind, object, namespace);
  if (!object.metadata.name) throw badRequestError(`the name of the object (${name} based on URL) was undeterminable: name must be provided`);
  if (object.metadata.name !== name) throw badRequestError(`the name of the object (${object.metadata.name}) does not match the name on the URL (${name})`);
  const { metadata } = object as { metadata: { selfLink?: string; resourceVersion?: string } };
  delete metadata.selfLink;
  if (!old && metadata.resourceVersion && !/^\d+$/.test(metadata.resourceVersion)) throw badRequestError(`strconv.ParseUint: parsing ${JSON.stringify(metadata.resourceVersion)}: invalid syntax`);
  if (!old) delete metadata.resourceVersion;
  else if (!(config as Partial<KubeObject>).metadata?.resourceVersion) metadata.resourceVersion = "";
  return draftOf(object);
}
