import type { Json } from "./schemas.ts";

/**
 * Writes an OpenAPI version 2 document as gnostic's protobuf message `openapi.v2.Document`.
 * Source of the field numbers: google/gnostic-models openapiv2/OpenAPIv2.proto.
 */
export function encodeGnostic(document: Json): Buffer {
  const { swagger, info, paths, definitions, parameters, security, securityDefinitions } = document as Record<string, Json> & { security: Json[] };
  return message([
    text(1, swagger),
    sub(2, [text(1, info!.title), text(2, info!.version)]),
    sub(8, named(2, paths!, pathItem)),
    sub(9, named(1, definitions!, schema)),
    sub(10, named(1, parameters!, parameterFields)),
    ...security.map((requirement) => sub(12, named(1, requirement, (scopes) => (scopes as unknown as string[]).map((scope) => text(1, scope))))),
    sub(13, named(1, securityDefinitions!, (item) => [sub(2, [text(1, item.type), text(2, item.name), text(3, item.in), text(4, item.description)])])),
  ]);
}

/** An encoded field, or nothing. */
type Field = Buffer | undefined;

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return [...bytes, rest];
}
const tagged = (number: number, body: Buffer): Buffer => Buffer.concat([Buffer.from([...varint(number * 8 + 2), ...varint(body.length)]), body]);
const message = (fields: readonly Field[]): Buffer => Buffer.concat(fields.filter((field) => field !== undefined));
const sub = (number: number, fields: readonly Field[]): Buffer => tagged(number, message(fields));
const text = (number: number, value: unknown): Field => (value === undefined || value === "" ? undefined : tagged(number, Buffer.from(String(value))));
const texts = (number: number, values: unknown): Field[] => ((values ?? []) as string[]).map((value) => tagged(number, Buffer.from(value)));
const flag = (number: number, value: unknown): Field => (value === true ? Buffer.from([...varint(number * 8), 1]) : undefined);
const integer = (number: number, value: unknown): Field => (typeof value === "number" && value >= 0 ? Buffer.from([...varint(number * 8), ...varint(value)]) : undefined);
function double(number: number, value: unknown): Field {
  if (typeof value !== "number") return undefined;
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([Buffer.from(varint(number * 8 + 1)), bytes]);
}
/** gnostic keeps foreign values as YAML text; JSON is YAML. */
const yaml = (number: number, value: unknown): Field => (value === undefined ? undefined : sub(number, [text(2, `${JSON.stringify(value)}\n`)]));
/** A map as pairs of name and value. */
const named = (number: number, map: Json, write: (value: Json) => readonly Field[]): Buffer[] => Object.entries(map).map(([name, value]) => sub(number, [text(1, name), sub(2, write(value as Json))]));
const extensions = (number: number, of: Json): Field[] =>
  Object.entries(of)
    .filter(([name]) => name.startsWith("x-"))
    .map(([name, value]) => sub(number, [text(1, name), yaml(2, value)]));

const methodNumbers = { get: 2, put: 3, post: 4, delete: 5, options: 6, head: 7, patch: 8 } as const;

function pathItem(item: Json): Field[] {
  return [
    ...Object.entries(methodNumbers).map(([method, number]) => (item[method] ? sub(number, operation(item[method] as Json)) : undefined)),
    ...((item.parameters ?? []) as Json[]).map((parameter) => sub(9, parameterItem(parameter))),
  ];
}

function operation(item: Json): Field[] {
  return [
    ...texts(1, item.tags),
    text(3, item.description),
    text(5, item.operationId),
    ...texts(6, item.produces),
    ...texts(7, item.consumes),
    ...((item.parameters ?? []) as Json[]).map((parameter) => sub(8, parameterItem(parameter))),
    sub(9, named(1, item.responses as Json, (response) => [sub(1, [text(1, response.description), response.schema ? sub(2, [sub(1, schema(response.schema as Json))]) : undefined])])),
    ...texts(10, item.schemes),
    ...extensions(13, item),
  ];
}

/** A parameter, or a reference to one of the document's. */
const parameterItem = (parameter: Json): Field[] => [parameter.$ref === undefined ? sub(1, parameterFields(parameter)) : sub(2, [text(1, parameter.$ref)])];

function parameterFields(parameter: Json): Field[] {
  if (parameter.in === "body") return [sub(1, [text(2, parameter.name), text(3, parameter.in), flag(4, parameter.required), sub(5, schema(parameter.schema as Json))])];
  const head = [flag(1, parameter.required), text(2, parameter.in), text(3, parameter.description), text(4, parameter.name)];
  if (parameter.in === "path") return [sub(2, [sub(4, [...head, text(5, parameter.type), flag(19, parameter.uniqueItems)])])];
  return [sub(2, [sub(3, [...head, text(6, parameter.type), flag(20, parameter.uniqueItems)])])];
}

function schema(node: Json): Field[] {
  return [
    text(1, node.$ref),
    text(2, node.format),
    text(3, node.title),
    text(4, node.description),
    yaml(5, node.default),
    double(6, node.multipleOf),
    double(7, node.maximum),
    flag(8, node.exclusiveMaximum),
    double(9, node.minimum),
    flag(10, node.exclusiveMinimum),
    integer(11, node.maxLength),
    integer(12, node.minLength),
    text(13, node.pattern),
    integer(14, node.maxItems),
    integer(15, node.minItems),
    flag(16, node.uniqueItems),
    integer(17, node.maxProperties),
    integer(18, node.minProperties),
    ...texts(19, node.required),
    ...((node.enum ?? []) as unknown[]).map((value) => yaml(20, value)),
    node.additionalProperties ? sub(21, [node.additionalProperties === true ? flag(2, true) : sub(1, schema(node.additionalProperties as Json))]) : undefined,
    node.type === undefined ? undefined : sub(22, [text(1, node.type)]),
    node.items ? sub(23, [sub(1, schema(node.items as Json))]) : undefined,
    node.properties ? sub(25, named(1, node.properties as Json, schema)) : undefined,
    ...extensions(31, node),
  ];
}
