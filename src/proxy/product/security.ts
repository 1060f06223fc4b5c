import type { ApiStage } from "../../api/product/kinds.ts";
import type { AuthorizerFilter, IdentitySource } from "../../api/traffic-access.ts";
import type { HttpFilter } from "../../api/traffic.ts";
import { identityContexts } from "../../policy/filters/authorizer.ts";
import type { OpenApi } from "./document.ts";
import { DocumentError, isObject, type Json, resolve, textIn } from "./json.ts";
import { NotHonoured, refuseOthers } from "./not-honoured.ts";
import { pathNames, type PathTemplate } from "./template.ts";

/** What a scheme of the document's asks for. */
export type Checked = "jwt" | "apiKey" | "basic" | "authorizer";

/** A scheme as an operation asks for it. */
export interface AskedScheme {
  name: string;
  checked: Checked;
  /** It is an authorizer of AWS API Gateway's. */
  isAws?: true;
  /** How the stage itself checks it; absent: a policy must. */
  own?: OwnCheck;
}

export type OwnCheck =
  | {
      type: "jwt";
      providers: { issuer?: string; jwksUri?: string }[];
      audiences: string[];
      /** AWS' tokens for programs have a client id where others have an audience. */
      clientIdIsAudience: boolean;
      /** Absent: where RFC 6750 has them. */
      place?: { header: string } | { param: string };
      /** One of them, as AWS has it, or all, as OpenAPI does. */
      scopes: { names: string[]; all: boolean };
    }
  | { type: "authorizer"; backendRef: { namespace?: string; name: string; port: number }; filter: Omit<AuthorizerFilter, "upstream" | "host"> }
  | { type: "apiKey"; from: Extract<HttpFilter, { type: "apiKey" }>["from"] };

/** Where an operation is. */
export interface SecuredPlace {
  stage: ApiStage;
  api: string;
  namespace: string;
  /** Of the document. */
  path: string;
  operationName?: string;
  /** Before the document's paths. */
  base: string;
  template: PathTemplate;
}

const prefix = "x-amazon-apigateway-";
const ttlSecondsMax = 3_600;
const authorizerMs = 10_000;

/**
 * What the document asks for: any of these lists, whole. Undefined: nothing, or nothing that the gateway has to see to.
 * @throws DocumentError, NotHonoured
 */
export function securityOf(document: OpenApi, operation: Record<string, Json>, place: SecuredPlace): AskedScheme[][] | undefined {
  const asked = operation["security"] ?? document.security;
  if (asked === undefined || place.stage.security === "Backend") return undefined;
  if (!Array.isArray(asked)) throw new DocumentError("security: must be a list");
  // An empty alternative means that nobody need be known.
  if (asked.length === 0 || asked.some((alternative) => isObject(alternative) && Object.keys(alternative).length === 0)) return undefined;
  return asked.map((alternative) => {
    if (!isObject(alternative)) throw new DocumentError("security: must be a list of objects");
    return Object.entries(alternative).map(([name, scopes]) => {
      const scheme = schemeOf(document, name);
      if (!isObject(scheme)) throw new NotHonoured(`security.${name}`, "is not one of the document's securitySchemes");
      const checked = checkedBy(name, scheme);
      const own = ownCheck(name, scheme, checked, { document, scopes: textsOf(scopes, `security.${name}`), place });
      return { name, checked, ...(isObject(scheme[`${prefix}authorizer`]) && { isAws: true }), ...(own && { own }) };
    });
  });
}

/** Undefined: there is none. */
export function schemeOf(document: OpenApi, name: string): Json | undefined {
  const components = document.root["components"];
  const schemes = isObject(components) ? components["securitySchemes"] : undefined;
  return isObject(schemes) && Object.hasOwn(schemes, name) ? resolve(document.root, schemes[name], `securitySchemes.${name}`) : undefined;
}

function checkedBy(name: string, scheme: Record<string, Json>): Checked {
  const { type, scheme: http } = scheme;
  if (scheme[`${prefix}authtype`] !== undefined || scheme[`${prefix}authorizer`] !== undefined) {
    const authorizer = scheme[`${prefix}authorizer`];
    return isObject(authorizer) && (authorizer["type"] === "jwt" || authorizer["type"] === "cognito_user_pools") ? "jwt" : "authorizer";
  }
  if (type === "oauth2" || type === "openIdConnect") return "jwt";
  if (type === "apiKey") return "apiKey";
  if (type === "http" && typeof http === "string") {
    if (http.toLowerCase() === "bearer") return "jwt";
    if (http.toLowerCase() === "basic") return "basic";
  }
  throw new NotHonoured(`security.${name}`, `is of type ${textIn(type)}${typeof http === "string" ? ` ${http}` : ""}, which is not honoured`);
}

interface Asking {
  document: OpenApi;
  scopes: string[];
  place: SecuredPlace;
}

function ownCheck(name: string, scheme: Record<string, Json>, checked: Checked, asking: Asking): OwnCheck | undefined {
  const { stage } = asking.place;
  const said = stage.authorizers?.find((one) => one.scheme === name);
  const at = `securitySchemes.${name}.${prefix}authorizer`;
  const authorizer = scheme[`${prefix}authorizer`];
  switch (checked) {
    case "jwt":
      if (said?.backendRef) throw new NotHonoured(`stages[].authorizers: ${name}`, "has a backendRef, and its tokens are judged here; jwksUri says where keys are");
      return isObject(authorizer) ? awsTokens(scheme, authorizer, at, said, asking) : said && plainTokens(name, scheme, said, asking);
    case "authorizer":
      if (!said) return undefined;
      if (said.issuer !== undefined || said.audiences || said.jwksUri !== undefined) throw new NotHonoured(`stages[].authorizers: ${name}`, "has issuer, audiences or jwksUri, and no tokens are judged here");
      if (!said.backendRef) throw new NotHonoured(`stages[].authorizers: ${name}`, "has no backendRef");
      if (!isObject(authorizer)) throw new NotHonoured(at, "is missing");
      return { type: "authorizer", backendRef: said.backendRef, filter: authorizerOf(name, scheme, authorizer, at, said.path ?? "/", asking.place) };
    case "apiKey":
      if (said) throw new NotHonoured(`stages[].authorizers: ${name}`, "is an API key: stages[].plans says whose it may be");
      return stage.plans && { type: "apiKey", from: [keyPlace(name, scheme, asking.document)] };
    case "basic":
      if (said) throw new NotHonoured(`stages[].authorizers: ${name}`, "is a password: basicAuth of a SecurityPolicy says whose it may be");
      return undefined;
  }
}

function keyPlace(name: string, scheme: Record<string, Json>, { root }: OpenApi): Extract<HttpFilter, { type: "apiKey" }>["from"][number] {
  if (textIn(root[`${prefix}api-key-source`] ?? "HEADER").toUpperCase() === "AUTHORIZER") return { in: "authorizer", name: "usageIdentifierKey" };
  const { in: where, name: key } = scheme;
  if ((where !== "header" && where !== "query" && where !== "cookie") || typeof key !== "string" || key === "") throw new NotHonoured(`securitySchemes.${name}`, "must say in (header, query or cookie) and name");
  return { in: where, name: key };
}

type Said = NonNullable<ApiStage["authorizers"]>[number];

/** Types `jwt` and `cognito_user_pools` of AWS' authorizers. */
function awsTokens(scheme: Record<string, Json>, authorizer: Record<string, Json>, at: string, said: Said | undefined, { scopes }: Asking): OwnCheck | undefined {
  const common = { type: "jwt", clientIdIsAudience: true, scopes: { names: scopes, all: false } } as const;
  if (authorizer["type"] === "cognito_user_pools") {
    refuseOthers(authorizer, ["type", "providerARNs", "identitySource", "identityValidationExpression", "authorizerResultTtlInSeconds"], at);
    if (authorizer["identityValidationExpression"] !== undefined) throw new NotHonoured(`${at}.identityValidationExpression`, "is not honoured: the audience of tokens; the stage's authorizers may say audiences");
    const pools = textsOf(authorizer["providerARNs"] ?? [], `${at}.providerARNs`);
    const issuers = pools.map((arn) => poolIssuer(arn, `${at}.providerARNs`));
    const wanted = said?.issuer === undefined ? issuers : [said.issuer];
    // As it was before stages could say it: a policy must.
    if (wanted.length === 0) return undefined;
    if (wanted.length > 1 && said?.jwksUri !== undefined) throw new NotHonoured("stages[].authorizers[].jwksUri", `is one, and there are ${wanted.length} pools`);
    const place = placeIn(authorizer["identitySource"], `${at}.identitySource`) ?? (typeof scheme["name"] === "string" ? { header: scheme["name"] } : undefined);
    return { ...common, providers: wanted.map((issuer) => ({ issuer, ...(said?.jwksUri !== undefined && { jwksUri: said.jwksUri }) })), audiences: said?.audiences ?? [], ...(place && { place }) };
  }
  refuseOthers(authorizer, ["type", "jwtConfiguration", "identitySource"], at);
  const { jwtConfiguration: given } = authorizer;
  const configuration = isObject(given) ? given : {};
  refuseOthers(configuration, ["issuer", "audience"], `${at}.jwtConfiguration`);
  const issuer = said?.issuer ?? configuration["issuer"];
  const audiences = said?.audiences ?? textsOf(configuration["audience"] ?? [], `${at}.jwtConfiguration.audience`);
  if (typeof issuer !== "string") {
    if (!said) return undefined;
    throw new NotHonoured(`${at}.jwtConfiguration.issuer`, "is missing, and the stage's authorizers do not say it");
  }
  if (audiences.length === 0) throw new NotHonoured(`${at}.jwtConfiguration.audience`, "is missing: tokens for anybody would be believed");
  const place = placeIn(authorizer["identitySource"], `${at}.identitySource`) ?? { header: "Authorization" };
  return { ...common, providers: [{ issuer, ...(said?.jwksUri !== undefined && { jwksUri: said.jwksUri }) }], audiences, place };
}

/** `http` bearer, `oauth2` and `openIdConnect`, as the stage says. */
function plainTokens(name: string, scheme: Record<string, Json>, said: Said, { scopes }: Asking): OwnCheck {
  const discovery = scheme["openIdConnectUrl"];
  const issuer = said.issuer ?? (typeof discovery === "string" && discovery.endsWith(wellKnown) ? discovery.slice(0, -wellKnown.length) : undefined);
  if (issuer === undefined) throw new NotHonoured(`stages[].authorizers: ${name}`, "has no issuer, and the document does not say it");
  return { type: "jwt", providers: [{ issuer, ...(said.jwksUri !== undefined && { jwksUri: said.jwksUri }) }], audiences: said.audiences ?? [], clientIdIsAudience: false, scopes: { names: scheme["type"] === "http" ? [] : scopes, all: true } };
}
const wellKnown = "/.well-known/openid-configuration";

function poolIssuer(arn: string, at: string): string {
  const [, china, region, pool] = /^arn:aws(-cn)?(?:-us-gov)?:cognito-idp:([a-z0-9-]+):\d*:userpool\/([\w-]+)$/.exec(arn) ?? [];
  if (pool === undefined) throw new NotHonoured(at, `${arn} is not the name of a user pool`);
  return `https://cognito-idp.${region}.amazonaws.com${china ? ".cn" : ""}/${pool}`;
}

/** Types `token` and `request`. */
function authorizerOf(name: string, scheme: Record<string, Json>, given: Record<string, Json>, at: string, target: string, place: SecuredPlace): Omit<AuthorizerFilter, "upstream" | "host"> {
  refuseOthers(given, ["type", "authorizerUri", "authorizerCredentials", "authorizerPayloadFormatVersion", "authorizerResultTtlInSeconds", "enableSimpleResponses", "identitySource", "identityValidationExpression"], at);
  const { type, authorizerPayloadFormatVersion: version = "1.0", authorizerResultTtlInSeconds: ttl = 300, enableSimpleResponses: simple = false, identitySource, identityValidationExpression: validation } = given;
  const kind = textIn(type).toLowerCase();
  if (kind !== "token" && kind !== "request") throw new NotHonoured(`${at}.type`, `${textIn(type)} is not honoured; token, request, jwt and cognito_user_pools are`);
  if (version !== "1.0" && version !== "2.0") throw new NotHonoured(`${at}.authorizerPayloadFormatVersion`, `${textIn(version)} is not known; 1.0 and 2.0 are`);
  if (kind === "token" && version === "2.0") throw new NotHonoured(`${at}.authorizerPayloadFormatVersion`, "2.0 is of type request alone");
  if (typeof simple !== "boolean" || (simple && version !== "2.0")) throw new NotHonoured(`${at}.enableSimpleResponses`, "is of payload format 2.0 alone");
  const seconds = Number(textIn(ttl));
  if (!Number.isInteger(seconds) || seconds < 0 || seconds > ttlSecondsMax) throw new NotHonoured(`${at}.authorizerResultTtlInSeconds`, `${textIn(ttl)} is not a whole number between 0 and ${ttlSecondsMax}`);
  const sources = identityOf(identitySource, `${at}.identitySource`, place.stage);
  const identity: IdentitySource[] = sources.length > 0 || kind === "request" ? sources : [{ in: "header", name: typeof scheme["name"] === "string" ? scheme["name"] : "Authorization" }];
  if (kind === "token" && (identity.length !== 1 || identity[0]!.in !== "header")) throw new NotHonoured(`${at}.identitySource`, "of a token is one header");
  if (validation !== undefined && (typeof validation !== "string" || kind !== "token")) throw new NotHonoured(`${at}.identityValidationExpression`, "is of type token alone");
  const { stage, api, namespace, path, operationName, base, template } = place;
  return {
    type: "authorizer",
    name,
    target,
    event: kind === "token" ? "token" : version === "2.0" ? "request2" : "request",
    ...(simple && { simple }),
    identity,
    ...(typeof validation === "string" && validation !== "" && { validation }),
    ttlSeconds: seconds,
    timeoutMs: authorizerMs,
    // The form is AWS' own, for programs that take it apart; what stands in it is of here.
    arn: `arn:aws:execute-api:local:${namespace}:${api}/${stage.name}`,
    ...(base !== "" && { base }),
    ...pathNames(template),
    stage: { name: stage.name, apiId: api, resourcePath: path, ...(operationName !== undefined && { operationName }), variables: stage.variables ?? {} },
    share: `api/${namespace}/${api}.${stage.name}`,
  };
}

/** "method.request.header.Auth, context.identity.sourceIp" of REST APIs, and "$request.header.Auth" of HTTP APIs, also as a list. */
function identityOf(given: Json | undefined, at: string, { variables = {} }: ApiStage): IdentitySource[] {
  const list = given === undefined ? [] : typeof given === "string" ? given.split(",") : textsOf(given, at);
  return list.map((text) => text.trim()).filter((text) => text !== "").map((text): IdentitySource => {
    const [, kind, name] = /^(?:\$|method\.)request\.(header|querystring|multivalueheader|multivaluequerystring)\.(.+)$/.exec(text) ?? [];
    if (kind !== undefined) return { in: kind.endsWith("header") ? "header" : "query", name: name! };
    const variable = /^\$?stageVariables\.(.+)$/.exec(text)?.[1];
    if (variable !== undefined) {
      if (!Object.hasOwn(variables, variable)) throw new NotHonoured(at, `names the stage variable ${variable}, which the stage does not have`);
      return { in: "fixed", name: variable, value: variables[variable]! };
    }
    const context = /^\$?context\.(.+)$/.exec(text)?.[1];
    if (context !== undefined && identityContexts.includes(context)) return { in: "context", name: context };
    throw new NotHonoured(at, `${text} is not honoured; request headers and parameters, stageVariables.NAME, and of context ${identityContexts.join(", ")} are`);
  });
}

function placeIn(given: Json | undefined, at: string): { header: string } | { param: string } | undefined {
  const [source, more] = identityOf(given, at, {} as ApiStage);
  if (!source) return undefined;
  if (more || (source.in !== "header" && source.in !== "query")) throw new NotHonoured(at, "of tokens is one header or one parameter of the query");
  return source.in === "header" ? { header: source.name } : { param: source.name };
}

function textsOf(given: Json, at: string): string[] {
  if (!Array.isArray(given) || !given.every((one) => typeof one === "string")) throw new NotHonoured(at, "must be a list of texts");
  return given;
}
