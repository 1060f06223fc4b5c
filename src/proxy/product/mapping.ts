import type { RequestTemplateFilter, ResponseTemplateFilter } from "../../api/traffic-content.ts";
import type { HttpFilter } from "../../api/traffic.ts";
import { isObject, type Json } from "./document.ts";
import type { IntegrationContext } from "./integration.ts";
import { NotHonoured, refuseOthers } from "./not-honoured.ts";
import { pathNames } from "./template.ts";

/** `requestTemplates` of `http`: what the backend is asked. */
export function mappedRequest(given: Json | undefined, passthroughBehavior: Json | undefined, { template, stage }: IntegrationContext): HttpFilter[] {
  const behaviours: Record<string, RequestTemplateFilter["passthrough"]> = { when_no_match: "whenNoMatch", when_no_templates: "whenNoTemplates", never: "never" };
  const passthrough = passthroughBehavior === undefined ? "whenNoMatch" : behaviours[String(passthroughBehavior).toLowerCase()];
  if (passthrough === undefined) throw new NotHonoured("passthroughBehavior", `${String(passthroughBehavior)} is not known; ${Object.keys(behaviours).join(", ")} are`);
  const templates = templatesOf(given, "requestTemplates");
  if (Object.keys(templates).length === 0 && passthrough !== "never") return [];
  return [{ type: "requestTemplate", templates, passthrough, ...pathNames(template), stage }];
}

/** `responses` of `http`: by the backend's status another one, and another body. Headers of the backend that are not named pass, as they do of a proxy. */
export function mappedAnswers(given: Json | undefined, { template, stage }: IntegrationContext): HttpFilter[] {
  if (given === undefined) return [];
  if (!isObject(given)) throw new NotHonoured("responses", "must be an object");
  const entries = Object.entries(given).sort(([a], [b]) => Number(a === "default") - Number(b === "default"));
  const headers = entries.map(([pattern, response]) => headersOf(response, `responses.${pattern}`));
  if (entries.length > 1 && headers.some((list) => list.length > 0)) throw new NotHonoured("responses", "sets headers for some answers and not for others, which is not done");
  const responses = entries.map(([pattern, response]): ResponseTemplateFilter["responses"][number] => {
    const { status, templates } = answerOf(response, `responses.${pattern}`);
    return { ...(pattern !== "default" && { pattern }), status, ...(Object.keys(templates).length > 0 && { templates }) };
  });
  return [...(headers[0]?.length ? [{ type: "responseHeaders", set: headers[0] } satisfies HttpFilter] : []), ...(responses.length > 0 ? [{ type: "responseTemplate", responses, ...pathNames(template), stage } satisfies HttpFilter] : [])];
}

/** AWS' mock: the request template says a status, and the answer is the one whose pattern fits it. */
export function mockAnswer(given: Record<string, Json>, { template, stage }: IntegrationContext): HttpFilter[] {
  refuseOthers(given, ["requestTemplates", "responses", "timeoutInMillis", "httpMethod", "passthroughBehavior"]);
  const { requestTemplates, responses } = given;
  const request = isObject(requestTemplates) ? (requestTemplates["application/json"] ?? Object.values(requestTemplates)[0]) : undefined;
  let wanted: unknown;
  try {
    wanted = (JSON.parse(String(request)) as { statusCode?: unknown }).statusCode;
  } catch {
    throw new NotHonoured("requestTemplates", request === undefined ? "must say a statusCode" : "is not plain JSON, which is all that is read of a mock's");
  }
  const entries = isObject(responses) ? Object.entries(responses) : [];
  const found = entries.find(([pattern]) => pattern !== "default" && fits(pattern, String(wanted))) ?? entries.find(([pattern]) => pattern === "default");
  if (!found) throw new NotHonoured("responses", `has none for status ${String(wanted)}, and no default`);
  const [pattern, response] = found;
  const at = `responses.${pattern}`;
  const { status, templates } = answerOf(response, at);
  const headers = headersOf(response, at);
  const [first] = Object.entries(templates);
  const isFixed = Object.keys(templates).length <= 1 && !/[$#]/.test(first?.[1] ?? "");
  if (!isFixed) return [{ type: "responseTemplate", responses: [{ templates }], ofLocal: true, ...pathNames(template), stage }, { type: "respond", status, ...(headers.length > 0 && { headers }) }];
  if (first && first[1] !== "" && !headers.some(({ name }) => name.toLowerCase() === "content-type")) headers.unshift({ name: "content-type", value: first[0] });
  return [{ type: "respond", status, ...(headers.length > 0 && { headers }), ...(first && { body: first[1] }) }];
}

function answerOf(response: Json | undefined, at: string): { status: number; templates: { [mediaType: string]: string } } {
  if (!isObject(response)) throw new NotHonoured(at, "must be an object");
  refuseOthers(response, ["statusCode", "responseParameters", "responseTemplates"], at);
  const status = Number(response["statusCode"]);
  if (!Number.isInteger(status) || status < 200 || status > 599) throw new NotHonoured(`${at}.statusCode`, `${String(response["statusCode"])} is not a status`);
  return { status, templates: templatesOf(response["responseTemplates"], `${at}.responseTemplates`) };
}

function templatesOf(given: Json | undefined, at: string): { [mediaType: string]: string } {
  if (given === undefined) return {};
  if (!isObject(given) || !Object.values(given).every((text) => typeof text === "string")) throw new NotHonoured(at, "must be texts by media type");
  return given as { [mediaType: string]: string };
}

/** `method.response.header.NAME`: a fixed text, or the backend's header of the same name, which comes along anyway. */
function headersOf(response: Json | undefined, at: string): { name: string; value: string }[] {
  const given = isObject(response) ? response["responseParameters"] : undefined;
  return Object.entries(isObject(given) ? given : {}).flatMap(([to, value]) => {
    const name = /^method\.response\.header\.(.+)$/.exec(to)?.[1];
    if (name !== undefined && typeof value === "string") {
      if (value.toLowerCase() === `integration.response.header.${name.toLowerCase()}`) return [];
      const literal = /^'(.*)'$/s.exec(value)?.[1];
      if (literal !== undefined) return [{ name, value: literal }];
    }
    throw new NotHonoured(`${at}.responseParameters.${to}`, `${String(value)} is not honoured; for method.response.header.NAME 'text' and integration.response.header.NAME are`);
  });
}

/** A pattern of a status: digits, or digits and dots; others are for errors of functions. */
function fits(pattern: string, status: string): boolean {
  return /^[\d.]+$/.test(pattern) && pattern.length === status.length && [...pattern].every((char, i) => char === "." || char === status[i]);
}
