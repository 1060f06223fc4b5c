import type { Condition, KubeObject, ObjectMeta } from "../meta.ts";
import type { PrinterColumn } from "./columns.ts";
import type { JSONSchemaProps } from "./json-schema.ts";

/** A CustomResourceDefinition, as far as this server reads one. Source: k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1/types.go. */
export interface CustomResourceDefinition {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly spec: DefinitionSpec;
  readonly status?: DefinitionStatus;
}
export interface DefinitionSpec {
  readonly group: string;
  readonly names: Names;
  readonly scope: "Namespaced" | "Cluster";
  readonly versions: readonly DefinitionVersion[];
  readonly preserveUnknownFields?: boolean;
  readonly conversion?: Conversion;
}
export interface Conversion {
  readonly strategy: "None" | "Webhook";
  readonly webhook?: { readonly clientConfig?: ClientConfig; readonly conversionReviewVersions?: readonly string[] };
}
export interface ClientConfig {
  readonly url?: string;
  readonly service?: { readonly namespace: string; readonly name: string; readonly path?: string; readonly port?: number };
  readonly caBundle?: string;
}
export interface Names {
  readonly plural: string;
  readonly singular?: string;
  readonly shortNames?: readonly string[];
  readonly kind: string;
  readonly listKind?: string;
  readonly categories?: readonly string[];
}
export interface DefinitionVersion {
  readonly name: string;
  readonly served: boolean;
  readonly storage: boolean;
  readonly deprecated?: boolean;
  readonly deprecationWarning?: string;
  readonly schema?: { readonly openAPIV3Schema?: JSONSchemaProps };
  readonly subresources?: { readonly status?: object; readonly scale?: ScalePaths };
  readonly additionalPrinterColumns?: readonly PrinterColumn[];
  readonly selectableFields?: readonly { readonly jsonPath: string }[];
}
export interface ScalePaths {
  readonly specReplicasPath: string;
  readonly statusReplicasPath: string;
  readonly labelSelectorPath?: string;
}
export interface DefinitionStatus {
  readonly conditions?: readonly Condition[];
  readonly acceptedNames?: Partial<Names>;
  readonly storedVersions?: readonly string[];
}

export const cleanupFinalizer = "customresourcecleanup.apiextensions.k8s.io";

export const isCondition = (definition: Pick<CustomResourceDefinition, "status">, type: string, status = "True"): boolean => (definition.status?.conditions ?? []).some((condition) => condition.type === type && condition.status === status);

export const asDefinition = (object: KubeObject): CustomResourceDefinition => object as unknown as CustomResourceDefinition;
