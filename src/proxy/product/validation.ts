import type { ApiStage } from "../../api/product/kinds.ts";
import type { RequestParameter, ValidateFilter } from "../../api/traffic-content.ts";
import type { OpenApi } from "./document.ts";
import { DocumentError, isObject, type Json, pointerName, resolve, textIn } from "./json.ts";
import { NotHonoured } from "./not-honoured.ts";
import { pathNames, type PathTemplate } from "./template.ts";

const validatorField = "x-amazon-apigateway-request-validator";
const parametersMax = 200;

/** What the document says of requests, as far as somebody asks that it be held to: the stage, or a validator of the document's. */
export function validationOf(document: OpenApi, item: Record<string, Json>, operation: Record<string, Json>, template: PathTemplate, { validation = "Document" }: ApiStage): ValidateFilter[] {
  const wanted = validation === "Document" ? validatorOf(document, operation) : { body: validation !== "None", parameters: validation !== "None" };
  if (!wanted.body && !wanted.parameters) return [];
  const parameters = wanted.parameters ? parametersOf(document, item, operation) : [];
  const body = wanted.body ? bodyOf(document, operation) : undefined;
  if (parameters.length === 0 && !body) return [];
  const schemas = [...parameters.map(({ schema }) => schema), ...Object.values(body?.content ?? {})] as Json[];
  const is30 = document.openapi.startsWith("3.0");
  const dialect = document.root["jsonSchemaDialect"];
  if (!is30 && dialect !== undefined && dialect !== "https://spec.openapis.org/oas/3.1/dialect/base" && dialect !== "https://json-schema.org/draft/2020-12/schema") throw new NotHonoured("jsonSchemaDialect", `${textIn(dialect)} is not known`);
  return [
    {
      type: "validate",
      document: partOf(document.root, schemas),
      dialect: is30 ? "openapi-3.0" : "2020-12",
      ...(body && { body }),
      ...(parameters.length > 0 && { parameters }),
      ...(parameters.some((parameter) => parameter.in === "path") && pathNames(template)),
      ...(validation === "Report" && { dryRun: true }),
    },
  ];
}

/** AWS': by name, of the operation or of the whole document. */
function validatorOf({ root }: OpenApi, operation: Record<string, Json>): { body: boolean; parameters: boolean } {
  const name = operation[validatorField] ?? root[validatorField];
  if (name === undefined) return { body: false, parameters: false };
  const validators = root[`${validatorField}s`];
  const validator = isObject(validators) && typeof name === "string" && Object.hasOwn(validators, name) ? validators[name] : undefined;
  if (!isObject(validator)) throw new NotHonoured(validatorField, `${textIn(name)} is not one of the document's`);
  return { body: validator["validateRequestBody"] === true, parameters: validator["validateRequestParameters"] === true };
}

/** Those of the operation over those of its path. */
function parametersOf({ root }: OpenApi, item: Record<string, Json>, operation: Record<string, Json>): RequestParameter[] {
  const found = new Map<string, RequestParameter>();
  for (const [at, list] of [["path's parameters", item["parameters"]], ["parameters", operation["parameters"]]] as const) {
    if (list === undefined) continue;
    if (!Array.isArray(list)) throw new DocumentError(`${at}: must be a list`);
    if (list.length > parametersMax) throw new NotHonoured(at, `has more than ${parametersMax} entries`);
    for (const [i, given] of list.entries()) {
      const parameter = resolve(root, given, `${at}[${i}]`);
      if (!isObject(parameter) || typeof parameter["name"] !== "string") throw new DocumentError(`${at}[${i}]: must have a name`);
      const { name, in: place, required, schema, style, explode } = parameter;
      if (place !== "query" && place !== "path" && place !== "header" && place !== "cookie") throw new DocumentError(`${at}[${i}].in: ${textIn(place)} is not query, path, header or cookie`);
      // OpenAPI: these three are described elsewhere, and mean nothing here.
      if (place === "header" && ["accept", "content-type", "authorization"].includes((name as string).toLowerCase())) continue;
      if (schema === undefined) throw new NotHonoured(`parameters.${name as string}`, "has no schema: its content is not validated");
      const usual = place === "query" || place === "cookie" ? "form" : "simple";
      if (style !== undefined && style !== usual) throw new NotHonoured(`parameters.${name as string}.style`, `${textIn(style)} is not validated; ${usual} is`);
      found.set(`${place}/${name as string}`, { in: place, name: name as string, ...(required === true && { required: true }), schema, ...(explode === false && { explode: false }) });
    }
  }
  return [...found.values()];
}

function bodyOf({ root }: OpenApi, operation: Record<string, Json>): ValidateFilter["body"] {
  const body = resolve(root, operation["requestBody"], "requestBody");
  if (body === undefined) return undefined;
  if (!isObject(body) || !isObject(body["content"])) throw new DocumentError("requestBody.content: must be an object");
  const content = Object.fromEntries(Object.entries(body["content"]).map(([type, media]): [string, unknown] => [type, isObject(media) && media["schema"] !== undefined ? media["schema"] : true]));
  if (Object.keys(content).length === 0) return undefined;
  return { content, ...(body["required"] === true && { required: true }) };
}

/** As much of the document as these schemas need: each operation has its own, and a document may have hundreds. */
export function partOf(root: Record<string, Json>, schemas: readonly Json[]): Record<string, Json> {
  const part: Record<string, Json> = {};
  const seen = new Set<string>();
  const look = (value: Json): void => {
    if (Array.isArray(value)) return value.forEach(look);
    if (!isObject(value)) return;
    for (const [field, inner] of Object.entries(value)) {
      if ((field === "$ref" || field === "$dynamicRef") && typeof inner === "string" && inner.startsWith("#/")) take(inner);
      // Only names of schemas, or references to them.
      else if (field === "discriminator" && isObject(inner) && isObject(inner["mapping"])) for (const to of Object.values(inner["mapping"])) if (typeof to === "string" && to.startsWith("#/")) take(to);
      look(inner);
    }
  };
  const take = (reference: string): void => {
    if (seen.has(reference)) return;
    seen.add(reference);
    const names = reference.slice(2).split("/").map(pointerName);
    let from: Json | undefined = root;
    let into = part;
    for (const [i, name] of names.entries()) {
      from = (isObject(from) || Array.isArray(from)) && Object.hasOwn(from, name) ? (from as Record<string, Json>)[name] : undefined;
      // The filter says that it leads nowhere.
      if (from === undefined || name === "__proto__") return;
      // It is there whole already.
      if (into[name] === from) return;
      if (i === names.length - 1) into[name] = from;
      else if (!isObject(into[name])) into = into[name] = {};
      else into = into[name];
    }
    look(from!);
  };
  schemas.forEach(look);
  return part;
}
