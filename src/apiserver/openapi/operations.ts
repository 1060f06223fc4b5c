import type { Kind, Subresource, Verb } from "../../api/kind.ts";
import type { GroupVersionKind, Json, SchemaWriter } from "./schemas.ts";

/** What can be done at a path, before it is written in one of OpenAPI's dialects. */
export interface Operation {
  readonly path: string;
  readonly method: "get" | "put" | "post" | "delete" | "patch" | "head" | "options";
  readonly operationId: string;
  readonly action?: string;
  readonly kind?: GroupVersionKind;
  readonly query: Readonly<Record<string, "string" | "boolean" | "integer">>;
  readonly body?: { readonly schema: Json; readonly required: boolean; readonly contentTypes: readonly string[] };
  /** Code → schema of the answer; undefined for text. */
  readonly answers: Readonly<Record<string, Json | undefined>>;
  readonly produces: readonly string[];
  readonly tag: string;
}

const listQuery = { continue: "string", fieldSelector: "string", labelSelector: "string", limit: "integer", resourceVersion: "string", resourceVersionMatch: "string", sendInitialEvents: "boolean", timeoutSeconds: "integer" } as const;
const watchQuery = { allowWatchBookmarks: "boolean", ...listQuery, watch: "boolean" } as const;
const writeQuery = { dryRun: "string", fieldManager: "string", fieldValidation: "string" } as const;
const patchQuery = { ...writeQuery, force: "boolean" } as const;
const deleteQuery = { dryRun: "string", gracePeriodSeconds: "integer", ignoreStoreReadErrorWithClusterBreakingPotential: "boolean", orphanDependents: "boolean", propagationPolicy: "string" } as const;

const any = ["*/*"];
const answered = ["application/json", "application/yaml"];
const watched = [...answered, "application/json;stream=watch"];
const patchTypes = ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"];
const customPatchTypes = patchTypes.filter((type) => !type.includes("strategic"));

/** "rbac.authorization.k8s.io" → "RbacAuthorization": the group's part of ids and tags. */
function wordOf(group: string): string {
  return (group === "" ? "core" : group.replace(/\.k8s\.io$/, "")).split(".").map(capital).join("");
}
const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);

/** All operations on the kinds of one group and version. */
export function operationsOf(base: string, group: string, version: string, kinds: readonly Kind[], writer: SchemaWriter): Operation[] {
  const word = wordOf(group);
  const id = word + capital(version);
  const tag = `${word.charAt(0).toLowerCase()}${word.slice(1)}_${version}`;
  const resourceList = writer.builtin("", "v1", "APIResourceList") ?? { type: "object" };
  const operations: Operation[] = [{ path: `${base}/`, method: "get", operationId: `get${id}APIResources`, query: {}, answers: { 200: resourceList }, produces: answered, tag }];
  for (const kind of kinds) {
    const gvk = { group, version, kind: kind.kind };
    const scoped = kind.scope === "Namespaced" ? "Namespaced" : "";
    const collection = kind.scope === "Namespaced" ? `${base}/namespaces/{namespace}/${kind.resource}` : `${base}/${kind.resource}`;
    const item = `${collection}/{name}`;
    const common = { kind: gvk, tag };
    const does = (verb: Verb) => kind.verbs.includes(verb);
    const schema = () => writer.kind(kind);
    if (does("list")) {
      const answers = { 200: writer.list(kind) };
      operations.push({ ...common, path: collection, method: "get", action: "list", operationId: `list${id}${scoped}${kind.kind}`, query: watchQuery, answers, produces: watched });
      if (scoped) operations.push({ ...common, path: `${base}/${kind.resource}`, method: "get", action: "list", operationId: `list${id}${kind.kind}ForAllNamespaces`, query: watchQuery, answers, produces: watched });
    }
    if (does("create")) {
      operations.push({ ...common, path: collection, method: "post", action: "post", operationId: `create${id}${scoped}${kind.kind}`, query: writeQuery, body: { schema: schema(), required: true, contentTypes: any }, answers: { 200: schema(), 201: schema(), 202: schema() }, produces: answered });
    }
    if (does("deletecollection")) {
      operations.push({ ...common, path: collection, method: "delete", action: "deletecollection", operationId: `delete${id}Collection${scoped}${kind.kind}`, query: { ...listQuery, ...deleteQuery }, body: deleteBody(writer), answers: { 200: status(writer) }, produces: answered });
    }
    if (does("get")) operations.push({ ...common, path: item, method: "get", action: "get", operationId: `read${id}${scoped}${kind.kind}`, query: {}, answers: { 200: schema() }, produces: answered });
    if (does("update")) {
      operations.push({ ...common, path: item, method: "put", action: "put", operationId: `replace${id}${scoped}${kind.kind}`, query: writeQuery, body: { schema: schema(), required: true, contentTypes: any }, answers: { 200: schema(), 201: schema() }, produces: answered });
    }
    if (does("patch")) {
      operations.push({ ...common, path: item, method: "patch", action: "patch", operationId: `patch${id}${scoped}${kind.kind}`, query: patchQuery, body: patchBody(kind, writer), answers: { 200: schema(), 201: schema() }, produces: answered });
    }
    if (does("delete")) {
      const answer = kind.returnsDeleted ? schema() : status(writer);
      operations.push({ ...common, path: item, method: "delete", action: "delete", operationId: `delete${id}${scoped}${kind.kind}`, query: deleteQuery, body: deleteBody(writer), answers: { 200: answer, 202: answer }, produces: answered });
    }
    for (const sub of kind.subresources) operations.push(...subresourceOperations(kind, sub, `${item}/${sub.name}`, `${scoped}${kind.kind}${capital(sub.name)}`, id, tag, writer));
  }
  return operations;
}

const methods = { get: "get", create: "post", update: "put", patch: "patch", delete: "delete" } as const;
const words = { get: "read", create: "create", update: "replace", patch: "patch", delete: "delete" } as const;

function subresourceOperations(kind: Kind, sub: Subresource, path: string, name: string, id: string, tag: string, writer: SchemaWriter): Operation[] {
  const gvk = { group: sub.group ?? kind.group, version: sub.version ?? kind.version, kind: sub.kind };
  const same = gvk.kind === kind.kind && gvk.group === kind.group && gvk.version === kind.version;
  const operations: Operation[] = [];
  for (const verb of sub.verbs) {
    if (!(verb in methods)) continue;
    const method = methods[verb as keyof typeof methods];
    const common = { path, method, kind: gvk, tag };
    if (sub.name === "log") {
      operations.push({ ...common, action: "get", operationId: `read${id}${name}`, query: sub.parameters ?? {}, answers: { 200: undefined }, produces: ["text/plain", ...answered] });
    } else if (sub.name === "proxy") {
      // What lies behind takes every method, also below it.
      const connect = { ...common, action: "connect", query: sub.parameters ?? {}, answers: { 200: undefined }, produces: any };
      const also = verb === "get" ? (["get", "head", "options"] as const) : [method];
      for (const method of also) {
        const operationId = `connect${id}${capital(method)}${name}`;
        operations.push({ ...connect, method, operationId }, { ...connect, method, path: `${path}/{path}`, operationId: `${operationId}WithPath` });
      }
    } else if (sub.parameters) {
      operations.push({ ...common, action: "connect", operationId: `connect${id}${capital(method)}${name}`, query: sub.parameters, answers: { 200: undefined }, produces: any });
    } else {
      const schema = (same ? writer.kind(kind) : writer.builtin(gvk.group, gvk.version, gvk.kind)) ?? { type: "object" };
      const write = { body: { schema, required: true, contentTypes: any }, query: writeQuery };
      const shape = verb === "get" ? { query: {} } : verb === "patch" ? { query: patchQuery, body: patchBody(kind, writer) } : write;
      operations.push({ ...common, ...shape, action: verb === "create" ? "post" : verb === "update" ? "put" : verb, operationId: `${words[verb as keyof typeof words]}${id}${name}`, answers: { 200: schema, ...(verb !== "get" && { 201: schema }), ...(verb === "create" && { 202: schema }) }, produces: answered });
    }
  }
  return operations;
}

const status = (writer: SchemaWriter): Json => writer.builtin("", "v1", "Status")!;
const deleteBody = (writer: SchemaWriter) => ({ schema: writer.builtin("", "v1", "DeleteOptions")!, required: false, contentTypes: any });
const patchBody = (kind: Kind, writer: SchemaWriter) => ({ schema: writer.builtinMeta("Patch"), required: true, contentTypes: kind.schema.name === undefined ? customPatchTypes : patchTypes });
