import { CustomSchema } from "../../../src/api/crd/schema.ts";
import type { Request, Template } from "./objects.ts";

/**
 * What both servers are given before the first sequence: kinds of our own whose schemas use what a definition can say,
 * and policies that judge writes. Each object of these kinds is generated like those of built-in ones.
 */
const group = "test.example.com";
const json = "application/json";
const definitionsPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

type Props = Record<string, unknown>;
/** `rule` on a value of `type`; a rule may bring more of its own: message, reason, fieldPath, optionalOldSelf. */
const ruled = (type: Props, ...rules: (string | Props)[]): Props => ({ ...type, "x-kubernetes-validations": rules.map((rule) => (typeof rule === "string" ? { rule } : rule)) });
const string: Props = { type: "string", maxLength: 40 };
const integer: Props = { type: "integer" };
const listOf = (items: Props, max = 6): Props => ({ type: "array", items, maxItems: max });
const mapOf = (values: Props): Props => ({ type: "object", additionalProperties: values, maxProperties: 6 });
const object = (properties: Props, rest: Props = {}): Props => ({ type: "object", properties, ...rest });

const widgetSpec = object(
  {
    replicas: { type: "integer", default: 1, minimum: 0, maximum: 10 },
    color: { type: "string", enum: ["red", "green", "blue"], default: "red" },
    word: { type: "string", pattern: "^[a-z]+$", maxLength: 10, minLength: 1 },
    even: { type: "integer", multipleOf: 2, format: "int64" },
    ratio: { type: "number", exclusiveMinimum: true, minimum: 0 },
    ports: { ...listOf(object({ port: { type: "integer", format: "int32" }, protocol: { type: "string", default: "TCP" }, name: string }, { required: ["port"] })), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"] },
    tags: { ...listOf(string), "x-kubernetes-list-type": "set" },
    free: listOf(object({ a: integer, b: string })),
    limits: { type: "object", additionalProperties: { "x-kubernetes-int-or-string": true, anyOf: [{ type: "integer" }, { type: "string" }], pattern: "^[0-9]+(m|Mi)?$" } },
    raw: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
    nested: { ...object({ on: { type: "boolean", default: true }, deep: object({ level: { type: "integer", default: 3 } }, { default: {} }) }), "x-kubernetes-map-type": "atomic" },
    when: { type: "string", format: "date-time" },
    address: { type: "string", format: "ipv4" },
    maybe: { type: "string", nullable: true, default: "some" },
    resource: { type: "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true },
    one: { ...object({ left: string, right: string }), oneOf: [{ required: ["left"] }, { required: ["right"] }] },
  },
  { required: ["replicas"] },
);
const widgetStatus = object({ replicas: integer, selector: string, phase: { type: "string", enum: ["Ready", "Pending"] }, conditions: { ...listOf(object({ type: string, status: string }, { required: ["type", "status"] })), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"] } });

const ruleSpec = ruled(
  object({
    url: ruled(string, "isURL(self) && url(self).getScheme() == 'https'"),
    host: ruled(string, { rule: "url('https://' + self + '/x').getHostname() == self", message: "is no host" }),
    ip: ruled(string, "isIP(self) && ip(self).family() == 4"),
    range: ruled(string, "isCIDR(self) && cidr(self).containsIP('10.0.0.1')"),
    size: ruled(string, "isQuantity(self)", "quantity(self).isGreaterThan(quantity('1Mi'))"),
    version: ruled(string, { rule: "isSemver(self) && semver(self).isGreaterThan(semver('1.0.0'))", messageExpression: "'not newer: ' + self" }),
    label: ruled(string, "!format.dns1123Label().validate(self).hasValue()"),
    pattern: ruled(string, "self.matches('^[a-z]+[0-9]*$')", "self.find('[0-9]+') != '42'"),
    parts: ruled(string, "self.split(',').size() <= 2", { rule: "self.lowerAscii() == self", reason: "FieldValueForbidden" }),
    numbers: ruled(listOf(integer), "self.isSorted()", { rule: "self.sum() < 20", messageExpression: "self.size() > 3 ? 'too many' : 'too much'" }, "self.all(x, x >= 0)", "self.map(x, x * 2).exists(x, x != 7)"),
    words: ruled(listOf(string), "self.all(a, self.exists_one(b, a == b))", "self.join('-').size() < 20", "self.indexOf('') == -1"),
    table: ruled(mapOf(integer), "self.all(k, size(k) < 5)", "!('a' in self) || self['a'] > 0"),
    span: ruled(string, "duration(self) < duration('1h')"),
    moment: ruled({ type: "string", format: "date-time" }, "self < timestamp('2030-01-01T00:00:00Z')"),
    divisor: ruled(integer, "10 / self > 1"),
    grows: ruled(integer, { rule: "self >= oldSelf", message: "may not shrink" }),
    fixed: ruled(string, "self == oldSelf"),
    once: ruled(string, { rule: "!oldSelf.hasValue() || oldSelf.value() == self", optionalOldSelf: true, message: "is set once" }),
    inner: ruled(object({ min: integer, max: integer, kind: string }), { rule: "!has(self.min) || !has(self.max) || self.min <= self.max", fieldPath: ".min", reason: "FieldValueInvalid", message: "min beyond max" }, "self.?kind.orValue('none') != 'bad'"),
    items: { ...listOf(ruled(object({ name: string, value: integer }, { required: ["name"] }), "self.name != 'x' || has(self.value)", "!has(oldSelf.value) || has(self.value)")), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] },
    bytes: ruled({ type: "string", format: "byte", maxLength: 40 }, "size(self) < 6"),
    any: { "x-kubernetes-int-or-string": true, "x-kubernetes-validations": [{ rule: "type(self) == int ? self < 100 : self.endsWith('%')" }] },
  }),
  { rule: "!(has(self.ip) && has(self.range)) || cidr(self.range).containsIP(self.ip)", message: "address outside of the range" },
);

const definition = (plural: string, kind: string, scope: "Namespaced" | "Cluster", versions: Props[], rest: Props = {}): Props => ({ apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition", metadata: { name: `${plural}.${group}` }, spec: { group, scope, names: { plural, singular: plural.slice(0, -1), kind, shortNames: [plural.slice(0, 2)], categories: ["all"] }, versions, ...rest } });
const version = (name: string, schema: Props, rest: Props = {}): Props => ({ name, served: true, storage: true, schema: { openAPIV3Schema: schema }, ...rest });

const widget = object({ spec: widgetSpec, status: widgetStatus });
const widgetRest = {
  subresources: { status: {}, scale: { specReplicasPath: ".spec.replicas", statusReplicasPath: ".status.replicas", labelSelectorPath: ".status.selector" } },
  selectableFields: [{ jsonPath: ".spec.color" }],
  additionalPrinterColumns: [{ name: "Color", type: "string", jsonPath: ".spec.color" }, { name: "Ports", type: "string", jsonPath: ".spec.ports[*].port", priority: 1 }, { name: "Replicas", type: "integer", jsonPath: ".spec.replicas" }, { name: "On", type: "boolean", jsonPath: ".spec.nested.on" }, { name: "When", type: "date", jsonPath: ".spec.when" }, { name: "First", type: "string", jsonPath: ".spec.tags[0]" }],
};
const rulesSchema = object({ spec: ruleSpec });
const gadgetSchema = object({ spec: object({ mode: { type: "string", default: "auto" } }), status: object({ phase: string }) }, { "x-kubernetes-preserve-unknown-fields": true });

const definitions: readonly Props[] = [
  definition("widgets", "Widget", "Namespaced", [version("v1", widget, widgetRest), version("v1beta1", widget, { ...widgetRest, storage: false, deprecated: true })]),
  definition("rulings", "Ruling", "Namespaced", [version("v1", rulesSchema)]),
  definition("gadgets", "Gadget", "Cluster", [version("v1", gadgetSchema)]),
];

const widgetExample = (apiVersion: string): Template["object"] => ({ apiVersion: `${group}/${apiVersion}`, kind: "Widget", spec: { replicas: 2, color: "blue", word: "abc", ports: [{ port: 80 }, { port: 53, protocol: "UDP" }], tags: ["x", "y"], limits: { cpu: "100m", count: 3 }, raw: { any: [1, { thing: true }] }, nested: { deep: { level: 1 } }, when: "2026-01-01T00:00:00Z", resource: { apiVersion: "v1", kind: "Pod", metadata: { name: "p" }, spec: {} } } });

export const customTemplates: readonly Template[] = [
  { base: `apis/${group}/v1`, resource: "widgets", subresources: ["status", "scale"], schema: new CustomSchema(widget), object: widgetExample("v1") },
  { base: `apis/${group}/v1beta1`, resource: "widgets", subresources: ["status", "scale"], schema: new CustomSchema(widget), object: widgetExample("v1beta1") },
  { base: `apis/${group}/v1`, resource: "gadgets", clusterScoped: true, schema: new CustomSchema(gadgetSchema), object: { apiVersion: `${group}/v1`, kind: "Gadget", spec: { mode: "manual", other: "1" }, top: "kept", status: { phase: "x" } } },
  { base: `apis/${group}/v1`, resource: "rulings", schema: new CustomSchema(rulesSchema), object: { apiVersion: `${group}/v1`, kind: "Ruling", spec: { url: "https://a.example/x", ip: "10.0.0.7", range: "10.0.0.0/8", size: "2Mi", version: "1.2.3", label: "web", pattern: "abc", parts: "a,b", numbers: [1, 2, 3], words: ["a", "b"], table: { a: 1 }, span: "30m", moment: "2026-01-01T00:00:00Z", divisor: 2, grows: 3, fixed: "f", once: "o", inner: { min: 1, max: 2 }, items: [{ name: "x", value: 1 }], bytes: "aGk=", any: 5 } } },
];

/** Policies by the value of the label "check" that an object must have for them to look at it. */
export const policyRules: Readonly<Record<string, Props>> = {
  plain: { validations: [{ expression: "object.data.a == '1'" }] },
  worded: { validations: [{ expression: "has(object.data) && 'a' in object.data", message: "a is wanted", reason: "Forbidden" }, { expression: "object.metadata.name.endsWith('a')", messageExpression: "'name is ' + object.metadata.name", reason: "RequestEntityTooLarge" }] },
  variables: { variables: [{ name: "size", expression: "has(object.data) ? object.data.size() : 0" }, { name: "twice", expression: "variables.size * 2" }], validations: [{ expression: "variables.twice < 4", messageExpression: "'twice is ' + string(variables.twice)" }] },
  matched: { matchConditions: [{ name: "labelled", expression: "'app' in object.metadata.labels" }], validations: [{ expression: "false", message: "no app" }] },
  broken: { validations: [{ expression: "object.data.none.other == '1'" }] },
  ignored: { failurePolicy: "Ignore", validations: [{ expression: "object.data.none.other == '1'" }] },
  request: { validations: [{ expression: "request.userInfo.groups.exists(g, g == 'system:masters') && request.operation == 'CREATE' && request.resource.resource == 'configmaps' && !has(request.name)", messageExpression: "request.name" }] },
  namespace: { validations: [{ expression: "namespaceObject.metadata.name == object.metadata.namespace && !has(namespaceObject.metadata.annotations)" }, { expression: "oldObject == null", reason: "Forbidden" }] },
  authorized: { validations: [{ expression: "authorizer.group('').resource('pods').namespace('default').check('create').allowed()" }, { expression: "!authorizer.path('/healthz').check('get').allowed()", message: "may see health" }] },
  warned: { validations: [{ expression: "object.data.a == '2'", message: "warned only" }] },
  failing: { validations: [{ expression: "int(object.data.a) / (object.data.size() - 2) > 0" }] },
};
const policiesPath = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";

export const world: readonly Request[] = [
  ...definitions.map((body): Request => ({ method: "POST", path: definitionsPath, contentType: json, body })),
  ...Object.entries(policyRules).flatMap(([name, rules]): Request[] => [
    { method: "POST", path: policiesPath, contentType: json, body: { metadata: { name: `check-${name}` }, spec: { failurePolicy: "Fail", matchConstraints: { objectSelector: { matchLabels: { check: name } }, resourceRules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE", "UPDATE"], resources: ["configmaps"] }] }, ...rules } } },
    { method: "POST", path: policiesPath.replace("policies", "policybindings"), contentType: json, body: { metadata: { name: `check-${name}` }, spec: { policyName: `check-${name}`, validationActions: [name === "warned" ? "Warn" : "Deny"] } } },
  ]),
];
/** Answer with 200 when the world is ready. */
export const worldReady: readonly string[] = customTemplates.map(({ base, resource }) => `/${base}/${resource}`);
