import { X509Certificate } from "node:crypto";
import { dns1123Subdomain } from "../../../api/validation/names.ts";
import { readConfig, refuse } from "../config-file.ts";

/** Source: k8s.io/apiserver/pkg/apis/apiserver/v1 (AuthenticationConfiguration), and validation/validation.go for the texts. */
export interface AuthenticationConfig {
  jwt: readonly JwtConfig[];
  anonymous?: { enabled?: boolean; conditions?: { path: string }[] };
}
export interface JwtConfig {
  issuer: { url: string; discoveryURL?: string; certificateAuthority?: string; audiences: string[]; audienceMatchPolicy?: string };
  claimValidationRules?: { claim?: string; requiredValue?: string; expression?: string; message?: string }[];
  claimMappings: { username: Mapping; groups?: Mapping; uid?: Mapping; extra?: { key: string; valueExpression: string }[] };
  userValidationRules?: { expression: string; message?: string }[];
}
export interface Mapping {
  claim?: string;
  prefix?: string;
  expression?: string;
}

const mapping = { claim: "string", prefix: "string", expression: "string" } as const;
const shape = {
  jwt: [
    {
      issuer: { url: "string", discoveryURL: "string", certificateAuthority: "string", audiences: ["string"], audienceMatchPolicy: "string", egressSelectorType: "string" },
      claimValidationRules: [{ claim: "string", requiredValue: "string", expression: "string", message: "string" }],
      claimMappings: { username: mapping, groups: mapping, uid: { claim: "string", expression: "string" }, extra: [{ key: "string", valueExpression: "string" }] },
      userValidationRules: [{ expression: "string", message: "string" }],
    },
  ],
  anonymous: { enabled: "boolean", conditions: [{ path: "string" }] },
} as const;

const authenticatorsMax = 64;

/** `own` are the issuers that nobody else may claim to be. Throws WherryError ACCESS_CONFIG_INVALID. */
export function readAuthenticationConfig(file: string, own: readonly string[]): AuthenticationConfig {
  const config = readConfig<Partial<AuthenticationConfig>>(file, "apiserver.config.k8s.io", "AuthenticationConfiguration", ["v1", "v1beta1", "v1alpha1"], shape);
  const read: AuthenticationConfig = { jwt: config.jwt ?? [], ...(config.anonymous && { anonymous: config.anonymous }) };
  const errors: string[] = [];
  if (read.jwt.length > authenticatorsMax) errors.push(`jwt: Too many: ${read.jwt.length}: must have at most ${authenticatorsMax} items`);
  read.jwt.forEach((jwt, index) => {
    const at = `jwt[${index}]`;
    errors.push(...issuerErrors(`${at}.issuer`, jwt.issuer, own), ...ruleErrors(at, jwt), ...mappingErrors(`${at}.claimMappings`, jwt));
    if (read.jwt.findIndex((other) => other.issuer?.url === jwt.issuer?.url) < index) errors.push(`${at}.issuer.url: Duplicate value: ${JSON.stringify(jwt.issuer.url)}`);
    const discovery = jwt.issuer?.discoveryURL;
    if (discovery && read.jwt.findIndex((other) => other.issuer?.discoveryURL === discovery) < index) errors.push(`${at}.issuer.discoveryURL: Duplicate value: ${JSON.stringify(discovery)}`);
  });
  const { enabled = false, conditions = [] } = read.anonymous ?? {};
  if (!enabled && conditions.length > 0) errors.push(`anonymous.conditions: Invalid value: ${JSON.stringify(conditions.map(({ path }) => ({ Path: path })))}: enabled should be set to true when conditions are defined`);
  refuse(file, errors);
  return read;
}

function issuerErrors(at: string, issuer: JwtConfig["issuer"] | undefined, own: readonly string[]): string[] {
  if (!issuer?.url) return [`${at}.url: Required value`];
  const errors = urlErrors(`${at}.url`, issuer.url);
  if (own.includes(issuer.url)) errors.push(`${at}.url: Invalid value: ${JSON.stringify(issuer.url)}: URL must not overlap with disallowed issuers: [${own.join(" ")}]`);
  if (issuer.discoveryURL) {
    if (issuer.discoveryURL.replace(/\/$/, "") === issuer.url.replace(/\/$/, "")) errors.push(`${at}.discoveryURL: Invalid value: ${JSON.stringify(issuer.discoveryURL)}: discoveryURL must be different from URL`);
    errors.push(...urlErrors(`${at}.discoveryURL`, issuer.discoveryURL));
  }
  const { audiences = [], audienceMatchPolicy = "" } = issuer;
  if (audiences.length === 0) errors.push(`${at}.audiences: Required value: at least one ${at}.audiences is required`);
  audiences.forEach((audience, index) => {
    if (audience === "") errors.push(`${at}.audiences[${index}]: Required value`);
    else if (audiences.indexOf(audience) < index) errors.push(`${at}.audiences[${index}]: Duplicate value: ${JSON.stringify(audience)}`);
  });
  if (audiences.length > 1 && audienceMatchPolicy !== "MatchAny") errors.push(`${at}.audienceMatchPolicy: Invalid value: ${JSON.stringify(audienceMatchPolicy)}: audienceMatchPolicy must be MatchAny for multiple audiences`);
  if (audiences.length === 1 && !["", "MatchAny"].includes(audienceMatchPolicy)) errors.push(`${at}.audienceMatchPolicy: Invalid value: ${JSON.stringify(audienceMatchPolicy)}: audienceMatchPolicy must be empty or MatchAny for single audience`);
  if ("egressSelectorType" in issuer) errors.push(`${at}.egressSelectorType: Forbidden: there is no egress selector here; the issuer is dialled directly`);
  if (issuer.certificateAuthority) {
    try {
      void new X509Certificate(issuer.certificateAuthority).serialNumber;
    } catch {
      errors.push(`${at}.certificateAuthority: Invalid value: "<omitted>": it holds no PEM certificate`);
    }
  }
  return errors;
}

function urlErrors(at: string, text: string): string[] {
  const wrong = (why: string): string => `${at}: Invalid value: ${JSON.stringify(text)}: ${why}`;
  if (!URL.canParse(text)) return [wrong("it is no URL")];
  const url = new URL(text);
  return [
    ...(url.protocol !== "https:" ? [wrong("URL scheme must be https")] : []),
    ...(url.username || url.password ? [wrong("URL must not contain a username or password")] : []),
    ...(url.search ? [wrong("URL must not contain a query")] : []),
    ...(url.hash ? [wrong("URL must not contain a fragment")] : []),
  ];
}

function ruleErrors(at: string, { claimValidationRules = [], userValidationRules = [] }: JwtConfig): string[] {
  const [claims, expressions, ofUsers] = [new Set<string>(), new Set<string>(), new Set<string>()];
  /** Told of the second of two equal ones. */
  const duplicate = (seen: Set<string>, here: string, value: string): string[] => {
    if (seen.has(value)) return [`${here}: Duplicate value: ${JSON.stringify(value)}`];
    seen.add(value);
    return [];
  };
  const rules = claimValidationRules.flatMap((rule, index) => {
    const here = `${at}.claimValidationRules[${index}]`;
    if (rule.claim && rule.expression) return [`${here}: Invalid value: ${JSON.stringify(rule.claim)}: claim and expression can't both be set`];
    if (rule.claim) return [...(rule.message ? [`${here}.message: Invalid value: ${JSON.stringify(rule.message)}: may not be specified when claim is set`] : []), ...duplicate(claims, `${here}.claim`, rule.claim)];
    if (rule.expression) return [...(rule.requiredValue ? [`${here}.requiredValue: Invalid value: ${JSON.stringify(rule.requiredValue)}: may not be specified when expression is set`] : []), ...duplicate(expressions, `${here}.expression`, rule.expression)];
    return [`${here}: Required value: claim or expression is required`];
  });
  return [...rules, ...userValidationRules.flatMap(({ expression }, index) => {
    const here = `${at}.userValidationRules[${index}].expression`;
    return expression ? duplicate(ofUsers, here, expression) : [`${here}: Required value`];
  })];
}

function mappingErrors(at: string, { claimMappings: mappings }: JwtConfig): string[] {
  if (!mappings?.username?.claim && !mappings?.username?.expression) return [`${at}.username: Required value: claim or expression is required`];
  const errors: string[] = [];
  for (const name of ["username", "groups"] as const) {
    const mapping = mappings[name];
    if (!mapping) continue;
    if (mapping.expression && mapping.claim) errors.push(`${at}.${name}: Invalid value: "": claim and expression can't both be set`);
    else if (mapping.expression && mapping.prefix !== undefined) errors.push(`${at}.${name}.prefix: Invalid value: ${JSON.stringify(mapping.prefix)}: may not be specified when expression is set`);
    else if (mapping.claim && mapping.prefix === undefined) errors.push(`${at}.${name}.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing`);
  }
  if (mappings.uid?.claim && mappings.uid.expression) errors.push(`${at}.uid: Invalid value: "": claim and expression can't both be set`);
  const keys = (mappings.extra ?? []).map(({ key }) => key);
  (mappings.extra ?? []).forEach((extra, index) => {
    const here = `${at}.extra[${index}]`;
    errors.push(...keyErrors(`${here}.key`, extra.key ?? ""));
    if (keys.indexOf(extra.key) < index) errors.push(`${here}.key: Duplicate value: ${JSON.stringify(extra.key)}`);
    else if (!extra.valueExpression) errors.push(`${here}.valueExpression: Required value`);
  });
  return errors;
}

const pathFormat = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";

/** Source: k8s.io/apimachinery/pkg/util/validation (IsDomainPrefixedPath). */
function keyErrors(at: string, key: string): string[] {
  if (key === "") return [`${at}: Required value`];
  const invalid = (value: string, why: string): string => `${at}: Invalid value: ${JSON.stringify(value)}: ${why}`;
  const [, host, path] = /^([^/]+)\/([^]+)$/.exec(key) ?? [];
  const errors: string[] = [];
  if (host === undefined || path === undefined) errors.push(invalid(key, 'must be a domain-prefixed path (such as "acme.io/foo")'));
  else {
    errors.push(...dns1123Subdomain(host).map((why) => invalid(host, why)));
    if (!new RegExp(`^${pathFormat}$`).test(path)) errors.push(invalid(path, `Invalid path (regex used for validation is '${pathFormat}')`));
  }
  if (key !== key.toLowerCase()) errors.push(invalid(key, "must be lowercase"));
  if (/^(.*\.)?(kubernetes|k8s)\.io$/.test(key.includes("/") ? key.slice(0, key.indexOf("/")) : "")) errors.push(invalid(key, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"));
  return errors;
}
