import type { HttpFilter } from "../../api/traffic.ts";
import type { PolicyError } from "../../policy/policy-error.ts";

/** What filters do not take of an operation, said of the fields that people have written: "requestBody.content[…].schema", not "filters[1].body.content[…]". */
export function saidOf({ field, value, reason }: PolicyError, filters: readonly HttpFilter[]): string {
  const [, index, rest = ""] = /^filters\[(\d+)\]\.?(.*)$/s.exec(field) ?? [];
  const filter = index === undefined ? undefined : filters[Number(index)];
  const where = filter ? placeOf(filter, rest) : field;
  // "…" stands for what is too long, or has no form, to be shown.
  return `${where}: ${value === "…" ? "" : `Invalid value: ${JSON.stringify(value)}: `}${filter?.type === "cache" ? reason.replace("bytesMax", cacheFields["bytesMax"]!) : reason}`;
}

type Of<T extends HttpFilter["type"]> = Extract<HttpFilter, { type: T }>;

function placeOf(filter: HttpFilter, field: string): string {
  const named = places[filter.type] as ((filter: HttpFilter, field: string) => string) | undefined;
  return named ? named(filter, field) : `${filter.type}.${field}`;
}

const places: { [T in HttpFilter["type"]]?: (filter: Of<T>, field: string) => string } = {
  validate: ({ parameters = [] }, field) => field.replace(/^body\.content\["([^"]*)"\](?:\.schema)?/, 'requestBody.content["$1"].schema').replace(/^body\b/, "requestBody").replace(/^parameters\[(\d+)\](?:\.schema)?/, (_, i: string) => `parameters.${parameters[Number(i)]!.name}.schema`),
  requestTemplate: (_, field) => templateField(field, "requestTemplates"),
  responseTemplate: ({ responses }, field) => responseField(responses, field),
  mock: ({ responses }, field) => responseField(responses, templateField(field, "requestTemplates")),
  requestParameters: (_, field) => field.replace(/^target\b.*/s, "uri").replace(/^(headers|query)\b/, "requestParameters: $1"),
  rewrite: (_, field) => field.replace(/^path\b.*/s, "uri"),
  gatewayResponses: ({ rules }, field) =>
    field.replace(/^rules\[(\d+)\](?:\.(\w+))?/, (_, i: string, inner: string | undefined) => `x-amazon-apigateway-gateway-responses.${rules[Number(i)]!.name}${inner === undefined ? "" : `.${gatewayFields[inner] ?? inner}`}`),
  cors: (_, field) => `x-amazon-apigateway-cors.${corsFields[field.replace(/\[.*/s, "")] ?? field}`,
  compress: () => "x-amazon-apigateway-minimum-compression-size",
  cache: (_, field) => `the stage's cache.${cacheFields[field] ?? field}`,
  rateLimit: () => "the stage's throttle",
};

const gatewayFields: Record<string, string> = { status: "statusCode", headers: "responseParameters", templates: "responseTemplates" };
const corsFields: Record<string, string> = { origins: "allowOrigins", methods: "allowMethods", headers: "allowHeaders", maxAgeSeconds: "maxAge", credentials: "allowCredentials" };
const cacheFields: Record<string, string> = { entryBytesMax: "maxObjectBytes", bytesMax: "maxBytes" };
const templateField = (field: string, name: string): string => field.replace(/^templates\b/, name);
/** Of one with a pattern, its pattern; the document has them by it. */
function responseField(responses: readonly { pattern?: string }[], field: string): string {
  return field.replace(/^responses\[(\d+)\](?:\.(\w+))?/, (_, i: string, inner: string | undefined) => `responses.${responses[Number(i)]?.pattern ?? "default"}${inner === undefined || inner === "pattern" ? "" : `.${responseFields[inner] ?? inner}`}`);
}
const responseFields: Record<string, string> = { status: "statusCode", headers: "responseParameters", templates: "responseTemplates" };
