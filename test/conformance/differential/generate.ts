import { createBuiltinRegistry } from "../../../src/api/registry.ts";
import { strategies } from "../../../src/api/kinds/index.ts";
import type { Schema } from "../../../src/api/schema.ts";
import { seededRandom } from "../../../src/base/random.ts";
import { type Request, type Template, templates as builtinTemplates } from "./objects.ts";
import { special, specialKinds } from "./special.ts";
import { customTemplates } from "./world.ts";

export type { Request } from "./objects.ts";

export interface Sequence {
  seed: number;
  kind: string;
  requests: Request[];
}

type Json = unknown;
/** How many sequences are about something else than one kind. */
const specialShare = 0.12;
const templates: readonly Template[] = [...builtinTemplates, ...customTemplates];
const registry = createBuiltinRegistry(strategies);

/** Sequences of requests about one or two objects of a kind: made, read, changed in every way, spoilt, deleted. */
export function sequence(seed: number, only?: string): Sequence {
  const random = seededRandom(seed);
  if (only ? specialKinds.includes(only) : random.next() < specialShare) return { seed, ...special(random, only) };
  const chance = (probability: number) => random.next() < probability;
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random.next() * items.length)]!;
  // A copy, since it may be changed further.
  const anyValue = (): Json => clone(pick(anything));
  const candidates = only ? templates.filter(({ resource }) => resource === only) : templates;
  const template = pick(candidates);
  const schema: Schema = template.schema ?? registry.byResource(template.base.startsWith("api/") ? "" : template.base.split("/")[1]!, template.base.split("/").at(-1)!, template.resource)!.schema;
  const collection = `/${template.base}${template.clusterScoped ? "" : "/namespaces/NS"}/${template.resource}`;
  const names = [`NS-a`, `NS-b`];
  const requests: Request[] = [];

  const object = (name: string): Record<string, Json> => {
    const { object } = template;
    return clone({ ...object, metadata: { name, ...(template.clusterScoped ? {} : { namespace: "NS" }), labels: { app: "web", run: "NS" }, annotations: { note: "first" } } });
  };
  const spoilt = (name: string, times: number): Record<string, Json> => {
    const made = object(name);
    for (let time = 0; time < times; time++) mutate(made, schema);
    return made;
  };

  /** Changes one place: takes it away, gives it another value, or adds a field that the schema or nobody knows. */
  function mutate(root: Record<string, Json>, schema: Schema): void {
    let at: Json = root;
    let node: Schema | undefined = schema;
    for (let depth = 0; ; depth++) {
      if (Array.isArray(at)) {
        if (at.length === 0 || chance(0.15)) {
          if (at.length > 0 && chance(0.5)) at.push(clone(pick(at)));
          else at.push(valueFor(node?.items, 0));
          return;
        }
        const index = Math.floor(random.next() * at.length);
        const next: Json = at[index];
        if (isContainer(next) && chance(0.8)) {
          at = next;
          node = node?.items;
          continue;
        }
        if (chance(0.3)) at.splice(index, 1);
        else at[index] = valueFor(node?.items, 0);
        return;
      }
      const holder = at as Record<string, Json>;
      const keys = Object.keys(holder).filter((key) => depth > 0 || !["apiVersion", "kind"].includes(key));
      const key = keys.length === 0 ? undefined : pick(keys);
      const child: Schema | undefined = key === undefined ? undefined : (node?.properties?.[key] ?? node?.additionalProperties);
      if (key !== undefined && isContainer(holder[key]) && chance(depth === 0 ? 0.95 : 0.7)) {
        at = holder[key];
        node = child;
        continue;
      }
      const dice = random.next();
      if (dice < 0.25 && key !== undefined) delete holder[key];
      else if (dice < 0.6 && key !== undefined) holder[key] = chance(0.85) ? valueFor(child, 0) : anyValue();
      else if (dice < 0.92) {
        const known = Object.keys(node?.properties ?? {}).filter((name) => !(name in holder) && !["status", "managedFields", "selfLink"].includes(name));
        const name = known.length > 0 ? pick(known) : pick(words);
        holder[name] = valueFor(node?.properties?.[name] ?? node?.additionalProperties, 0);
      } else holder[pick(["bogus", "Replicas", "imagee", "spec "])] = anyValue();
      return;
    }
  }

  function valueFor(schema: Schema | undefined, depth: number): Json {
    if (!schema || chance(0.03)) return anyValue();
    if (schema.enum && chance(0.6)) return pick(schema.enum);
    switch (schema.format) {
      case "quantity":
        return pick(quantities);
      case "int-or-string":
        return pick([0, 1, 80, -1, "25%", "101%", "http", "abc%", ""]);
      case "date-time":
      case "micro-time":
        return pick(["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456Z", "yesterday", "2026-01-01T01:00:00+01:00", null]);
      case "byte":
        return pick(["aGVsbG8=", "not base64!", ""]);
    }
    switch (schema.type) {
      case "string":
        return pick(words);
      case "integer":
        return pick([0, 1, -1, 2, 5, 80, 65536, 2_147_483_648, 3.5]);
      case "number":
        return pick([0, 1.5, -1]);
      case "boolean":
        return chance(0.5);
      case "array":
        return depth > 4 ? [] : Array.from({ length: Math.floor(random.next() * 3) }, () => valueFor(schema.items, depth + 1));
      case "object": {
        if (schema.additionalProperties) return chance(0.2) ? {} : { [pick(words)]: valueFor(schema.additionalProperties, depth + 1) };
        const made: Record<string, Json> = {};
        if (depth > 4) return made;
        for (const [name, property] of Object.entries(schema.properties ?? {})) if (schema.required?.includes(name) ? chance(0.9) : chance(0.15)) made[name] = valueFor(property, depth + 1);
        return made;
      }
    }
    return anyValue();
  }

  const query = (extra: Record<string, string> = {}) => {
    const all = new URLSearchParams({ fieldManager: pick(["one", "two"]), ...(chance(0.8) && { fieldValidation: pick(["Strict", "Strict", "Warn", "Ignore"]) }), ...(chance(0.1) && { dryRun: "All" }), ...extra });
    return `?${all}`;
  };
  const create = (name: string): Request => ({ method: "POST", path: collection + query(), contentType: "application/json", body: chance(0.4) ? object(name) : spoilt(name, 1 + Math.floor(random.next() * 2)) });
  const patch = (name: string): Request => {
    const subresource = template.subresources && chance(0.2) ? `/${pick(template.subresources)}` : "";
    const path = `${collection}/${name}${subresource}`;
    const whole = spoilt(name, 1);
    const part = partOf(whole);
    const type = pick(["json", "merge", "strategic", "apply", "apply", "strategic"]);
    if (subresource === "/scale" && chance(0.3)) return { method: "PATCH", path: path + query(chance(0.3) ? { force: "true" } : {}), contentType: "application/apply-patch+yaml", body: { apiVersion: "autoscaling/v1", kind: "Scale", metadata: { name, namespace: "NS" }, spec: { replicas: pick([0, 1, 7, -1, "x"]) } } };
    if (subresource === "/scale" && chance(0.4)) return { method: "PUT", path: path + query(), contentType: "application/json", body: { apiVersion: "autoscaling/v1", kind: "Scale", metadata: { name, namespace: "NS", ...(chance(0.4) && { resourceVersion: pick(["RV-FIRST", "RV-LAST"]) }) }, spec: { replicas: pick([0, 1, 7, -1]) } } };
    if (subresource === "/scale") return { method: "PATCH", path: path + query(), contentType: "application/merge-patch+json", body: { spec: { replicas: pick([0, 1, 7, -1, "x"]) } } };
    if (subresource === "/status") {
      const status = schema.properties?.["status"];
      if (chance(0.3)) return { method: "PATCH", path: path + query(chance(0.3) ? { force: "true" } : {}), contentType: "application/apply-patch+yaml", body: { apiVersion: template.object.apiVersion, kind: template.object.kind, metadata: { name }, status: valueFor(status, 0) } };
      return { method: "PATCH", path: path + query(), contentType: "application/merge-patch+json", body: { status: valueFor(status, 0) } };
    }
    if (type === "json") return { method: "PATCH", path: path + query(), contentType: "application/json-patch+json", body: Array.from({ length: 1 + Math.floor(random.next() * 2) }, () => operation(whole)) };
    if (type === "apply") return { method: "PATCH", path: path + query(chance(0.3) ? { force: "true" } : {}), contentType: "application/apply-patch+yaml", body: part };
    if (type === "strategic" && chance(0.3)) return { method: "PATCH", path: path + query(), contentType: "application/strategic-merge-patch+json", body: directive() };
    return { method: "PATCH", path: path + query(), contentType: `application/${type === "merge" ? "merge-patch" : "strategic-merge-patch"}+json`, body: part };
  };

  /** What only pods have. */
  function ofPod(name: string): Request {
    const path = `${collection}/${name}`;
    return pick<() => Request>([
      () => ({ method: "POST", path: `${path}/eviction${chance(0.3) ? "?dryRun=All" : ""}`, contentType: "application/json", body: { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: chance(0.8) ? name : "other", namespace: "NS" }, ...(chance(0.5) && { deleteOptions: deletion() }) } }),
      () => ({ method: "POST", path: pick([`${path}/binding`, collection.replace(/pods$/, "bindings")]), contentType: "application/json", body: { apiVersion: "v1", kind: "Binding", metadata: { name, namespace: "NS", ...(chance(0.3) && { annotations: { a: "b" } }) }, target: { kind: pick(["Node", "Node", "Pod"]), apiVersion: "v1", name: pick(["node-1", "node-1", ""]) } } }),
      () => ({ method: "PATCH", path: `${path}/ephemeralcontainers${query()}`, contentType: "application/strategic-merge-patch+json", body: { spec: { ephemeralContainers: [valueFor(schema.properties!["spec"]!.properties!["ephemeralContainers"]!.items, 0), { name: pick(["debug", "main", "A_B"]), image: "i", ...(chance(0.3) && { targetContainerName: pick(["main", "none"]) }), ...(chance(0.2) && { ports: [{ containerPort: 1 }] }) }].slice(chance(0.7) ? 1 : 0) } } }),
    ])();
  }

  /** A part of an object: identity, and some of the rest. */
  function partOf(whole: Record<string, Json>): Record<string, Json> {
    const { apiVersion, kind: name, metadata, ...rest } = whole;
    const part = prune(rest, 0) as Record<string, Json>;
    return { apiVersion, kind: name, metadata: chance(0.7) ? { name: (metadata as { name: string } | undefined)?.name } : metadata, ...part };
  }
  function prune(value: Json, depth: number): Json {
    if (!isContainer(value) || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).filter(() => depth > 3 || chance(0.75)).map(([key, child]) => [key, prune(child, depth + 1)]));
  }
  function directive(): Json {
    const list = pick(["containers", "volumes", "tolerations", "ports", "rules", "subjects"]);
    const inner = pick([
      { [list]: [{ $patch: "replace" }, { name: "new", image: "i" }] },
      { [list]: [{ name: "side", $patch: "delete" }] },
      { [list]: [{ name: "main", image: "other:2" }] },
      { [`$setElementOrder/${list}`]: [{ name: "side" }, { name: "main" }], [list]: [{ name: "main", image: "x" }] },
      { [`$deleteFromPrimitiveList/finalizers`]: ["a"] },
      { $patch: "replace", [list]: [] },
      { [list]: null },
    ]);
    return chance(0.6) ? { spec: { template: { spec: inner } } } : { spec: inner };
  }
  function operation(whole: Record<string, Json>): Json {
    const path = pathInto(whole);
    return pick([
      { op: "replace", path, value: anyValue() },
      { op: "add", path, value: anyValue() },
      { op: "remove", path },
      { op: "test", path, value: anyValue() },
      { op: "add", path: "/metadata/labels/new", value: pick(words) },
      { op: "replace", path: "/spec/replicas", value: pick([0, 4, -1, "x"]) },
      { op: "copy", from: path, path: "/metadata/annotations/copied" },
      { op: "move", from: "/metadata/labels/app", path: "/metadata/labels/moved" },
      { op: "add", path: "/spec/template/spec/containers/-", value: { name: "third", image: "i" } },
      { op: pick(["replace", "add", "nonsense"]), path: "/no/such/path", value: 1 },
    ]);
  }
  function pathInto(value: Json): string {
    let path = "";
    for (let at: Json = value; isContainer(at); ) {
      const keys = Object.keys(at);
      if (keys.length === 0) break;
      const key = pick(keys);
      path += `/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
      at = (at as Record<string, Json>)[key];
      if (chance(0.2)) break;
    }
    return path;
  }

  const name = () => pick(names);
  const scoped = (extra: Record<string, string>) => `?${new URLSearchParams({ ...(template.clusterScoped && { labelSelector: "run=NS" }), ...extra })}`;
  const form = (): Pick<Request, "accept"> => (chance(0.4) ? { accept: pick(forms) } : {});
  // What remains of a cluster-wide list is not the run's alone.
  const revision = (): Record<string, string> => pick(template.clusterScoped ? revisions.filter(({ limit }) => !limit) : revisions);
  /** Of a namespaced kind without its neighbours: how many remain is known. */
  const chunked = (): Request => ({ method: "GET", path: collection + scoped({ ...(!template.clusterScoped && { limit: pick(["1", "1", "2", "500", "0", "x", "-1"]) }), ...(template.clusterScoped ? {} : pick<Record<string, string>>([{}, {}, { labelSelector: "app=web" }, { continue: "CONTINUE" }, { continue: "CONTINUE" }, { continue: "nonsense" }, { continue: "CONTINUE", resourceVersion: "RV-LIST" }, revision()])) }), ...(template.clusterScoped ? {} : form()) });
  const deletion = (): Record<string, Json> => ({ apiVersion: "v1", kind: "DeleteOptions", gracePeriodSeconds: pick([0, 0, -1]), ...(chance(0.4) && { propagationPolicy: pick(["Orphan", "Foreground", "Background", "Sideways"]) }), ...(chance(0.2) && { preconditions: pick([{ uid: "other" }, { resourceVersion: "RV-FIRST" }, { resourceVersion: "RV-LAST" }, {}]) }), ...(chance(0.1) && { dryRun: pick([["All"], ["Some"]]) }) });
  const watched = (): Request => {
    const end = object("NS-end");
    return { method: "GET", path: `${collection}${scoped({ watch: "true", resourceVersion: pick(["RV-FIRST", "RV-FIRST", "RV-LAST"]), timeoutSeconds: "8", ...pick<Record<string, string>>([{}, {}, {}, { labelSelector: "run=NS,app=web" }, { labelSelector: "run=NS,app" }, { fieldSelector: "metadata.name!=NS-b" }]) })}`, ...(chance(0.4) && { accept: pick(forms.slice(1, 3)) }), until: { path: collection, name: "NS-end", body: end } };
  };
  const steps: [weight: number, make: () => Request][] = [
    [3, () => create(name())],
    // Of a version it may answer from a cache, which follows a moment later.
    [0.8, () => ({ method: "GET", path: `${collection}/${name()}${template.subresources && chance(0.3) ? `/${pick(template.subresources)}` : ""}${chance(0.2) ? scoped({ resourceVersion: pick(["RV-FIRST", "RV-LAST", "x"]) }) : ""}`, ...form(), eventually: true })],
    [0.6, chunked],
    [0.4, () => ({ method: "GET", path: collection + scoped(revision()), ...form(), eventually: true })],
    [0.25, () => ({ method: "DELETE", path: collection + scoped({ ...pick<Record<string, string>>([{}, { labelSelector: "run=NS,!app" }, { labelSelector: "run=NS,app=web" }, { fieldSelector: "metadata.name=NS-b" }, { labelSelector: "a b" }]), ...(template.clusterScoped && { labelSelector: "run=NS" }) }), contentType: "application/json", body: deletion() })],
    ...(template.resource === "pods" ? ([[1.5, () => ofPod(name())]] as [number, () => Request][]) : []),
    [1, () => ({ method: "GET", path: `${collection}?${new URLSearchParams({ labelSelector: `run=NS,${pick(labelSelectors)}`, ...(chance(0.3) && { fieldSelector: pick(fieldSelectors) }) })}`, ...form() })],
    [2, () => ({ method: "PUT", path: `${collection}/${chance(0.95) ? names[0] : names[1]}${template.subresources?.includes("status") && chance(0.2) ? "/status" : ""}${query()}`, contentType: "application/json", body: chance(0.3) ? object(name()) : spoilt(names[0]!, 1) })],
    [7, () => patch(name())],
    [1, () => ({ method: "DELETE", path: `${collection}/${name()}`, contentType: "application/json", body: deletion() })],
    [0.3, () => ({ method: pick(["PUT", "POST", "DELETE", "PATCH"]), path: pick([template.clusterScoped ? `${collection}?labelSelector=run%3DNS` : collection, `${collection}/${name()}/nothing`, `/${template.base}/nothing`]), contentType: pick(["application/json", "text/plain"]), body: {} })],
  ];
  const weights = steps.reduce((sum, [weight]) => sum + weight, 0);
  requests.push({ method: "POST", path: `${collection}?fieldManager=one`, contentType: "application/json", body: object(names[0]!) });
  for (let step = 0; step < 9; step++) {
    let dice = random.next() * weights;
    requests.push(steps.find(([weight]) => (dice -= weight) < 0)![1]());
  }
  if (chance(0.3)) requests.push(watched());
  return { seed, kind: template.resource, requests };
}

const clone = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;
const isContainer = (value: Json): value is Record<string, Json> | Json[] => typeof value === "object" && value !== null;

export const words = ["", "a", "web", "A_B", "-x", "x".repeat(64), "a.b/c", "a/b/c", "10.0.0.1", "http", "TCP", "Always", "None", "ClusterIP", "100m", "two words", "$(A)", "é", "/abs/path", "../up", "a=b", "*", "0", "true", "https://a.b/c", "10.0.0.0/8", "1.2.3", "blue", "30m"];
const quantities = ["1", "100m", "1Gi", "1.5", "0", "-1", "1e3", "abc", "", "10Zi", 5, 0.5, "0.0001", "1.0", "1500Mi"];
const anything: readonly unknown[] = [null, "text", "", 0, 1, -3, 3.7, true, false, [], {}, ["a"], { a: "b" }, [{ name: "x" }], [null]];
const forms = ["application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "application/json;as=Nonsense;v=v1;g=meta.k8s.io"];
const revisions: readonly Record<string, string>[] = [
  { resourceVersion: "RV-LAST" }, { resourceVersion: "RV-LIST", resourceVersionMatch: "Exact" }, { resourceVersion: "RV-LAST", resourceVersionMatch: "Exact" }, { resourceVersion: "RV-FIRST", resourceVersionMatch: "Exact" }, { resourceVersion: "RV-FIRST", resourceVersionMatch: "NotOlderThan" },
  { resourceVersion: "x" }, { resourceVersion: "-1" }, { resourceVersionMatch: "Exact" }, { resourceVersion: "0", resourceVersionMatch: "Exact" }, { resourceVersion: "1", resourceVersionMatch: "Sometimes" }, { resourceVersion: "RV-FIRST", resourceVersionMatch: "Exact", limit: "1" }, { resourceVersion: "RV-FIRST", limit: "1" },
];
const labelSelectors = ["app=web", "app!=web", "app in (web,db)", "app notin (web)", "!app", "app", "app=", "a b", "app in ()", "x>1", "=a", "app==web,tier"];
const fieldSelectors = ["metadata.name=NS-a", "metadata.namespace=NS", "spec.nodeName=", "status.phase=Pending", "spec.bogus=1", "metadata.name!=NS-a", "metadata.name"];
