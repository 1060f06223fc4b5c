import type { KubeObject } from "../meta.ts";
import { descriptionOf } from "./descriptions.ts";
import { productGroup } from "./kinds.ts";

const text = (more: object = {}) => ({ type: "string", minLength: 1, maxLength: 253, ...more });
const label = text({ maxLength: 63, pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" });
const subdomain = text({ pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" });
const whole = (minimum: number, maximum: number) => ({ type: "integer", format: "int64", minimum, maximum });
const object = (properties: object, more: object = {}) => ({ type: "object", properties, ...more });
const listOf = (items: object, more: object = {}) => ({ type: "array", items, ...more });

const secondsMax = 31_536_000;
const bytesMax = 1_073_741_824;
const throttle = object({ requestsPerSecond: whole(1, 1_000_000), burst: whole(1, 1_000_000) }, { required: ["requestsPerSecond"] });
const cacheFields = {
  enabled: { type: "boolean" },
  ttlSeconds: whole(0, secondsMax),
  staleWhileRevalidateSeconds: whole(0, secondsMax),
  staleIfErrorSeconds: whole(0, secondsMax),
  maxObjectBytes: whole(1, bytesMax),
  keyHeaders: listOf(text({ pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" }), { maxItems: 16 }),
  keyQuery: listOf(text(), { maxItems: 64 }),
};
const cache = object(cacheFields);

const fieldName = text({ pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" });
const addresses = listOf(text({ maxLength: 64 }), { minItems: 1, maxItems: 1000 });
const bound = whole(0, bytesMax);
const pattern = { type: "string", minLength: 1, maxLength: 4096 };
const breaches = ["methods", "contentTypes", "max", "deny", "require", "clients"];
const rule = object(
  {
    name: text({ maxLength: 100, pattern: "^[A-Za-z0-9_ .:/-]+$" }),
    action: { type: "string", enum: ["Deny", "Log"], default: "Deny" },
    status: whole(400, 599),
    except: object({ paths: listOf(text({ maxLength: 1024, pattern: "^/" }), { maxItems: 64 }), clients: addresses }),
    methods: listOf(text({ maxLength: 40, pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" }), { minItems: 1, maxItems: 32 }),
    contentTypes: listOf(text({ pattern: "^[^/; ]+/[^/; ]+$" }), { minItems: 1, maxItems: 32 }),
    max: object({ headBytes: bound, headers: bound, pathBytes: bound, queryBytes: bound, parameters: bound, bodyBytes: bound }, { minProperties: 1 }),
    deny: object({ in: listOf({ type: "string", enum: ["path", "query", "headers", "body"] }, { maxItems: 4 }), headers: listOf(fieldName, { maxItems: 16 }), pattern, ignoreCase: { type: "boolean" } }, { required: ["pattern"], "x-kubernetes-validations": [{ rule: "(has(self.__in__) && size(self.__in__) > 0) || (has(self.headers) && size(self.headers) > 0)", message: "one of in and headers must say where" }] }),
    require: object({ header: fieldName, pattern }, { required: ["header"] }),
    clients: object({ allow: addresses, deny: addresses }, { minProperties: 1 }),
  },
  { required: ["name"], "x-kubernetes-validations": [{ rule: `[${breaches.map((field) => `has(self.${field})`).join(", ")}].filter(x, x).size() == 1`, message: `exactly one of ${breaches.join(", ")} must be set` }] },
);

const backendRef = object({ namespace: label, name: subdomain, port: whole(1, 65_535) }, { required: ["name", "port"] });

const whereTokensAre = text({ maxLength: 1024, pattern: "^https?://" });
const secretRef = object({ name: subdomain }, { required: ["name"] });
const quota = object({ requests: whole(0, 4_294_967_295), unit: { type: "string", enum: ["Hour", "Day", "Week", "Month", "Year"] } }, { required: ["requests", "unit"] });
const authorizer = object({ scheme: text(), backendRef, path: text({ maxLength: 1024, pattern: "^/[!-~]*$" }), issuer: whereTokensAre, audiences: listOf(text({ maxLength: 1024 }), { minItems: 1, maxItems: 32 }), jwksUri: whereTokensAre }, { required: ["scheme"] });
const plan = object(
  { name: label, secretRef, throttle, quota, operations: listOf(object({ operation: text(), throttle, quota }, { required: ["operation"] }), { maxItems: 1024, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["operation"] }) },
  { required: ["name", "secretRef"] },
);
const credential = object({ backendRef: object({ namespace: label, name: subdomain, port: whole(1, 65_535) }, { required: ["name"] }), secretRef, header: text({ pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" }) }, { required: ["backendRef", "secretRef"] });

const stage = object(
  {
    name: label,
    deployment: whole(1, Number.MAX_SAFE_INTEGER),
    parentRefs: listOf(object({ group: { type: "string", maxLength: 253 }, kind: text({ maxLength: 63 }), namespace: label, name: text(), sectionName: subdomain, port: whole(1, 65_535) }, { required: ["name"] }), { minItems: 1, maxItems: 32 }),
    hostnames: listOf(text({ pattern: "^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" }), { maxItems: 16 }),
    headers: listOf(object({ name: text({ maxLength: 256, pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" }), value: text({ maxLength: 4096 }) }, { required: ["name", "value"] }), { minItems: 1, maxItems: 16, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] }),
    canary: object({ percent: { type: "number", minimum: 0, maximum: 100 }, header: text({ maxLength: 256, pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" }) }, { required: ["percent"] }),
    path: text({ maxLength: 1024, pattern: "^(/[A-Za-z0-9._~!&'()*+,;=:@-]+)+$" }),
    variables: { type: "object", maxProperties: 64, additionalProperties: { type: "string", maxLength: 1024 } },
    backendRef,
    backends: listOf(object({ uri: text({ maxLength: 1024 }), backendRef }, { required: ["uri", "backendRef"] }), { maxItems: 256, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uri"] }),
    security: { type: "string", enum: ["Gateway", "Backend"], default: "Gateway" },
    validation: { type: "string", enum: ["Document", "All", "Report", "None"], default: "Document" },
    throttle,
    cache: object({ ...cacheFields, maxBytes: whole(1, bytesMax) }, { "x-kubernetes-validations": [{ rule: "!has(self.maxBytes) || !has(self.maxObjectBytes) || self.maxObjectBytes <= self.maxBytes", message: "maxObjectBytes must not be more than maxBytes" }] }),
    documentPath: text({ maxLength: 1024, pattern: "^(/[A-Za-z0-9._~!&'()*+,;=:@-]+)+$" }),
    rules: listOf(rule, { maxItems: 100, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] }),
    inspection: object({ maxBodyBytes: whole(1, 16_777_216), oversize: { type: "string", enum: ["Deny", "Pass"], default: "Deny" } }),
    authorizers: listOf(authorizer, { maxItems: 32, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["scheme"] }),
    plans: listOf(plan, { minItems: 1, maxItems: 64, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] }),
    credentials: listOf(credential, { maxItems: 64 }),
    operations: listOf(object({ operation: text(), throttle, cache }, { required: ["operation"] }), { maxItems: 1024, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["operation"] }),
  },
  { required: ["name", "parentRefs"] },
);

const spec = object(
  {
    document: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
    documentFrom: object({ configMapKeyRef: object({ name: subdomain, key: text({ pattern: "^[-._a-zA-Z0-9]+$" }) }, { required: ["name", "key"] }) }, { required: ["configMapKeyRef"] }),
    revisionHistoryLimit: { ...whole(0, 1000), default: 10 },
    stages: listOf(stage, { maxItems: 32, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] }),
  },
  { "x-kubernetes-validations": [{ rule: "has(self.document) != has(self.documentFrom)", message: "exactly one of document and documentFrom must be set" }] },
);

const condition = object(
  { type: text({ maxLength: 316 }), status: { type: "string", enum: ["True", "False", "Unknown"] }, reason: text({ maxLength: 1024 }), message: { type: "string", maxLength: 32_768 }, observedGeneration: whole(0, Number.MAX_SAFE_INTEGER), lastTransitionTime: { type: "string", format: "date-time" } },
  { required: ["lastTransitionTime", "message", "reason", "status", "type"] },
);
const usage = object({ policy: { type: "string" }, plan: { type: "string" }, operation: { type: "string" }, unit: { type: "string" }, key: { type: "string" }, count: { type: "integer", format: "int64" }, limit: { type: "integer", format: "int64" }, until: { type: "string" } });
const status = object({
  conditions: listOf(condition, { maxItems: 8, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"] }),
  deployments: listOf(object({ revision: { type: "integer", format: "int64" }, created: { type: "string" }, title: { type: "string" }, version: { type: "string" }, description: { type: "string" }, operations: { type: "integer" }, liveIn: listOf({ type: "string" }) })),
  purge: object({ requested: { type: "string" }, removed: { type: "integer", format: "int64" }, completed: { type: "string", format: "date-time" }, message: { type: "string" } }),
  stages: listOf(object({ name: { type: "string" }, deployment: { type: "integer", format: "int64" }, url: { type: "string" }, documentUrl: { type: "string" }, operations: { type: "integer" }, ready: { type: "boolean" }, message: { type: "string" }, usage: listOf(usage), rules: listOf(object({ name: { type: "string" }, refused: { type: "integer", format: "int64" }, logged: { type: "integer", format: "int64" } })) })),
});

/** With what `kubectl explain` says of each. */
function described<T extends object>(schema: T, path: string): T {
  const description = descriptionOf(path);
  const { properties, items } = schema as { properties?: Record<string, object>; items?: object };
  return {
    ...schema,
    ...(description !== undefined && !path.endsWith("[]") && { description }),
    ...(items && { items: described(items, `${path}[]`) }),
    ...(properties && { properties: Object.fromEntries(Object.entries(properties).map(([name, inner]) => [name, described(inner, `${path.replaceAll("[]", "")}.${name}`)])) }),
  };
}

/** What `kubectl get apis` reads; see `kinds.ts`. */
export const productDefinition: KubeObject = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `apis.${productGroup}`, annotations: {} },
  spec: {
    group: productGroup,
    names: { kind: "API", listKind: "APIList", plural: "apis", singular: "api" },
    scope: "Namespaced",
    versions: [
      {
        name: "v1alpha1",
        served: true,
        storage: true,
        subresources: { status: {} },
        additionalPrinterColumns: [
          { name: "Accepted", type: "string", jsonPath: '.status.conditions[?(@.type=="Accepted")].status' },
          { name: "Deployment", type: "integer", jsonPath: ".status.deployments[0].revision" },
          { name: "Live in", type: "string", jsonPath: ".status.deployments[0].liveIn" },
          { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
        ],
        schema: { openAPIV3Schema: { type: "object", description: "An OpenAPI document as a product: deployments of it, and the stages in which they are served. docs/reference/api-product.md.", required: ["spec"], properties: { apiVersion: { type: "string" }, kind: { type: "string" }, metadata: { type: "object" }, spec: described(spec, "spec"), status: described(status, "status") } } },
      },
    ],
  },
} as unknown as KubeObject;
