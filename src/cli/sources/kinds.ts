import type { Client } from "../../api/client.ts";
import { shippedDefinitionNames } from "../../api/definitions/definitions.ts";
import { builtinResources } from "../../api/kinds/table.ts";
import { apiVersionOf, type Condition, type GroupVersionResource, type KubeObject } from "../../api/meta.ts";
import { apiResource } from "../../api/product/kinds.ts";
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
const isEstablished = ({ type, status }: Condition): boolean => type === "Established" && status === "True";
const groupOf = ({ apiVersion }: KubeObject): string => apiVersion.split("/")[0]!;
const isBuiltin = ({ apiVersion, kind }: KubeObject): boolean => builtinResources().some((table) => table.kind === kind && apiVersionOf(table.group, table.version) === apiVersion);
/** Of the definitions that are there without being applied. */
const shippedNames = (): string[] => [...Object.values(shippedDefinitionNames()).flat(), `${apiResource.resource}.${apiResource.group}`];
const establishedMs = 10_000;

/** Knows where each kind is served: the built-in ones, those that a CustomResourceDefinition of the stack or of the manifests names. */
export class ServedKinds {
  readonly #custom = new Map<string, ServedKind>();

  static async of(client: Client, objects: readonly KubeObject[]): Promise<ServedKinds> {
    const kinds = new ServedKinds();
    // Nobody pays for definitions who uses none.
    if (objects.every(({ apiVersion, kind }) => kinds.find(apiVersion, kind))) return kinds;
    const read = async (): Promise<Set<string>> => {
      const items = (await client.list(resources.customResourceDefinitions)).items as Definition[];
      for (const object of [...items, ...(objects.filter(isDefinition) as Definition[])]) kinds.#add(object);
      return new Set(items.filter(({ status }) => (status as { conditions?: Condition[] } | undefined)?.conditions?.some(isEstablished)).map(({ spec }) => `${spec.group}/${spec.names.kind}`));
    };
    const served = await read();
    // A stack that has just begun makes its own definitions while its first files are applied.
    const groups = new Set(objects.filter((object) => !isBuiltin(object) && !served.has(`${groupOf(object)}/${object.kind}`)).map(groupOf));
    const coming = groups.size === 0 ? [] : shippedNames().filter((name) => groups.has(name.slice(name.indexOf(".") + 1)));
    if (coming.length > 0) {
      // One that somebody has deleted does not come: who names it is told so.
      await Promise.allSettled(coming.map((name) => untilEstablished(client, name, name)));
      await read();
    }
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
      if (conditions.some(isEstablished)) return;
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
