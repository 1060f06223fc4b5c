import { anyMethod, DocumentError, isObject, type Json, methods, resolve, textIn } from "./json.ts";

/**
 * A Swagger 2.0 document as an OpenAPI 3.0 one: what AWS exports unless told otherwise. References into `definitions` and `parameters`
 * stay as they are, and lead where they did. Source: spec.openapis.org/oas/v2.0.html.
 * @throws DocumentError
 */
export function fromSwagger(root: Record<string, Json>): Record<string, Json> {
  const { swagger, basePath, host, schemes, consumes, produces, securityDefinitions, paths, ...rest } = root;
  if (swagger !== "2.0") throw new DocumentError(`swagger: it is of version ${textIn(swagger)}; Swagger 2.0, OpenAPI 3.0 and 3.1 are read`);
  if (basePath !== undefined && (typeof basePath !== "string" || !basePath.startsWith("/"))) throw new DocumentError("basePath: must begin with '/'");
  void host;
  void schemes;
  void produces;
  const types = typesOf(consumes, "consumes") ?? ["application/json"];
  const converted: Record<string, Json> = Object.create(null) as Record<string, Json>;
  for (const [path, given] of Object.entries(isObject(paths) ? paths : {})) converted[path] = isObject(given) ? pathItem(root, given, types, `paths.${path}`) : given;
  return {
    ...rest,
    openapi: "3.0.3",
    ...(typeof basePath === "string" && basePath !== "/" && { servers: [{ url: basePath }] }),
    ...(isObject(securityDefinitions) && { components: { securitySchemes: Object.fromEntries(Object.entries(securityDefinitions).map(([name, scheme]) => [name, securityScheme(scheme)])) } }),
    paths: isObject(paths) || paths === undefined ? converted : paths,
  };
}

function typesOf(given: Json | undefined, at: string): string[] | undefined {
  if (given === undefined) return undefined;
  if (!Array.isArray(given) || !given.every((type) => typeof type === "string")) throw new DocumentError(`${at}: must be a list of media types`);
  return given.length > 0 ? given : undefined;
}

const operations = [...methods, anyMethod] as const;

function pathItem(root: Record<string, Json>, item: Record<string, Json>, types: string[], at: string): Json {
  const shared = listOf(root, item["parameters"], `${at}.parameters`);
  const result: Record<string, Json> = { ...item };
  delete result["parameters"];
  for (const method of operations) {
    const given = item[method];
    if (!isObject(given)) continue;
    const { consumes, parameters, produces, schemes, ...operation } = given;
    void produces;
    void schemes;
    const own = listOf(root, parameters, `${at}.${method}.parameters`);
    const all = [...shared.filter((one) => !own.some((other) => other["name"] === one["name"] && other["in"] === one["in"])), ...own];
    const body = bodyOf(all, typesOf(consumes, `${at}.${method}.consumes`) ?? types);
    result[method] = { ...operation, ...(all.length > 0 && { parameters: all.filter((one) => one["in"] !== "body" && one["in"] !== "formData").map(parameterOf) }), ...(body && { requestBody: body }) };
  }
  return result;
}

function listOf(root: Record<string, Json>, given: Json | undefined, at: string): Record<string, Json>[] {
  if (given === undefined) return [];
  if (!Array.isArray(given)) throw new DocumentError(`${at}: must be a list`);
  return given.map((one, i) => {
    const found = resolve(root, one, `${at}[${i}]`);
    if (!isObject(found)) throw new DocumentError(`${at}[${i}]: must be an object`);
    return found;
  });
}

/** In version 2 a parameter is its own schema. */
function parameterOf(given: Record<string, Json>): Json {
  const { name, in: place, required, description, collectionFormat, ...schema } = given;
  void description;
  const isMulti = collectionFormat === "multi";
  const isList = schema["type"] === "array";
  if (isList && !isMulti && collectionFormat !== undefined && collectionFormat !== "csv") return { name: name!, in: place!, ...(required !== undefined && { required }), style: textIn(collectionFormat), schema };
  return { name: name!, in: place!, ...(required !== undefined && { required }), ...(isList && place === "query" && { explode: isMulti }), schema };
}

function bodyOf(parameters: Record<string, Json>[], types: string[]): Json | undefined {
  const body = parameters.find((one) => one["in"] === "body");
  if (body) return { ...(body["required"] === true && { required: true }), content: Object.fromEntries(types.map((type) => [type, { ...(body["schema"] !== undefined && { schema: body["schema"] }) }])) };
  const fields = parameters.filter((one) => one["in"] === "formData");
  if (fields.length === 0) return undefined;
  const properties = Object.fromEntries(fields.map((field) => [textIn(field["name"]), (parameterOf(field) as { schema: Json }).schema]));
  const required = fields.filter((field) => field["required"] === true).map((field) => textIn(field["name"]));
  const ofForms = types.filter((type) => type === "application/x-www-form-urlencoded" || type === "multipart/form-data");
  return { content: Object.fromEntries((ofForms.length > 0 ? ofForms : ["application/x-www-form-urlencoded"]).map((type) => [type, { schema: { type: "object", properties, ...(required.length > 0 && { required }) } }])) };
}

function securityScheme(given: Json): Json {
  if (!isObject(given)) return given;
  const { type, flow, authorizationUrl, tokenUrl, scopes, ...rest } = given;
  if (type === "basic") return { ...rest, type: "http", scheme: "basic" };
  if (type !== "oauth2") return given;
  const names: Record<string, string> = { accessCode: "authorizationCode", application: "clientCredentials" };
  const kind = Object.hasOwn(names, textIn(flow)) ? names[textIn(flow)]! : textIn(flow);
  return { ...rest, type: "oauth2", flows: { [kind]: { ...(authorizationUrl !== undefined && { authorizationUrl }), ...(tokenUrl !== undefined && { tokenUrl }), scopes: scopes ?? {} } } };
}
