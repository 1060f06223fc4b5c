import type { Kind } from "../../api/kind.ts";
import { apiVersionOf, type KubeObject } from "../../api/meta.ts";
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
  return kind.storedAs ? shown(kind, kind.storedAs.fromStored(stored)) : stored;
}

/** Encoded JSON as this version shows it. */
export function bytesOf(kind: Kind, entry: Entry): Buffer {
  return kind.storedAs ? Buffer.from(JSON.stringify(objectOf(kind, entry))) : entry.bytes;
}

const shown = (kind: Kind, object: KubeObject): KubeObject => ({ ...object, apiVersion: apiVersionOf(kind.group, kind.version), kind: kind.kind });
