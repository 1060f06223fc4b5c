import { X509Certificate } from "node:crypto";
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

/** `own` are the issuers that nobody else may claim to be. Throws WherryError ACCESS_CONFIG_INVALID. */
export function readAuthenticationConfig(file: string, own: readonly string[]): AuthenticationConfig {
  const config = readConfig<Partial<AuthenticationConfig>>(file, "apiserver.config.k8s.io", "AuthenticationConfiguration", ["v1", "v1beta1", "v1alpha1"], shape);
  const read: AuthenticationConfig = { jwt: config.jwt ?? [], ...(config.anonymous && { anonymous: config.anonymous }) };
  const errors: string[] = [];
  read.jwt.forEach((jwt, index) => {
    const at = `jwt[${index}]`;
    errors.push(...issuerErrors(`${at}.issuer`, jwt.issuer, own), ...ruleErrors(at, jwt), ...mappingErrors(`${at}.claimMappings`, jwt));
    if (read.jwt.findIndex((other) => other.issuer?.url === jwt.issuer?.url) < index) errors.push(`${at}.issuer.url: Duplicate value: ${JSON.stringify(jwt.issuer.url)}`);
  });
  const { enabled = false, conditions = [] } = read.anonymous ?? {};
  if (!enabled && conditions.length > 0) errors.push(`anonymous.conditions: Invalid value: ${JSON.stringify(conditions)}: enabled should be set to true when conditions are defined`);
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

function ruleErrors(at: string, jwt: JwtConfig): string[] {
  const rules = (jwt.claimValidationRules ?? []).flatMap((rule, index) => {
    const here = `${at}.claimValidationRules[${index}]`;
    if (rule.claim && rule.expression) return [`${here}: Invalid value: ${JSON.stringify(rule.claim)}: claim and expression can't both be set`];
    if (!rule.claim && !rule.expression) return [`${here}: Required value: claim or expression is required`];
    if (rule.claim && rule.message) return [`${here}.message: Invalid value: ${JSON.stringify(rule.message)}: may not be specified when claim is set`];
    if (rule.expression && rule.requiredValue) return [`${here}.requiredValue: Invalid value: ${JSON.stringify(rule.requiredValue)}: may not be specified when expression is set`];
    return [];
  });
  return [...rules, ...(jwt.userValidationRules ?? []).flatMap((rule, index) => (rule.expression ? [] : [`${at}.userValidationRules[${index}].expression: Required value: expression is required`]))];
}

function mappingErrors(at: string, { claimMappings: mappings, claimValidationRules = [] }: JwtConfig): string[] {
  if (!mappings?.username?.claim && !mappings?.username?.expression) return [`${at}.username: Required value: claim or expression is required`];
  const errors: string[] = [];
  for (const name of ["username", "groups"] as const) {
    const mapping = mappings[name];
    if (!mapping) continue;
    if (mapping.expression && mapping.claim) errors.push(`${at}.${name}: Invalid value: "": claim and expression can't both be set`);
    if (mapping.expression && mapping.prefix !== undefined) errors.push(`${at}.${name}.prefix: Invalid value: ${JSON.stringify(mapping.prefix)}: prefix is not supported when expression is set`);
    if (mapping.claim && mapping.prefix === undefined) errors.push(`${at}.${name}.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing`);
    if (!mapping.claim && mapping.prefix !== undefined) errors.push(`${at}.${name}.prefix: Invalid value: ${JSON.stringify(mapping.prefix)}: prefix is not supported without claim`);
  }
  if (mappings.uid?.claim && mappings.uid.expression) errors.push(`${at}.uid: Invalid value: "": claim and expression can't both be set`);
  const usesEmail = (text: string | undefined): boolean => /\bclaims\.email\b|claims\[["']email["']\]/.test(text ?? "");
  const asksVerified = [mappings.username.expression, ...(mappings.extra ?? []).map((extra) => extra.valueExpression), ...claimValidationRules.map((rule) => rule.expression)].some((text) => text?.includes("email_verified"));
  if (usesEmail(mappings.username.expression) && !asksVerified) errors.push(`${at}.username.expression: Invalid value: ${JSON.stringify(mappings.username.expression)}: claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression`);
  (mappings.extra ?? []).forEach((extra, index) => {
    const here = `${at}.extra[${index}]`;
    const invalid = (why: string): string => `${here}.key: Invalid value: ${JSON.stringify(extra.key)}: ${why}`;
    if (!extra.key) errors.push(`${here}.key: Required value`);
    else if (!/^[a-z0-9.-]+\.[a-z0-9.-]+\/.+$/.test(extra.key)) errors.push(invalid("it must be a domain-prefixed path (such as \"acme.io/foo\")"));
    else if (extra.key !== extra.key.toLowerCase()) errors.push(invalid("key must be lowercase"));
    else if (/(^|\.)(k8s|kubernetes)\.io\//.test(extra.key)) errors.push(invalid("k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"));
    if (!extra.valueExpression) errors.push(`${here}.valueExpression: Required value: valueExpression is required`);
  });
  return errors;
}
