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

/** Creates what is missing; what is there is the user's to change. */
export async function installDefinitions(client: Client): Promise<void> {
  const missing = async (object: KubeObject): Promise<boolean> => !(await client.get(resources.customResourceDefinitions, undefined, object.metadata.name).catch(notFound));
  for (const object of [...shippedNames.flatMap(shippedDefinitions), productDefinition]) {
    if (await missing(object)) await client.create(resources.customResourceDefinitions, undefined, object, { fieldManager: "kube-apiserver" }).catch(exists);
  }
  for (const { resource, object } of classes) await client.create(resource, undefined, object, { fieldManager: "kube-apiserver" }).catch(exists);
}

const notFound = (error: unknown): undefined => {
  if (!(error instanceof StatusError && error.code === 404)) throw error;
};
const exists = (error: unknown): undefined => {
  if (!(error instanceof StatusError && error.reason === "AlreadyExists")) throw error;
};
