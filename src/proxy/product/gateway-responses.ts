import type { GatewayResponsesFilter } from "../../api/traffic-content.ts";
import type { HttpFilter } from "../../api/traffic.ts";
import type { Flag } from "../../policy/flags.ts";
import { isObject, type Json, textIn } from "./json.ts";
import type { IntegrationContext } from "./integration.ts";
import { templatesOf } from "./mapping.ts";
import { NotHonoured, refuseOthers } from "./not-honoured.ts";
import { readGatewayHeaders } from "./parameters.ts";
import { pathNames } from "./template.ts";

export const gatewayResponsesField = "x-amazon-apigateway-gateway-responses";

type Meant = Pick<GatewayResponsesFilter["rules"][number], "flags" | "statuses" | "reason">[];
const only = (...flags: Flag[]): Meant => [{ flags }];
const client = { from: 400, to: 499 };
const server = { from: 500, to: 599 };

/** What is meant by API Gateway's types of responses. An empty list: nothing here ever fails like that. */
export const responseTypes: Record<string, Meant> = {
  ACCESS_DENIED: [{ flags: ["AD", "PD"] }, { flags: ["JWT", "UAEX"], statuses: { from: 403, to: 403 } }],
  API_CONFIGURATION_ERROR: only("TF", "NC"),
  AUTHORIZER_CONFIGURATION_ERROR: [],
  AUTHORIZER_FAILURE: [{ flags: ["JWT", "UAEX"], statuses: server }],
  BAD_REQUEST_BODY: [{ flags: ["RV"], reason: "body " }],
  BAD_REQUEST_PARAMETERS: [{ flags: ["RV"], statuses: { from: 400, to: 400 } }],
  EXPIRED_TOKEN: [],
  INTEGRATION_FAILURE: only("UF", "UC", "UPE", "UH", "UO", "URX"),
  INTEGRATION_TIMEOUT: only("UT"),
  INVALID_API_KEY: only("NA"),
  INVALID_SIGNATURE: [],
  MISSING_AUTHENTICATION_TOKEN: [],
  QUOTA_EXCEEDED: [{ flags: ["RL"], reason: "rate limit reached: " }],
  REQUEST_TOO_LARGE: only("BL"),
  RESOURCE_NOT_FOUND: [],
  THROTTLED: only("RL"),
  UNAUTHORIZED: [{ flags: ["JWT", "UAEX", "NA", "OIDC"], statuses: { from: 401, to: 401 } }],
  UNSUPPORTED_MEDIA_TYPE: [{ statuses: { from: 415, to: 415 } }],
  WAF_FILTERED: only("RB"),
  DEFAULT_4XX: [{ statuses: client }],
  DEFAULT_5XX: [{ statuses: server }],
};
/** Of a path's other methods: AWS has the one name for REST APIs, and people the other. */
const otherTypes: Record<string, Meant> = { MISSING_AUTHENTICATION_TOKEN: [{ flags: ["DR"], statuses: client }], RESOURCE_NOT_FOUND: [{ flags: ["DR"], statuses: client }], DEFAULT_4XX: [{ flags: ["DR"], statuses: client }] };

/**
 * The document's gateway responses, for an operation or for its path's other methods: `DEFAULT_…` come last.
 * @throws NotHonoured
 */
export function gatewayResponsesOf(given: Json | undefined, context: Pick<IntegrationContext, "template" | "variables" | "stage">, isOther: boolean): HttpFilter[] {
  if (given === undefined) return [];
  if (!isObject(given)) throw new NotHonoured(gatewayResponsesField, "must be an object");
  const entries = Object.entries(given).sort(([a], [b]) => Number(a.startsWith("DEFAULT_")) - Number(b.startsWith("DEFAULT_")) || placeOf(a) - placeOf(b));
  const rules = entries.flatMap(([type, response]): GatewayResponsesFilter["rules"] => {
    const at = `${gatewayResponsesField}.${type}`;
    const meant = Object.hasOwn(responseTypes, type) ? responseTypes[type] : undefined;
    if (!meant) throw new NotHonoured(at, "is not a type of gateway response");
    if (!isObject(response)) throw new NotHonoured(at, "must be an object");
    refuseOthers(response, ["statusCode", "responseParameters", "responseTemplates"], at);
    const { statusCode } = response;
    const status = statusCode === undefined || statusCode === null ? undefined : Number(textIn(statusCode));
    if (status !== undefined && !(Number.isInteger(status) && status >= 400 && status <= 599)) throw new NotHonoured(`${at}.statusCode`, `${textIn(statusCode)} is not a status of an error`);
    const headers = readGatewayHeaders(response["responseParameters"], `${at}.responseParameters`, context);
    const templates = templatesOf(response["responseTemplates"], `${at}.responseTemplates`);
    const what = { ...(status !== undefined && { status }), ...(headers.length > 0 && { headers }), ...(Object.keys(templates).length > 0 && { templates }) };
    return (isOther ? [...(otherTypes[type] ?? []), ...meant] : meant).map((rule) => ({ name: type, ...rule, ...what }));
  });
  return rules.length === 0 ? [] : [{ type: "gatewayResponses", rules, ...pathNames(context.template), stage: context.stage }];
}

/** Narrower ones first: a body that is wrong before parameters, a quota before a rate. */
const placeOf = (type: string): number => Object.keys(responseTypes).indexOf(type);
