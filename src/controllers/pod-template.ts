import type { OwnerReference } from "../api/meta.ts";
import type { PodTemplateSpec } from "../api/types.ts";
import { nameAlphabet } from "../base/random.ts";
import type { Draft } from "./action.ts";

export const templateHashLabel = "pod-template-hash";

/** JSON with sorted keys and without absent values: equal content gives equal text. */
export function stableJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(stableJson).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined && field !== null)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, field]) => `${JSON.stringify(key)}:${stableJson(field)}`);
  return `{${fields.join(",")}}`;
}

/** FNV-1a, 32 bits: Go's fnv.New32a. */
function fnv32a(bytes: Uint8Array, start = 0x811c9dc5): number {
  let hash = start;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** A number in the alphabet of names, as hashes in names look: each decimal digit becomes one letter. */
export function safeEncode(text: string): string {
  return [...text].map((letter) => nameAlphabet[letter.charCodeAt(0) % nameAlphabet.length]).join("");
}

/**
 * A short hash of anything for names and labels. The same content gives the same hash for ever; after a collision
 * the caller counts up and gets another. Its letters are upstream's, its value need not be.
 */
export function hashOf(value: unknown, collisionCount?: number): string {
  let hash = fnv32a(Buffer.from(stableJson(value)));
  if (collisionCount !== undefined) {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(collisionCount);
    hash = fnv32a(bytes, hash);
  }
  return safeEncode(String(hash));
}

/** Equal but for the hash label that the Deployment controller itself adds. */
export function sameTemplate(a: PodTemplateSpec | undefined, b: PodTemplateSpec | undefined): boolean {
  return comparable(a) === comparable(b);
}
const compared = new WeakMap<object, string>();
function comparable(template: PodTemplateSpec | undefined): string {
  if (!template) return "";
  // Objects are shared and never changed, so the text of a template is made once.
  let text = compared.get(template);
  if (text === undefined) {
    const { [templateHashLabel]: _, ...labels } = template.metadata?.labels ?? {};
    const { labels: __, ...metadata } = template.metadata ?? {};
    text = stableJson({ metadata: { ...metadata, ...(Object.keys(labels).length > 0 && { labels }) }, spec: template.spec });
    compared.set(template, text);
  }
  return text;
}

/** The reference by which `owner` controls what it creates. */
export function controllerReference(owner: { metadata: { name: string; uid: string } }, apiVersion: string, kind: string): OwnerReference {
  return { apiVersion, kind, name: owner.metadata.name, uid: owner.metadata.uid, controller: true, blockOwnerDeletion: true };
}

/** A pod of this template, without a name of its own yet. */
export function podFromTemplate(template: PodTemplateSpec, namespace: string, owner: OwnerReference): Draft & { metadata: { labels: Record<string, string>; annotations: Record<string, string> } } {
  const { labels = {}, annotations = {}, finalizers } = template.metadata ?? {};
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace, labels: { ...labels }, annotations: { ...annotations }, ...(finalizers && { finalizers }), ownerReferences: [owner] },
    spec: template.spec,
  };
}
