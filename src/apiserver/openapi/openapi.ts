import type { Kind } from "../../api/kind.ts";
import type { KindRegistry } from "../../api/registry.ts";
import { kubernetesVersion } from "../../api/resources.ts";
import { limits } from "../../base/limits.ts";
import { encodeGnostic } from "./gnostic.ts";
import { type Operation, operationsOf } from "./operations.ts";
import { parameterText } from "./parameters.ts";
import { type Describe, type Json, SchemaWriter } from "./schemas.ts";
import { digest, type OpenApiDocument, Shelf } from "./shelf.ts";
import { describeFromTypings } from "./typings.ts";

/**
 * The OpenAPI documents of whatever the registry serves at the moment: version 3 as an index and a document per
 * group and version, version 2 as one document in JSON and in protobuf. Documents are made when asked for, and what
 * they are called stays known until the kinds they speak of change: a new CustomResourceDefinition costs one small document.
 */
export interface OpenApi {
  /** `GET /openapi/v3` */
  index(): OpenApiDocument;
  /** `GET /openapi/v3/<path>`, path being "api/v1" or "apis/apps/v1". */
  document(path: string): OpenApiDocument | undefined;
  /** `GET /openapi/v2` */
  v2(): OpenApiDocument;
  /** The same in gnostic's protobuf form ({@link openApiV2ProtobufTypes}), which kubectl up to 1.29 and Argo CD ask for. */
  v2Protobuf(): OpenApiDocument;
}

export type { OpenApiDocument };

/**
 * What clients ask for to get the protobuf form. Older ones ask with "@", which is no legal media type: answered
 * with it, Go's mime package fails, so the answer is always of the second type.
 */
export const openApiV2ProtobufTypes = ["application/com.github.proto-openapi.spec.v2@v1.0+protobuf", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"] as const;

interface GroupVersion {
  readonly path: string;
  readonly group: string;
  readonly version: string;
  readonly kinds: Kind[];
}

/** `describe` gives the words of definitions and fields, if there are any to give. */
export function createOpenApi(registry: KindRegistry, describe: Describe = describeFromTypings()): OpenApi {
  const shelf = new Shelf(limits.openApiBytes);
  const documents = new Map<string, OpenApiDocument>();
  const bases = new Map<string, { kinds: readonly Kind[]; hash: string }>();
  const whole = new Map<string, { generation: number; document: OpenApiDocument }>();

  const jsonDocument = (make: () => Json, hash?: string): OpenApiDocument => shelf.document("application/json", () => Buffer.from(JSON.stringify(make())), hash);

  function once(name: string, make: () => OpenApiDocument): OpenApiDocument {
    const kept = whole.get(name);
    if (kept?.generation === registry.generation) return kept.document;
    const made = { generation: registry.generation, document: make() };
    whole.set(name, made);
    return made.document;
  }

  function groupVersions(): GroupVersion[] {
    const found = new Map<string, GroupVersion>();
    for (const kind of registry.all()) {
      const path = kind.group === "" ? `api/${kind.version}` : `apis/${kind.group}/${kind.version}`;
      if (!found.has(path)) found.set(path, { path, group: kind.group, version: kind.version, kinds: [] });
      found.get(path)!.kinds.push(kind);
    }
    return [...found.values()];
  }

  /** DeleteOptions names every group and version, so those count as well. */
  const generationOf = (all: readonly GroupVersion[]): string => all.map(({ path }) => path).join();

  /**
   * What the index calls a document, known before the document is made: of custom kinds by their definitions, of
   * others by what their document was when it was first made. A hundred definitions cost no hundred documents.
   */
  function hashOf(groupVersion: GroupVersion, all: readonly GroupVersion[]): string {
    const { path, kinds } = groupVersion;
    const parts = kinds.every((kind) => kind.custom) ? kinds.map((kind) => `${kind.resource} ${kind.custom!.identity}`) : [baseOf(groupVersion, all)];
    return digest(Buffer.from(JSON.stringify([path, parts, generationOf(all)])));
  }

  function baseOf(groupVersion: GroupVersion, all: readonly GroupVersion[]): string {
    const { path, kinds } = groupVersion;
    let base = bases.get(path);
    if (!base || !sameKinds(base.kinds, kinds)) bases.set(path, (base = { kinds, hash: digest(Buffer.from(JSON.stringify(version3(groupVersion, all, describe)))) }));
    return base.hash;
  }

  function documentOf(groupVersion: GroupVersion, all: readonly GroupVersion[]): OpenApiDocument {
    const { path } = groupVersion;
    const hash = hashOf(groupVersion, all);
    const kept = documents.get(path);
    if (kept?.hash === hash) return kept;
    const document = jsonDocument(() => version3(groupVersion, all, describe), hash);
    documents.set(path, document);
    return document;
  }

  return {
    index: () =>
      once("index", () => {
        const all = groupVersions();
        for (const path of documents.keys()) if (!all.some((groupVersion) => groupVersion.path === path)) documents.delete(path);
        const paths = Object.fromEntries(all.map((groupVersion) => [groupVersion.path, { serverRelativeURL: `/openapi/v3/${groupVersion.path}?hash=${hashOf(groupVersion, all)}` }]));
        return jsonDocument(() => ({ paths }));
      }),
    document: (path) => {
      const all = groupVersions();
      const groupVersion = all.find((candidate) => candidate.path === path);
      return groupVersion && documentOf(groupVersion, all);
    },
    v2: () => once("v2", () => jsonDocument(() => version2(groupVersions(), describe))),
    v2Protobuf: () => once("v2Protobuf", () => shelf.document(openApiV2ProtobufTypes[1], () => encodeGnostic(version2(groupVersions(), describe)))),
  };
}

const sameKinds = (a: readonly Kind[], b: readonly Kind[]): boolean => a.length === b.length && a.every((kind, index) => kind === b[index]);

const info = { title: "Kubernetes", version: kubernetesVersion };
const bearerToken = { description: "Bearer Token authentication", in: "header", name: "authorization", type: "apiKey" };

function version3({ path, group, version, kinds }: GroupVersion, all: readonly GroupVersion[], describe: Describe): Json {
  const writer = new SchemaWriter("v3", all, describe);
  const paths = pathsOf(operationsOf(`/${path}`, group, version, kinds, writer), operation3, (name, place, type) => ({ ...head(name, place), schema: { type, uniqueItems: true } }));
  return { openapi: "3.0.0", info, paths, components: { schemas: writer.definitions(), securitySchemes: { BearerToken: bearerToken } } };
}

function version2(all: readonly GroupVersion[], describe: Describe): Json {
  const writer = new SchemaWriter("v2", all, describe);
  const operations = all.flatMap(({ path, group, version, kinds }) => operationsOf(`/${path}`, group, version, kinds, writer));
  // Each is written once and referred to, but for those that kubectl up to 1.28 looks for where they are used.
  const parameters: Record<string, Json> = {};
  const paths = pathsOf(operations, operation2, (name, place, type) => {
    const parameter = { ...head(name, place), type, uniqueItems: true };
    if (inlined.has(name)) return parameter;
    parameters[name] ??= parameter;
    return { $ref: `#/parameters/${name}` };
  });
  const shared = Object.fromEntries(Object.entries(parameters).sort(([a], [b]) => (a < b ? -1 : 1)));
  return { swagger: "2.0", info, paths, definitions: writer.definitions(), parameters: shared, securityDefinitions: { BearerToken: bearerToken }, security: [{ BearerToken: [] }] };
}

const inlined = new Set(["dryRun", "fieldValidation"]);

function head(name: string, place: "path" | "query"): Json {
  const description = parameterText(name);
  return { in: place, name, ...(description !== undefined && { description }), ...(place === "path" && { required: true }) };
}

type Parameter = (name: string, place: "path" | "query", type: string) => Json;

function pathsOf(operations: readonly Operation[], write: (operation: Operation, parameter: Parameter) => Json, parameter: Parameter): Json {
  const paths: Record<string, Json> = {};
  for (const operation of operations) {
    const item = (paths[operation.path] ??= {});
    item[operation.method] = write(operation, parameter);
    if (operation.kind && !item.parameters) {
      item.parameters = [...[...operation.path.matchAll(/\{(\w+)\}/g)].map((match) => parameter(match[1]!, "path", "string")), ...(operation.action === "connect" ? [] : [parameter("pretty", "query", "string")])];
    }
  }
  return Object.fromEntries(Object.entries(paths).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const descriptions: Record<string, string> = { 200: "OK", 201: "Created", 202: "Accepted" };
const extensionsOf = ({ action, kind }: Operation): Json => ({
  ...(action !== undefined && { "x-kubernetes-action": action }),
  ...(kind && { "x-kubernetes-group-version-kind": { group: kind.group, kind: kind.kind, version: kind.version } }),
});
const queryOf = (operation: Operation, parameter: Parameter): Json[] => Object.entries(operation.query).map(([name, type]) => parameter(name, "query", type));

function operation3(operation: Operation, parameter: Parameter): Json {
  const { body } = operation;
  return {
    operationId: operation.operationId,
    ...(Object.keys(operation.query).length > 0 && { parameters: queryOf(operation, parameter) }),
    ...(body && { requestBody: { content: Object.fromEntries(body.contentTypes.map((type) => [type, { schema: body.schema }])), ...(body.required && { required: true }) } }),
    responses: {
      ...Object.fromEntries(Object.entries(operation.answers).map(([code, schema]) => [code, { description: descriptions[code], content: Object.fromEntries(operation.produces.map((type) => [type, { schema: schema ?? { type: "string" } }])) }])),
      401: { description: "Unauthorized" },
    },
    tags: [operation.tag],
    ...extensionsOf(operation),
  };
}

function operation2(operation: Operation, parameter: Parameter): Json {
  const { body } = operation;
  return {
    operationId: operation.operationId,
    consumes: body?.contentTypes ?? ["*/*"],
    produces: operation.produces,
    schemes: ["https"],
    ...((body || Object.keys(operation.query).length > 0) && { parameters: [...(body ? [{ in: "body", name: "body", ...(body.required && { required: true }), schema: body.schema }] : []), ...queryOf(operation, parameter)] }),
    responses: {
      ...Object.fromEntries(Object.entries(operation.answers).map(([code, schema]) => [code, { description: descriptions[code], schema: schema ?? { type: "string" } }])),
      401: { description: "Unauthorized" },
    },
    tags: [operation.tag],
    ...extensionsOf(operation),
  };
}
