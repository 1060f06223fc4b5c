import { randomUUID } from "node:crypto";
import { randomSuffix } from "../../base/random.ts";
import type { Kind } from "../../api/kind.ts";
import { type KubeObject, timestamp } from "../../api/meta.ts";
import { alreadyExistsError, badRequestError, generatedNameTakenError, invalidError, requestTooLargeError, StatusError } from "../../api/status.ts";
import { validateObjectMeta } from "../../api/validation/metadata.ts";
import { limits } from "../../base/limits.ts";
import { deepFreeze } from "../../store/entry.ts";
import { type Encoded, type Entry, KeyConflictError } from "../../store/store.ts";
import type { AdmissionRequest, RestDependencies, WriteContext } from "./context.ts";
import { decode } from "./decode.ts";
import { dedupOwners } from "./owner-references.ts";
import { beginsGeneration } from "./generation.ts";
import { keyOf, objectOf } from "./keys.ts";
import { draftOf, recordWrite, setManagedFields } from "./managed-fields.ts";
import type { Ownership } from "./update.ts";

// names.SimpleNameGenerator: the prefix is cut so that the whole is a DNS label, and a taken name is tried anew.
const generatedPrefixMax = 58;
const generatedAttempts = 8;
/** Groups whose kinds are checked as custom ones are. */
const extensionGroups = new Set(["apiextensions.k8s.io", "admissionregistration.k8s.io", "apiregistration.k8s.io", "coordination.k8s.io", "node.k8s.io"]);

/** Source of the order: k8s.io/apiserver/pkg/registry/rest/create.go. */
export async function create(dependencies: RestDependencies, kind: Kind, namespace: string | undefined, body: unknown, context: WriteContext, shared = false): Promise<KubeObject> {
  const object = decode(kind, body, context, shared);
  const { metadata } = object;
  placeIn(kind, object, namespace);
  const generated = !metadata.name && metadata.generateName;
  for (let attempt = 1; ; attempt++) {
    try {
      return objectOf(kind, (context.entry = await createOnce(dependencies, kind, object, context)));
    } catch (error) {
      if (!generated || attempt >= generatedAttempts || !(error instanceof StatusError) || error.reason !== "AlreadyExists") throw error;
    }
  }
}

export const hasStandardFinalizers = (kind: Kind): boolean => !kind.custom && !kind.validatesBeforeMetadata && !extensionGroups.has(kind.group);

/** Mistakes are told of the kind that is stored, as which upstream checks it. */
export const judgedAs = (kind: Kind): { group: string; kind: string } => (kind.storedAs ? { group: kind.storedAs.group, kind: kind.kind } : kind);

/** The namespace of the URL and that of the body must agree; an absent one is filled in. */
export function placeIn(kind: Kind, object: KubeObject, namespace: string | undefined): void {
  const { metadata } = object;
  // Of what has none, nobody asks which.
  if (kind.scope === "Cluster") return void delete metadata.namespace;
  if (metadata.namespace && namespace !== undefined && metadata.namespace !== namespace) throw badRequestError(`the namespace of the provided object does not match the namespace sent on the request`);
  if (namespace !== undefined) metadata.namespace = namespace;
}

/** `draft` stays as it is; what admission has taken is given back when the object is refused. */
export async function createOnce(dependencies: RestDependencies, kind: Kind, draft: KubeObject, context: WriteContext, ownership: Ownership = "recorded"): Promise<Entry> {
  const { store, clock, admission } = dependencies;
  // Each attempt starts from the client's object: what admission adds belongs to the attempt.
  const object = draftOf(draft);
  const { metadata } = object;
  const named = metadata.resourceVersion;
  delete (metadata as Partial<KubeObject["metadata"]>).resourceVersion;
  for (const field of ["deletionTimestamp", "deletionGracePeriodSeconds"] as const) delete metadata[field];
  dedupOwners(object, context.warnings, ownership === "given");
  kind.defaults?.(object);
  // What admission fills in is nobody's, until somebody writes it.
  if (ownership === "recorded") setManagedFields(object, recordWrite(dependencies, kind, undefined, object, context.fieldManager, undefined));
  const request: AdmissionRequest = { operation: "CREATE", kind, subresource: undefined, namespace: metadata.namespace, name: metadata.name, user: context.user, dryRun: context.dryRun, warnings: context.warnings, fieldManager: context.fieldManager, ...(context.annotations && { annotations: context.annotations }), object, old: undefined };
  await admission.mutate(request);
  dedupOwners(object, context.warnings, true);
  try {
    // Who mutates has seen that the name is still to be made.
    if (!metadata.name && metadata.generateName) metadata.name = metadata.generateName.slice(0, generatedPrefixMax) + randomSuffix(dependencies.random, 5);
    kind.defaults?.(object);
    // Kinds that count no generations keep what they are given.
    if (beginsGeneration(kind)) delete metadata.generation;
    if (!context.dryRun) delete (metadata as { selfLink?: string }).selfLink;
    metadata.uid = randomUUID();
    metadata.creationTimestamp = timestamp(clock.now());
    if (beginsGeneration(kind)) metadata.generation = 1;
    // A Job's labels are made of its uid, so the system's fields come first.
    if (kind.hasStatus && !kind.bringsStatus) delete object["status"];
    kind.prepareForCreate?.(object);
    const ofMetadata = validateObjectMeta(metadata, { namespaced: kind.scope === "Namespaced", standardFinalizers: hasStandardFinalizers(kind), ...(kind.validateName && { validateName: kind.validateName }) });
    const own = kind.validate?.(object, undefined, ofMetadata) ?? [];
    const errors = kind.validatesBeforeMetadata && own.length > 0 ? own : [...ofMetadata, ...own];
    if (errors.length > 0) throw invalidError(judgedAs(kind), metadata.name || metadata.generateName || "", errors);
    context.warnings.push(...(kind.warnings?.(object) ?? []));
    await admission.validate(request);
    const key = keyOf(kind, metadata.namespace, metadata.name);
    if (context.dryRun) {
      if (store.get(key)) throw taken(kind, metadata, store.get(key));
      // What is not stored is not refused for it either, and answered as it came.
      if (named) metadata.resourceVersion = named;
      return dryEntry(key, object);
    }
    // The store asks first, and only numbers are versions to it.
    if (/^[1-9]\d*$/.test(named ?? "")) throw badRequestError("resourceVersion should not be set on objects to be created");
    await kind.custom?.beforeStore?.(object);
    return await store.put(key, 0, encoder(kind, object));
  } catch (error) {
    admission.release(request);
    if (error instanceof KeyConflictError) throw taken(kind, metadata, store.get(keyOf(kind, metadata.namespace, metadata.name)));
    throw error;
  }
}

/** A name that may have been generated is worth another try. */
function taken(kind: Kind, { name, generateName }: KubeObject["metadata"], entry: Entry | undefined): StatusError {
  const isGoing = (entry?.object as KubeObject | undefined)?.metadata.deletionTimestamp !== undefined;
  return generateName && !isGoing ? generatedNameTakenError(kind, name) : alreadyExistsError(kind, name, isGoing);
}

/** Encodes for the store, in the stored version, with the revision that the write gets. */
export function encoder(kind: Kind, object: KubeObject): (revision: number) => Encoded {
  const base = kind.custom?.toStored(object) ?? object;
  return (revision) => {
    const withRevision = { ...base, metadata: { ...base.metadata, resourceVersion: String(revision) } };
    const stored = kind.storedAs?.toStored(withRevision) ?? withRevision;
    // Whoever wrote it knows what it is in this version.
    if (base !== object) kind.custom?.conversions?.set(stored, { ...object, metadata: withRevision.metadata });
    const bytes = bytesOf(JSON.stringify(stored));
    if (bytes.length > limits.objectBytesMax) throw requestTooLargeError(`etcdserver: request is too large: the object has ${bytes.length} bytes, at most ${limits.objectBytesMax} are stored`);
    return { bytes, object: deepFreeze(stored) };
  };
}

/** Memory of its own: from Node's pool of 8 KB, what lives long would keep whatever else was in its piece alive, three times as much. */
function bytesOf(text: string): Buffer {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
}

/** What a dry run answers: the object as it would have been stored, without a revision. */
export function dryEntry(key: string, object: KubeObject): Entry {
  return { key, revision: 0, bytes: Buffer.from(JSON.stringify(object)), object };
}
