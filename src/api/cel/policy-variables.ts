import type { Schema } from "../schema.ts";
import type { CelType } from "./program.ts";
import { opaque, type Type } from "./types.ts";

/** What expressions of admission policies may name. Source: k8s.io/apiserver/pkg/admission/plugin/cel/compile.go. */
const text: Schema = { type: "string" };
const textList: Schema = { type: "array", items: text };
const textMap: Schema = { type: "object", additionalProperties: text };
const fields = (properties: Record<string, Schema>): Schema => ({ type: "object", properties });
const kind = fields({ group: text, version: text, kind: text });
const resource = fields({ group: text, version: text, resource: text });

const request = fields({
  kind,
  resource,
  subResource: text,
  requestKind: kind,
  requestResource: resource,
  requestSubResource: text,
  name: text,
  namespace: text,
  operation: text,
  userInfo: fields({ username: text, uid: text, groups: textList, extra: { type: "object", additionalProperties: textList } }),
  dryRun: { type: "boolean" },
  // Of any of the options kinds: the one format that makes a field dyn.
  options: { format: "int-or-string" },
});
const namespaceObject = fields({
  metadata: fields({
    name: text,
    generateName: text,
    namespace: text,
    labels: textMap,
    annotations: textMap,
    UID: text,
    creationTimestamp: { type: "string", format: "date-time" },
    deletionGracePeriodSeconds: { type: "integer" },
    deletionTimestamp: { type: "string", format: "date-time" },
    generation: { type: "integer" },
    resourceVersion: text,
    finalizers: textList,
  }),
  spec: fields({ finalizers: textList }),
  status: fields({ phase: text }),
});

/** `variables` as an object of the types that its expressions have. */
export const variablesType = (known: ReadonlyMap<string, Type>): Type => ({ kind: "object", name: "kubernetes.variables", field: (name) => known.get(name) });

export interface PolicyVariables {
  variables: Record<string, CelType>;
  types: Record<string, Type>;
}

/**
 * @param hasParams whether the policy has a paramKind
 * @param variables the type of `variables`; absent: there are none
 * @param object what is known of object and oldObject: at admission nothing, when types are checked a schema
 */
export const policyVariables = (hasParams: boolean, variables?: Type, object: CelType = "dyn", params: CelType = "dyn"): PolicyVariables => ({
  variables: { object, oldObject: object, request, namespaceObject, ...(hasParams && { params }) },
  types: {
    ...(variables && { variables }),
    authorizer: opaque("kubernetes.authorization.Authorizer"),
    "authorizer.requestResource": opaque("kubernetes.authorization.ResourceCheck"),
  },
});
