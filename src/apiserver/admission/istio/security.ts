import { isIP } from "node:net";
import type { AuthorizationOperation, AuthorizationPolicy, AuthorizationSource, JwtRule, PeerAuthentication, RequestAuthentication } from "../../../api/istio/security.ts";
import { quoted } from "./common.ts";

/** AuthorizationPolicy, PeerAuthentication and RequestAuthentication; none of other kinds. `name` is "NAME.NAMESPACE". */
export function securityProblems(kind: string, spec: object, name: string): string[] {
  switch (kind) {
    case "AuthorizationPolicy":
      return [...policyProblems(spec)].map((problem) => `invalid policy ${name}: ${problem}`);
    case "PeerAuthentication":
      return [...peerProblems(spec)];
    case "RequestAuthentication":
      return ((spec as NonNullable<RequestAuthentication["spec"]>).jwtRules ?? []).flatMap((rule) => [...tokenProblems(rule)]);
    default:
      return [];
  }
}

type Policy = NonNullable<AuthorizationPolicy["spec"]>;
type Rule = NonNullable<Policy["rules"]>[number];

function* policyProblems({ action = "ALLOW", provider, rules }: Policy): Generator<string> {
  const meaningless = `${action} action without \`rules\` is meaningless as it will never be triggered, add an empty rule \`{}\` if you want it be triggered for every request`;
  if (action === "CUSTOM") {
    if (!rules) yield meaningless;
    else if (!provider?.name) yield "`provider.name` must not be empty";
    for (const rule of rules ?? []) yield* customProblems(rule);
  } else if (provider) yield `\`provider\` must not be with non CUSTOM action, found ${action}`;
  if (action === "DENY" && !rules) yield meaningless;
  for (const [i, { from, to, when = [] }] of (rules ?? []).entries()) {
    if (from?.length === 0) yield `\`from\` must not be empty, found at rule ${i}`;
    for (const { source } of from ?? []) {
      if (!source) yield `\`from.source\` must not be nil, found at rule ${i}`;
      else yield* sourceProblems(source, i);
    }
    if (to?.length === 0) yield `\`to\` must not be empty, found at rule ${i}`;
    for (const { operation } of to ?? []) {
      if (!operation) yield `\`to.operation\` must not be nil, found at rule ${i}`;
      else yield* operationProblems(operation, i);
    }
    for (const { key, values = [], notValues = [] } of when) {
      if (key === "") yield "`key` must not be empty";
      else if (values.length + notValues.length === 0) yield `at least one of \`values\` or \`notValues\` must be set for key ${key}`;
      else {
        for (const problem of attributeProblems(key, values)) yield `invalid \`value\` for \`key\` ${key}: ${problem}`;
        for (const problem of attributeProblems(key, notValues)) yield `invalid \`notValue\` for \`key\` ${key}: ${problem}`;
      }
    }
  }
}

/** Whom only the mesh can know, nobody else can be asked about. */
function* customProblems({ from = [], when = [] }: Rule): Generator<string> {
  for (const { source } of from) for (const field of ["namespaces", "notNamespaces", "serviceAccounts", "notServiceAccounts", "principals", "notPrincipals", "requestPrincipals", "notRequestPrincipals"] as const) if (source?.[field]?.length) yield `From.${capital(field)} is currently not supported with CUSTOM action`;
  for (const { key } of when) if (["source.namespace", "source.serviceAccount", "source.principal"].includes(key) || key.startsWith("request.auth.")) yield `${key} is currently not supported with CUSTOM action`;
}

const capital = (word: string): string => word[0]!.toUpperCase() + word.slice(1);

function* emptyProblems(of: object, fields: readonly string[]): Generator<string> {
  for (const field of fields) if ((of as Record<string, string[] | undefined>)[field]?.includes("")) yield `empty value not allowed, found in ${capital(field)}`;
}

function* sourceProblems(source: AuthorizationSource, rule: number): Generator<string> {
  const count = (...fields: (keyof AuthorizationSource)[]): number => fields.reduce((sum, field) => sum + (source[field]?.length ?? 0), 0);
  if (count("principals", "notPrincipals", "namespaces", "notNamespaces") > 0 && count("serviceAccounts", "notServiceAccounts") > 0) yield `cannot set serviceAccounts with namespaces or principals, found at rule ${rule}`;
  if (Object.values(source).every((values: string[]) => values.length === 0)) yield `\`from.source\` must not be empty, found at rule ${rule}`;
  for (const field of ["ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"] as const) yield* addressProblems(source[field] ?? []);
  yield* emptyProblems(source, ["principals", "requestPrincipals", "namespaces"]);
  yield* accountProblems("ServiceAccounts", source.serviceAccounts ?? []);
  yield* emptyProblems(source, ["ipBlocks", "remoteIpBlocks", "notPrincipals", "notRequestPrincipals", "notNamespaces"]);
  yield* accountProblems("NotServiceAccounts", source.notServiceAccounts ?? []);
  yield* emptyProblems(source, ["notIpBlocks", "notRemoteIpBlocks"]);
}

function* operationProblems(operation: AuthorizationOperation, rule: number): Generator<string> {
  if (Object.values(operation).every((values: string[]) => values.length === 0)) yield `\`to.operation\` must not be empty, found at rule ${rule}`;
  yield* portProblems(operation.ports ?? []);
  yield* portProblems(operation.notPorts ?? []);
  yield* emptyProblems(operation, ["ports", "methods", "paths", "hosts", "notPorts", "notMethods", "notPaths", "notHosts"]);
  yield* templateProblems("Paths", operation.paths ?? []);
  yield* templateProblems("NotPaths", operation.notPaths ?? []);
}

function* accountProblems(field: string, accounts: readonly string[]): Generator<string> {
  for (const account of accounts) {
    const parts = account.split("/");
    if (account === "") return yield `empty value not allowed, found in ${field}`;
    if (account.includes("*")) return yield `wildcard not allowed, found in ${field}`;
    if (parts.length > 2) return yield `expected format 'serviceAccount' or 'namespace/serviceAccount', found ${quoted(account)} in ${field}`;
    if (parts.length === 2 && parts[0] === "") return yield `expected format 'serviceAccount' or 'namespace/serviceAccount', found empty namespace ${quoted(account)} in ${field}`;
    if (parts.at(-1) === "") return yield `expected format 'serviceAccount' or 'namespace/serviceAccount', found empty serviceAccount ${quoted(account)} in ${field}`;
  }
}

function* addressProblems(ranges: readonly string[]): Generator<string> {
  for (const range of ranges) {
    const [address, length, ...rest] = range.split("/");
    const version = isIP(address!);
    if (length === undefined) {
      if (version === 0) yield `bad IP address (${range})`;
    } else if (version === 0 || rest.length > 0 || !/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > (version === 4 ? 32 : 128)) yield `bad CIDR range (${range})`;
  }
}

function* portProblems(ports: readonly string[]): Generator<string> {
  for (const port of ports) if (!/^\d+$/.test(port) || Number(port) > 65_535) yield `bad port (${port})`;
}

function* templateProblems(field: string, paths: readonly string[]): Generator<string> {
  for (const text of paths) {
    const path = text.replace(/^\/+|\/+$/g, "");
    const isTemplate = text.includes("{*}") || text.includes("{**}");
    let hasAny = false;
    for (const part of path.split("/")) {
      const isOperator = part === "{*}" || part === "{**}";
      if (isOperator && hasAny) return yield `invalid or unsupported path ${path}, found in ${field}. {**} is not the last operator`;
      if (part === "{**}") hasAny = true;
      if (isOperator) continue;
      if (/[{}]/.test(part)) return yield `invalid or unsupported path ${path}, found in ${field}. Contains '{' or '}' beyond a supported path template`;
      if (isTemplate && !/^[\w.~%!$&'()+,;:@=-]+$/.test(part)) return yield `invalid or unsupported path ${path}, found in ${field}. Contains segment ${part} with invalid string literal`;
    }
  }
}

function* attributeProblems(key: string, values: readonly string[]): Generator<string> {
  if (values.includes("")) return yield `empty value not allowed, found in ${key}`;
  const isMap = /^(request\.headers|request\.inline\.headers|request\.auth\.claims|experimental\.)/.test(key);
  if (isMap) {
    const open = key.indexOf("[");
    if (!(key.endsWith("]") && open > 0 && open < key.length - 2)) yield `bad key (${key}): should have format a[b]`;
    return;
  }
  switch (key) {
    case "source.ip":
    case "remote.ip":
    case "destination.ip":
      return yield* addressProblems(values);
    case "destination.port":
      return yield* portProblems(values);
    case "source.serviceAccount":
      return yield* accountProblems(key, values);
    case "source.namespace":
    case "source.principal":
    case "request.auth.principal":
    case "request.auth.audiences":
    case "request.auth.presenter":
    case "connection.sni":
      return;
    case "destination.namespace":
      return yield `attribute ${key} is replaced by the metadata.namespace`;
    case "destination.name":
    case "destination.user":
      return yield `deprecated attribute ${key}: only supported in v1alpha1`;
    default:
      yield key.startsWith("destination.labels") ? `attribute ${key} is replaced by the workload selector` : `unknown attribute: ${key}`;
  }
}

function* peerProblems({ selector, portLevelMtls }: NonNullable<PeerAuthentication["spec"]>): Generator<string> {
  const ports = Object.keys(portLevelMtls ?? {});
  if (Object.keys(selector?.matchLabels ?? {}).length === 0 && ports.length > 0) yield "mesh/namespace peer authentication cannot have port level mTLS";
  if (portLevelMtls && ports.length === 0) yield "port level mTLS, if defined, must have at least one element";
  for (const port of ports) if (!(Number(port) > 0 && Number(port) <= 65_535)) yield "port must be in range 1..65535";
}

function* tokenProblems({ audiences = [], issuer, jwksUri, jwks_uri, jwks, fromHeaders = [], fromParams = [], fromCookies = [], outputClaimToHeaders = [] }: JwtRule): Generator<string> {
  const uri = jwksUri || jwks_uri;
  if (audiences.includes("")) yield "audience must be non-empty string";
  if (!issuer && !uri) yield "issuer or jwksUri must be non-empty string";
  if (uri && !/^https?:\/\//.test(uri)) yield `URI scheme ${quoted(/^([a-z][a-z0-9+.-]*):/i.exec(uri)?.[1] ?? "")} is not supported`;
  if (jwks) {
    const problem = keySetProblem(jwks);
    if (problem) yield `jwks parse error: ${problem}`;
  }
  if (fromHeaders.some(({ name }) => !name)) yield "location header name must be non-empty string";
  if (fromParams.includes("")) yield "location query must be non-empty string";
  if (fromCookies.includes("")) yield "cookie name must be non-empty string";
  if (outputClaimToHeaders.some(({ claim, header }) => !claim || !header)) yield "outputClaimToHeaders header and claim value must be non-empty string";
}

function keySetProblem(text: string): string | undefined {
  try {
    const set = JSON.parse(text) as { keys?: unknown; kty?: unknown } | null;
    return typeof set === "object" && set !== null && (Array.isArray(set.keys) || typeof set.kty === "string") ? undefined : "it is neither a key nor a set of keys";
  } catch (error) {
    return (error as Error).message;
  }
}
