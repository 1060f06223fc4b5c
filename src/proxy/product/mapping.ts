import type { MappedResponse, RequestTemplateFilter } from "../../api/traffic-content.ts";
import type { HttpFilter } from "../../api/traffic.ts";
import { isObject, type Json, textIn } from "./json.ts";
import type { IntegrationContext } from "./integration.ts";
import { NotHonoured, refuseOthers } from "./not-honoured.ts";
import { readResponseChanges, readResponseHeaders } from "./parameters.ts";
import { pathNames } from "./template.ts";

type Templates = { [mediaType: string]: string };
/** As exports write it: the body goes on as it is. */
const passed = "__passthrough__";

/** `requestTemplates` of `http`: what the backend is asked. */
export function mappedRequest(given: Json | undefined, passthroughBehavior: Json | undefined, { template, stage }: IntegrationContext, method: string | undefined): HttpFilter[] {
  const passthrough = passthroughOf(passthroughBehavior);
  const templates = templatesOf(given, "requestTemplates");
  if (Object.keys(templates).length === 0 && passthrough !== "never") return [];
  return [{ type: "requestTemplate", templates, passthrough, ...(method !== undefined && { method }), ...pathNames(template), stage }];
}

function passthroughOf(given: Json | undefined): RequestTemplateFilter["passthrough"] {
  const behaviours: Record<string, RequestTemplateFilter["passthrough"]> = { when_no_match: "whenNoMatch", when_no_templates: "whenNoTemplates", never: "never" };
  const name = given === undefined || given === null ? "when_no_match" : textIn(given).toLowerCase();
  const passthrough = Object.hasOwn(behaviours, name) ? behaviours[name] : undefined;
  if (passthrough === undefined) throw new NotHonoured("passthroughBehavior", `${textIn(given)} is not known; ${Object.keys(behaviours).join(", ")} are`);
  return passthrough;
}

/** `responses` of `http`: by the backend's status another one, other headers and another body. What no response is for is not told. */
export function mappedAnswers(given: Json | undefined, context: IntegrationContext): HttpFilter[] {
  const responses = responsesOf(given, context);
  return responses.length === 0 ? [] : [{ type: "responseTemplate", responses, closed: true, ...pathNames(context.template), stage: context.stage }];
}

/** `responseParameters` of an HTTP API's `http_proxy`: by the backend's status. */
export function proxiedAnswers(given: Json | undefined, context: IntegrationContext): HttpFilter[] {
  if (given === undefined) return [];
  if (!isObject(given)) throw new NotHonoured("responseParameters", "must be an object");
  const responses = Object.entries(given).map(([pattern, changes]): MappedResponse => {
    if (!/^\d{3}$/.test(pattern)) throw new NotHonoured(`responseParameters.${pattern}`, "is not a status");
    return { pattern, ...readResponseChanges(changes, `responseParameters.${pattern}`, context) };
  });
  return responses.length === 0 ? [] : [{ type: "responseTemplate", responses, ...pathNames(context.template), stage: context.stage }];
}

/** AWS' mock: the request's template says a status, and the answer is the one whose pattern fits it. */
export function mockAnswer(given: Record<string, Json>, context: IntegrationContext): HttpFilter[] {
  const templates = templatesOf(given["requestTemplates"], "requestTemplates");
  if (Object.keys(templates).length === 0) throw new NotHonoured("requestTemplates", "must say a statusCode");
  const responses = responsesOf(given["responses"], context);
  if (responses.length === 0) throw new NotHonoured("responses", "must have one, or a mock has nothing to answer");
  return [{ type: "mock", templates, passthrough: passthroughOf(given["passthroughBehavior"]), responses, ...pathNames(context.template), stage: context.stage }];
}

function responsesOf(given: Json | undefined, context: IntegrationContext): MappedResponse[] {
  if (given === undefined || given === null) return [];
  if (!isObject(given)) throw new NotHonoured("responses", "must be an object");
  const entries = Object.entries(given).sort(([a], [b]) => Number(a === "default") - Number(b === "default"));
  return entries.map(([pattern, response]) => {
    const at = `responses.${pattern}`;
    if (!isObject(response)) throw new NotHonoured(at, "must be an object");
    if (response["contentHandling"] !== undefined && response["contentHandling"] !== null) throw new NotHonoured(`${at}.contentHandling`, "is not honoured; bodies go on byte by byte");
    refuseOthers(response, responseFields, at);
    const status = Number(textIn(response["statusCode"]));
    if (!Number.isInteger(status) || status < 200 || status > 599) throw new NotHonoured(`${at}.statusCode`, `${textIn(response["statusCode"])} is not a status`);
    const templates = templatesOf(response["responseTemplates"], `${at}.responseTemplates`);
    const headers = readResponseHeaders(response["responseParameters"], `${at}.responseParameters`, context);
    return { ...(pattern !== "default" && { pattern }), status, ...(Object.keys(templates).length > 0 && { templates }), ...(headers.length > 0 && { headers }) };
  });
}
/** Of one of an integration's `responses`. */
export const responseFields = ["statusCode", "responseParameters", "responseTemplates", "contentHandling"];

export function templatesOf(given: Json | undefined, at: string): Templates {
  if (given === undefined || given === null) return {};
  if (!isObject(given)) throw new NotHonoured(at, "must be texts by media type");
  const templates: Templates = {};
  for (const [type, text] of Object.entries(given)) {
    // Nothing to be done for this type.
    if (text === null || text === passed) continue;
    if (typeof text !== "string") throw new NotHonoured(at, "must be texts by media type");
    if (/\$!?\{?context\.requestOverride\.path\b/.test(text)) throw new NotHonoured(`${at}.${type}`, "sets $context.requestOverride.path, which is not honoured");
    templates[type] = text;
  }
  return templates;
}
