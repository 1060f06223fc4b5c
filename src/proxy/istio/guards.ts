import type { Guard, PeerMode, PeerRule, TokenRule } from "../../api/guard.ts";
import { rootNamespace } from "../../api/istio/kinds.ts";
import type { AuthorizationPolicy, JwtRule, MtlsMode, PeerAuthentication, RequestAuthentication, WorkloadTarget } from "../../api/istio/security.ts";
import type { KubeObject } from "../../api/meta.ts";
import { compileAuthorisation } from "../../policy/authorise/authorise.ts";
import { PolicyError } from "../../policy/policy-error.ts";
import { translateAuthorization } from "./authorise.ts";
import type { Report } from "./report.ts";

type Aim = Pick<Guard, "namespace" | "labels" | "services">;

/**
 * What one of the security kinds says of whom, and what is said of it. `isEnforced`: addresses prove who calls. Undefined: it
 * stands before nobody.
 */
export function compileGuard(object: KubeObject, report: Report, isEnforced: boolean): Guard | undefined {
  const aim = aimOf(object, report);
  if (!aim) return undefined;
  if (!isEnforced) report.field(object.kind, "is NOT enforced in plain mode: anybody may have any address there, and dial pods past their Services; isolated mode enforces it");
  const says = readers[object.kind]!(object, report);
  if (!says) return undefined;
  if (isEnforced) report.place(placeOf(aim) + (says.peer ? peerPlace(says.peer) : ""));
  return { id: `istio:${object.kind}/${object.metadata.namespace}/${object.metadata.name}`, createdAt: Math.floor(Date.parse(object.metadata.creationTimestamp) / 1000), ...aim, ...says };
}

const readers: Record<string, (object: KubeObject, report: Report) => Pick<Guard, "authorisation" | "peer" | "tokens"> | undefined> = {
  AuthorizationPolicy(object, report) {
    const authorisation = translateAuthorization(object as AuthorizationPolicy);
    try {
      compileAuthorisation([authorisation]);
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error;
      report.field("rules", `${error.message}: ${authorisation.action === "ALLOW" ? "it allows nobody" : "it is about everybody"}`);
    }
    if (authorisation.action === "CUSTOM") report.field("provider", "there is nobody to ask: whoever its rules are about is kept out");
    return { authorisation };
  },
  PeerAuthentication(object, report) {
    const { selector, mtls, portLevelMtls = {} } = (object as PeerAuthentication).spec ?? {};
    const ports = Object.entries(portLevelMtls).flatMap(([port, { mode }]): [string, PeerMode][] => (isSaid(mode) ? [[port, mode]] : []));
    if (ports.length > 0 && !selector?.matchLabels) report.field("portLevelMtls", "needs a selector: no port is treated otherwise");
    const mode = isSaid(mtls?.mode) ? mtls.mode : undefined;
    return { peer: { ...(mode && { mode }), ...(ports.length > 0 && selector?.matchLabels && { ports: Object.fromEntries(ports) }) } };
  },
  RequestAuthentication(object, report) {
    const { jwtRules = [] } = (object as RequestAuthentication).spec ?? {};
    return jwtRules.length === 0 ? undefined : { tokens: jwtRules.map((rule, i) => tokenRule(rule, `jwtRules[${i}]`, report)) };
  },
};

/** How who calls is known. */
function peerPlace({ mode, ports = {} }: PeerRule): string {
  const modes = [mode, ...Object.values(ports)];
  if (modes.some((one) => one === "STRICT" || one === "PERMISSIVE")) return "; pods are known by their addresses, and need not encrypt within this machine; others by a certificate of the mesh";
  return modes.includes("DISABLE") ? "; TLS is left to the programs" : "; it says nothing, and what is above it holds";
}

const isSaid = (mode: MtlsMode | undefined): mode is PeerMode => mode !== undefined && mode !== "UNSET";

export function aimOf({ metadata, ...object }: KubeObject, report: Report): Aim | undefined {
  const { selector, targetRef, targetRefs = targetRef ? [targetRef] : [] } = (object["spec"] as WorkloadTarget | undefined) ?? {};
  const namespace = metadata.namespace === rootNamespace ? {} : { namespace: metadata.namespace! };
  const { matchLabels } = selector ?? {};
  if (targetRefs.length === 0) return { ...namespace, ...(matchLabels && Object.keys(matchLabels).length > 0 && { labels: matchLabels }) };
  const isService = ({ group = "", kind }: { group?: string; kind: string }): boolean => (group === "" || group === "core") && kind === "Service";
  for (const ref of targetRefs) if (!isService(ref)) report.field("targetRefs", `${ref.kind} ${ref.name}: it is in force at Services and before pods alone`);
  const services = targetRefs.filter(isService).map(({ name, namespace: other }) => `${other ?? metadata.namespace}/${name}`);
  return services.length > 0 ? { services } : undefined;
}

export function placeOf({ namespace, labels, services }: Aim): string {
  if (services) return services.map((name) => `Service ${name}`).join(", ");
  const whose = namespace === undefined ? "all namespaces" : `namespace ${namespace}`;
  return `pods of ${whose}${labels ? ` with ${Object.entries(labels).map(([name, value]) => `${name}=${value}`).join(",")}` : ""}`;
}

function tokenRule(rule: JwtRule, at: string, report: Report): TokenRule {
  const { issuer, audiences, jwks, jwksUri = rule.jwks_uri, fromHeaders, fromParams, fromCookies, forwardOriginalToken, outputPayloadToHeader, outputClaimToHeaders, spaceDelimitedClaims, timeout } = rule;
  const refused = `all tokens of ${issuer ?? "its issuer"} are refused`;
  if (jwks !== undefined) {
    if (!isKeySet(jwks)) report.field(`${at}.jwks`, `is no JSON Web Key Set: ${refused}`);
  } else if (jwksUri === undefined) report.field(`${at}.issuer`, `is not asked for its keys; give jwks, or jwksUri within the cluster: ${refused}`);
  else if (!/^http:\/\/[^/.]+\.[^/.]+(\.svc(\.cluster\.local)?)?(:\d+)?\//.test(jwksUri)) report.field(`${at}.jwksUri`, `${jwksUri} is not within the cluster (http://SERVICE.NAMESPACE/…): ${refused}`);
  if (timeout !== undefined) report.field(`${at}.timeout`, "keys are waited for for five seconds");
  return {
    ...(issuer && { issuer }),
    ...(audiences?.length && { audiences }),
    ...(jwks !== undefined ? { jwks } : jwksUri !== undefined ? { jwksUri } : {}),
    ...(fromHeaders?.length && { headers: fromHeaders.map(({ name, prefix = "" }) => ({ name: name.toLowerCase(), prefix })) }),
    ...(fromParams?.length && { params: fromParams }),
    ...(fromCookies?.length && { cookies: fromCookies }),
    ...(forwardOriginalToken && { isForwarded: true }),
    ...(outputPayloadToHeader && { payloadHeader: outputPayloadToHeader }),
    ...(outputClaimToHeaders?.length && { claimHeaders: outputClaimToHeaders.map(({ header, claim }) => ({ header, claim })) }),
    ...(spaceDelimitedClaims?.length && { spaceDelimited: spaceDelimitedClaims }),
  };
}

function isKeySet(text: string): boolean {
  try {
    return Array.isArray((JSON.parse(text) as { keys?: unknown } | null)?.keys);
  } catch {
    return false;
  }
}
