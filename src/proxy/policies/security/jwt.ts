import type { HttpFilter, TokenProvider } from "../../../api/traffic.ts";
import { parseDuration } from "../../gateway/duration.ts";
import type { BackendReference } from "../../gateway/kinds.ts";
import type { Refusal } from "../effect.ts";
import type { Need, References } from "../references.ts";
import { backendsOf } from "./ext-auth.ts";

interface RemoteJwks {
  uri: string;
  cacheDuration?: string;
  failedRefetchDuration?: string;
  backendRef?: BackendReference;
  backendRefs?: BackendReference[];
}

export interface JwtSpec {
  optional?: boolean;
  failOpen?: boolean;
  providers: {
    name: string;
    issuer?: string;
    audiences?: string[];
    localJWKS?: { type?: string; inline?: string; valueRef?: { group?: string; kind: string; name: string } };
    remoteJWKS?: RemoteJwks;
    claimToHeaders?: { claim: string; header: string }[];
    extractFrom?: { headers?: { name: string; valuePrefix?: string }[]; params?: string[]; cookies?: string[] };
  }[];
}

/** Tokens go on to the program, as Envoy Gateway has it. */
export function jwtFilter({ optional, failOpen, providers }: JwtSpec, references: References, refused: Refusal[]): { filters: HttpFilter[]; needs: Need[] } {
  const needs: Need[] = [];
  const compiled = providers.map((provider, i): TokenProvider => {
    const { name, issuer, audiences, localJWKS, remoteJWKS, claimToHeaders, extractFrom: { headers, params, cookies } = {} } = provider;
    const field = `jwt.providers[${i}]`;
    const refuse = (inner: string, why: string): void => void refused.push({ field: `${field}.${inner}`, why });
    // Rules say by its name whose word they mean.
    if (providers.findIndex((other) => other.name === name) < i) refuse("name", `${name} is another provider's name already`);
    if ((localJWKS === undefined) === (remoteJWKS === undefined)) refuse("remoteJWKS", "or localJWKS must be given, and not both");
    const remote = remoteJWKS && remoteKeys(remoteJWKS, `${field}.remoteJWKS`, references, refused);
    if (remote) needs.push(...remote.needs);
    const jwks = localJWKS && localKeys(localJWKS, references, (why) => refuse("localJWKS", why));
    return {
      name,
      ...(issuer && { issuer }),
      ...(audiences?.length && { audiences }),
      ...(jwks !== undefined && { jwks }),
      ...(remote && { keys: remote.keys }),
      ...(headers?.length && { headers: headers.map(({ name: header, valuePrefix = "" }) => ({ name: header.toLowerCase(), prefix: valuePrefix })) }),
      ...(params?.length && { params }),
      ...(cookies?.length && { cookies }),
      isForwarded: true,
      ...(claimToHeaders?.length && { claimHeaders: claimToHeaders.map(({ claim, header }) => ({ header, claim })) }),
    };
  });
  return { needs, filters: [{ type: "jwt", providers: compiled, ...(optional && { optional }), ...(failOpen && { failOpen }) }] };
}

/** "jwks" of the ConfigMap, or else what it has first. */
function localKeys({ type = "Inline", inline, valueRef }: NonNullable<JwtSpec["providers"][number]["localJWKS"]>, references: References, refuse: (why: string) => void): string | undefined {
  let text = inline;
  if (type === "ValueRef") {
    if (valueRef?.kind !== "ConfigMap") return void refuse(`names ${valueRef?.kind ?? "nothing"}; ConfigMap is what may be named`);
    const data = references.configMap(valueRef.name, refuse)?.data;
    if (!data) return undefined;
    text = data["jwks"] ?? data[Object.keys(data).sort()[0] ?? ""];
  }
  if (text === undefined || !isKeySet(text)) return void refuse("is no JSON Web Key Set");
  return text;
}

function isKeySet(text: string): boolean {
  try {
    return Array.isArray((JSON.parse(text) as { keys?: unknown } | null)?.keys);
  } catch {
    return false;
  }
}

function remoteKeys({ uri, cacheDuration, failedRefetchDuration, backendRef, backendRefs }: RemoteJwks, field: string, references: References, refused: Refusal[]): { needs: Need[]; keys: NonNullable<TokenProvider["keys"]> } | undefined {
  const url = URL.parse(uri);
  if (!url || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "" || url.hash !== "") return void refused.push({ field: `${field}.uri`, why: `${JSON.stringify(uri)} must be an address of http or https` });
  let need: Need | undefined;
  if (backendRef || backendRefs?.length) {
    // A Service that is asked by https is called so: its certificate is for the address's name, by an authority that the system trusts, unless a BackendTLSPolicy says otherwise.
    const own = url.protocol === "https:" ? { suffix: `tls/${url.hostname}`, settings: { protocol: "http1" as const, tls: { serverName: url.hostname } } } : undefined;
    const named = { ...(backendRef && { backendRef }), ...(backendRefs && { backendRefs }) };
    const { needs } = backendsOf(named, field, references, refused, own);
    if (needs.length > 1) return void refused.push({ field: `${field}.backendRefs`, why: "may name one backend: keys are the same wherever they come from" });
    need = needs[0];
  } else need = references.url(uri, (why) => refused.push({ field: `${field}.uri`, why }));
  if (!need) return undefined;
  return {
    needs: [need],
    keys: {
      upstream: need.id,
      host: url.host,
      target: url.pathname + url.search,
      ...(cacheDuration !== undefined && { cacheMs: parseDuration(cacheDuration) }),
      ...(failedRefetchDuration !== undefined && { retryMs: parseDuration(failedRefetchDuration) }),
    },
  };
}
