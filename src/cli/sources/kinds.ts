import type { Client } from "../../api/client.ts";
import { builtinResources } from "../../api/kinds/table.ts";
import { apiVersionOf, type Condition, type GroupVersionResource, type KubeObject } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import { WherryError } from "../../base/errors.ts";

/** Where the objects of a kind are served. */
export interface ServedKind {
  resource: GroupVersionResource;
  namespaced: boolean;
  /** "deployment.apps" */
  singular: string;
}

interface Definition extends KubeObject {
  spec: { group: string; scope: string; names: { kind: string; plural: string; singular?: string }; versions: { name: string }[] };
}

const isDefinition = (object: KubeObject): boolean => object.kind === "CustomResourceDefinition" && object.apiVersion === "apiextensions.k8s.io/v1";
const establishedMs = 10_000;

/** Knows where each kind is served: the built-in ones, those that a CustomResourceDefinition of the stack or of the manifests names. */
export class ServedKinds {
  readonly #custom = new Map<string, ServedKind>();

  static async of(client: Client, objects: readonly KubeObject[]): Promise<ServedKinds> {
    const kinds = new ServedKinds();
    // Nobody pays for definitions who uses none.
    if (objects.every(({ apiVersion, kind }) => kinds.find(apiVersion, kind))) return kinds;
    const { items } = await client.list(resources.customResourceDefinitions);
    for (const object of [...items, ...objects.filter(isDefinition)]) kinds.#add(object as Definition);
    return kinds;
  }

  #add({ spec }: Definition): void {
    // One that is broken is refused by the API in better words.
    if (!spec?.names?.kind || !Array.isArray(spec.versions)) return;
    const { group, names } = spec;
    for (const { name: version } of spec.versions) {
      this.#custom.set(`${group}/${version}/${names.kind}`, { resource: { group, version, resource: names.plural }, namespaced: spec.scope === "Namespaced", singular: `${names.singular ?? names.kind.toLowerCase()}.${group}` });
    }
  }

  find(apiVersion: string, kind: string): ServedKind | undefined {
    const found = builtinResources().find((table) => table.kind === kind && apiVersionOf(table.group, table.version) === apiVersion);
    if (!found) return this.#custom.get(`${apiVersion}/${kind}`);
    return { resource: { group: found.group, version: found.version, resource: found.resource }, namespaced: found.scope === "Namespaced", singular: `${found.singular}${found.group && `.${found.group}`}` };
  }
}

/** Resolves when the API serves what a definition names. Throws WherryError MANIFEST_INVALID with the reason when it will not. */
export async function untilEstablished(client: Client, name: string, origin: string): Promise<void> {
  const signal = AbortSignal.timeout(establishedMs);
  let refused = "it is not established";
  try {
    for await (const { object } of client.watch(resources.customResourceDefinitions, { fieldSelector: `metadata.name=${name}`, signal })) {
      const conditions = (object["status"] as { conditions?: Condition[] } | undefined)?.conditions ?? [];
      if (conditions.some(({ type, status }) => type === "Established" && status === "True")) return;
      const conflict = conditions.find(({ type, status }) => type === "NamesAccepted" && status === "False");
      if (conflict) {
        refused = conflict.message ?? refused;
        break;
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  throw new WherryError("MANIFEST_INVALID", `${origin}: ${name}: ${refused}`);
}
