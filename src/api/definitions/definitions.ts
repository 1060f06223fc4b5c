import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "../client.ts";
import type { KubeObject } from "../meta.ts";
import { productDefinition } from "../product/definition.ts";
import { resources } from "../resources.ts";
import { StatusError } from "../status.ts";

/**
 * CustomResourceDefinitions that are there from the start, distilled from their projects' own by tools/generate-definitions.ts:
 * Gateway API v1.6.1 (experimental channel), cert-manager, Istio's kinds for the mesh, and Envoy Gateway's policies; and our own one, of APIs as products. Who applies the project's own over them may.
 */
export const shippedNames = ["gateway-api", "cert-manager", "istio", "envoy-gateway"] as const;

export const shippedDefinitions = (name: (typeof shippedNames)[number]): KubeObject[] => JSON.parse(readFileSync(join(import.meta.dirname, `${name}.json`), "utf8")) as KubeObject[];

/** What belongs to them: without a class, a Gateway is nobody's. */
const classes: readonly { resource: { group: string; version: string; resource: string }; object: object }[] = [
  { resource: { group: "gateway.networking.k8s.io", version: "v1", resource: "gatewayclasses" }, object: { apiVersion: "gateway.networking.k8s.io/v1", kind: "GatewayClass", metadata: { name: "wherry" }, spec: { controllerName: "wherry.dev/gateway-controller" } } },
];

/** Their names, to see what is missing without reading half a megabyte at each start. */
export const shippedDefinitionNames = (): Record<(typeof shippedNames)[number], string[]> => JSON.parse(readFileSync(join(import.meta.dirname, "names.json"), "utf8")) as Record<(typeof shippedNames)[number], string[]>;

/** Of our own definition, with what it was made of: an older one is brought up to date. */
const madeOf = "api.wherry.dev/definition";

/** Creates what is missing; what is there is the user's to change, but for our own kind, whose fields are those of this version. */
export async function installDefinitions(client: Client): Promise<void> {
  const present = (name: string): Promise<KubeObject | undefined> => client.get<KubeObject>(resources.customResourceDefinitions, undefined, name).catch(notFound);
  const create = (object: KubeObject) => client.create(resources.customResourceDefinitions, undefined, object, { fieldManager: "kube-apiserver" }).catch(exists);
  for (const [file, names] of Object.entries(shippedDefinitionNames())) {
    const missing: string[] = [];
    for (const name of names) if (!(await present(name))) missing.push(name);
    if (missing.length > 0) for (const object of shippedDefinitions(file as (typeof shippedNames)[number])) if (missing.includes(object.metadata.name)) await create(object);
  }
  const { metadata, spec } = productDefinition;
  const hash = createHash("sha256").update(JSON.stringify(spec)).digest("hex").slice(0, 16);
  const own = await present(metadata.name);
  if (!own) await create({ ...productDefinition, metadata: { ...metadata, annotations: { ...metadata.annotations, [madeOf]: hash } } });
  else if (own.metadata.annotations?.[madeOf] !== hash) {
    await client.patch(resources.customResourceDefinitions, undefined, metadata.name, { metadata: { annotations: { [madeOf]: hash } }, spec }, { type: "merge", fieldManager: "kube-apiserver" });
  }
  for (const { resource, object } of classes) await client.create(resource, undefined, object, { fieldManager: "kube-apiserver" }).catch(exists);
}

const notFound = (error: unknown): undefined => {
  if (!(error instanceof StatusError && error.code === 404)) throw error;
};
const exists = (error: unknown): undefined => {
  if (!(error instanceof StatusError && error.reason === "AlreadyExists")) throw error;
};
