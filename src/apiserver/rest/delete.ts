import type { DeleteOptions } from "../../api/client.ts";
import type { Kind } from "../../api/kind.ts";
import { type KubeObject, timestamp } from "../../api/meta.ts";
import { conflictError, invalidError, notFoundError } from "../../api/status.ts";
import { notSupported } from "../../api/field.ts";
import { KeyConflictError } from "../../store/store.ts";
import type { AdmissionRequest, RestDependencies, WriteContext } from "./context.ts";
import { encoder } from "./create.ts";
import { keyOf, objectOf } from "./keys.ts";

export interface Deleted {
  /** The object as it was last, or as it stands with its deletionTimestamp. */
  object: KubeObject;
  /** False: finalizers or a grace period keep it for now. */
  gone: boolean;
}

const orphaningWarning = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";
/** Also of a collection in which there is nothing to delete. */
export function warnOfOrphans(kind: Kind, { propagationPolicy }: DeleteOptions, { warnings }: Pick<WriteContext, "warnings">): void {
  if (propagationPolicy === undefined && kind.group === "batch" && kind.defaultPropagation === "Orphan") warnings.push(orphaningWarning);
}
const policies = ["Foreground", "Background", "Orphan"];

/** Source of the rules: k8s.io/apiserver/pkg/registry/rest/delete.go and generic/registry/store.go. */
export async function remove(dependencies: RestDependencies, kind: Kind, namespace: string | undefined, name: string, options: DeleteOptions, context: WriteContext): Promise<Deleted> {
  const { store, clock, admission } = dependencies;
  if (options.propagationPolicy !== undefined && !policies.includes(options.propagationPolicy)) throw invalidError({ group: "meta.k8s.io", kind: "DeleteOptions" }, "", [notSupported("propagationPolicy", options.propagationPolicy, [...policies, "nil"])]);
  warnOfOrphans(kind, options, context);
  const key = keyOf(kind, namespace, name);
  for (;;) {
    const entry = store.get(key);
    if (!entry) throw notFoundError(kind, name);
    const old = objectOf(kind, entry);
    checkPreconditions(kind, old, options);
    // One that is on its way stays on it, whatever a second deletion wants.
    if (isNamespace(kind) && old.metadata.deletionTimestamp && holdsContent(kind, old)) return { object: old, gone: false };
    const request: AdmissionRequest = { operation: "DELETE", kind, subresource: undefined, namespace, name, user: context.user, dryRun: context.dryRun, warnings: context.warnings, ...(context.annotations && { annotations: context.annotations }), object: undefined, old };
    await admission.mutate(request);
    await admission.validate(request);

    const prepared: KubeObject = kind.prepareForDelete ? { ...old, metadata: { ...old.metadata } } : old;
    kind.prepareForDelete?.(prepared, clock.now());
    const finalizers = finalizersFor(kind, prepared, { propagationPolicy: isChosen(old) ? undefined : kind.defaultPropagation, ...options });
    const graceSeconds = graceOf(kind, old, options);
    const stays = finalizers.length > 0 || graceSeconds > 0 || holdsContent(kind, old);
    const isMarked = old.metadata.deletionTimestamp !== undefined;
    const object: KubeObject = { ...prepared, metadata: { ...prepared.metadata } };
    if (finalizers.length > 0) object.metadata.finalizers = finalizers;
    else delete object.metadata.finalizers;
    // Pods are marked also when they go at once: whoever is told of it reads that it was without grace.
    if (stays || kind.gracePeriodSeconds) {
      const shorter = isMarked && graceSeconds < (old.metadata.deletionGracePeriodSeconds ?? 0);
      if (stays && isMarked && !shorter && sameList(finalizers, old.metadata.finalizers ?? [])) return { object: old, gone: false };
      if (!isMarked || shorter) {
        const began = isMarked ? Date.parse(old.metadata.deletionTimestamp!) - (old.metadata.deletionGracePeriodSeconds ?? 0) * 1000 : clock.now();
        object.metadata.deletionTimestamp = timestamp(began + graceSeconds * 1000);
        if (!isNamespace(kind)) object.metadata.deletionGracePeriodSeconds = graceSeconds;
        if (object.metadata.generation !== undefined) object.metadata.generation++;
        if (isNamespace(kind)) object["status"] = { ...(old["status"] as object), phase: "Terminating" };
      }
    }
    // What is marked already would first lose its finalizers.
    if (context.dryRun) return { object, gone: !stays && !(isMarked && (old.metadata.finalizers ?? []).length > 0) };
    try {
      await kind.custom?.beforeStore?.(object);
      const written = stays ? await store.put(key, entry.revision, encoder(kind, object)) : await store.delete(key, entry.revision, encoder(kind, object));
      const last = objectOf(kind, written);
      // The answer shows it as it stood, with the finalizers that this deletion took away.
      const { finalizers: taken } = old.metadata;
      return { object: !stays && isMarked && taken ? { ...last, metadata: { ...last.metadata, finalizers: taken } } : last, gone: !stays };
    } catch (error) {
      if (!(error instanceof KeyConflictError)) throw error;
      await store.flush();
    }
  }
}

function checkPreconditions(kind: Kind, old: KubeObject, { preconditions }: DeleteOptions): void {
  const { uid, resourceVersion } = preconditions ?? {};
  const of = { group: kind.group, resource: kind.kind };
  const name = old.metadata.name;
  // A namespace's own words.
  for (const [what, wanted, has] of isNamespace(kind) ? [["UID", uid, old.metadata.uid], ["ResourceVersion", resourceVersion, old.metadata.resourceVersion]] : []) if (wanted !== undefined && wanted !== has) throw conflictError(kind, name, `Precondition failed: ${what} in precondition: ${wanted}, ${what} in object meta: ${has}`);
  if (uid !== undefined && uid !== old.metadata.uid) throw conflictError(of, name, `the UID in the precondition (${uid}) does not match the UID in record (${old.metadata.uid}). The object might have been deleted and then recreated`);
  if (resourceVersion !== undefined && resourceVersion !== old.metadata.resourceVersion) throw conflictError(of, name, `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${old.metadata.resourceVersion}). The object might have been modified`);
}

/** How it goes was said before, which counts more than the kind's own way. */
const isChosen = ({ metadata }: KubeObject): boolean => metadata.finalizers?.some((finalizer) => finalizer === "foregroundDeletion" || finalizer === "orphan") ?? false;

/** Foreground and Orphan are finalizers that the garbage collector works off; each choice undoes the other. */
function finalizersFor(kind: Kind, old: KubeObject, { propagationPolicy }: DeleteOptions): string[] {
  const present = old.metadata.finalizers ?? [];
  // Events own nothing: upstream does not collect after them.
  if (propagationPolicy === undefined || kind.resource === "events") return [...present];
  const kept = present.filter((finalizer) => finalizer !== "foregroundDeletion" && finalizer !== "orphan");
  if (propagationPolicy === "Foreground") return [...kept, "foregroundDeletion"];
  if (propagationPolicy === "Orphan") return [...kept, "orphan"];
  return kept;
}

const isNamespace = (kind: Kind): boolean => kind.resource === "namespaces" && kind.group === "";
/** A namespace stays until its controller has emptied it and taken "kubernetes" out of spec.finalizers. */
export const holdsContent = (kind: Kind, object: KubeObject): boolean => isNamespace(kind) && ((object["spec"] as { finalizers?: string[] } | undefined)?.finalizers?.length ?? 0) > 0;

function graceOf(kind: Kind, old: KubeObject, { gracePeriodSeconds }: DeleteOptions): number {
  if (!kind.gracePeriodSeconds) return 0;
  const own = kind.gracePeriodSeconds(old);
  // Zero by nature (never scheduled, or ended) stays zero; an explicit wish may be any other number.
  return own === 0 ? 0 : Math.max(0, gracePeriodSeconds ?? own);
}

const sameList = (a: readonly string[], b: readonly string[]) => a.length === b.length && a.every((item, index) => item === b[index]);

/** `Status` of a deletion that is complete, as upstream answers for all kinds but pods. */
export function deletedStatus(kind: Kind, object: KubeObject): object {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details: { name: object.metadata.name, ...(kind.group !== "" && { group: kind.group }), kind: kind.resource, uid: object.metadata.uid } };
}
