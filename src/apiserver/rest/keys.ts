import { ConversionPending } from "../../api/crd/conversion.ts";
import type { Kind } from "../../api/kind.ts";
import { apiVersionOf, type KubeObject } from "../../api/meta.ts";
import { deepFreeze } from "../../store/entry.ts";
import type { Entry } from "../../store/store.ts";

/** Versions of a kind share keys; a kind that is a view of another lives at the other's. */
export function prefixOf(kind: Kind, namespace?: string): string {
  const { group, resource } = kind.storedAs ?? kind;
  const root = `/${group === "" ? "core" : group}/${resource}/`;
  return namespace === undefined ? root : `${root}${namespace}/`;
}

export function keyOf(kind: Kind, namespace: string | undefined, name: string): string {
  return `${prefixOf(kind, kind.scope === "Namespaced" ? namespace : undefined)}${name}`;
}

/** The object as this version shows it; the stored, shared one where the versions are the same. */
export function objectOf(kind: Kind, entry: Entry): KubeObject {
  const stored = entry.object as KubeObject;
  if (kind.custom) return customObjectOf(kind, entry);
  return kind.storedAs ? shown(kind, kind.storedAs.fromStored(stored)) : stored;
}

const customObjects = new WeakMap<Entry, { kind: Kind; object: WeakRef<KubeObject> | undefined }>();

/** What a schema makes of what is stored is made once an entry; mostly it is what is stored. */
function customObjectOf(kind: Kind, entry: Entry): KubeObject {
  const stored = entry.object as KubeObject;
  const known = customObjects.get(entry);
  if (known?.kind === kind) {
    const object = known.object ? known.object.deref() : stored;
    if (object) return object;
  }
  const object = kind.custom!.fromStored(stored);
  customObjects.set(entry, { kind, object: object === stored ? undefined : new WeakRef(deepFreeze(object)) });
  return object;
}

/** What a watch selects by: it does not wait for a webhook, which must not change labels and names anyway. */
export function selectableOf(kind: Kind, entry: Entry): KubeObject {
  try {
    return objectOf(kind, entry);
  } catch (error) {
    if (error instanceof ConversionPending) return kind.custom!.renamed(error.object);
    throw error;
  }
}

/** Encoded JSON as this version shows it. */
export function bytesOf(kind: Kind, entry: Entry): Buffer {
  if (!kind.storedAs && !kind.custom) return entry.bytes;
  const object = objectOf(kind, entry);
  return object === entry.object ? entry.bytes : Buffer.from(JSON.stringify(object));
}

const shown = (kind: Kind, object: KubeObject): KubeObject => ({ ...object, apiVersion: apiVersionOf(kind.group, kind.version), kind: kind.kind });
