import type { HttpFilter } from "../../../api/traffic.ts";
import { parseDuration } from "../../gateway/duration.ts";
import type { BackendReference } from "../../gateway/kinds.ts";
import type { Refusal } from "../effect.ts";
import type { Need, References } from "../references.ts";

type Backends = { backendRef?: BackendReference; backendRefs?: (BackendReference & { fallback?: boolean })[] };

export interface ExtAuthSpec {
  http?: Backends & { path?: string; pathOverride?: string; headersToBackend?: string[] };
  grpc?: Backends;
  headersToExtAuth?: string[];
  bodyToExtAuth?: { maxRequestBytes: number };
  timeout?: string;
  failOpen?: boolean;
  statusOnError?: number;
  contextExtensions?: { name: string; type?: string; value?: string; valueRef?: { group?: string; kind: string; name: string; key: string } }[];
}

/** Defaults are Envoy Gateway's. */
const timeoutMs = 10_000;

export function extAuthFilter(spec: ExtAuthSpec, references: References, refused: Refusal[]): { filters: HttpFilter[]; needs: Need[] } {
  const { http, grpc, headersToExtAuth, bodyToExtAuth, timeout, failOpen, statusOnError } = spec;
  const protocol = grpc ? "grpc" : "http";
  const { needs, upstreams } = backendsOf(grpc ?? http ?? {}, `extAuth.${protocol}`, references, refused, grpc && { suffix: "grpc", settings: { protocol: "h2c" } });
  const context = contextOf(spec, references, refused);
  if (context && http) refused.push({ field: "extAuth.contextExtensions", why: "is told over gRPC alone" });
  return {
    needs,
    filters: [
      {
        type: "extAuth",
        upstreams,
        protocol,
        ...(http?.path !== undefined && { pathPrefix: slashed(http.path) }),
        ...(http?.pathOverride !== undefined && { pathOverride: slashed(http.pathOverride) }),
        ...(headersToExtAuth && { headers: headersToExtAuth }),
        ...(http?.headersToBackend && { headersToBackend: http.headersToBackend }),
        ...(bodyToExtAuth && { bodyBytesMax: bodyToExtAuth.maxRequestBytes }),
        timeoutMs: timeout === undefined ? timeoutMs : parseDuration(timeout),
        ...(failOpen !== undefined && { failOpen }),
        ...(statusOnError !== undefined && { statusOnError }),
        ...(context && { context }),
      },
    ],
  };
}
const slashed = (path: string): string => (path.startsWith("/") ? path : `/${path}`);

/** Who is asked: `backendRef` is the older way to name one. */
export function backendsOf({ backendRef, backendRefs }: Backends, field: string, references: References, refused: Refusal[], own?: Parameters<References["backend"]>[2]): { needs: Need[]; upstreams: { upstream: string; weight: number }[] } {
  const needs: Need[] = [];
  const upstreams: { upstream: string; weight: number }[] = [];
  const named = backendRefs?.length ? backendRefs.map((reference, i) => ({ reference, at: `${field}.backendRefs[${i}]` })) : backendRef ? [{ reference: backendRef, at: `${field}.backendRef` }] : [];
  for (const { reference, at } of named) {
    const need = references.backend(reference, (why) => refused.push({ field: at, why }), own);
    if (!need || (reference.weight ?? 1) === 0) continue;
    needs.push(need);
    upstreams.push({ upstream: need.id, weight: reference.weight ?? 1 });
  }
  return { needs, upstreams };
}

function contextOf({ contextExtensions }: ExtAuthSpec, references: References, refused: Refusal[]): Record<string, string> | undefined {
  if (!contextExtensions?.length) return undefined;
  const context: Record<string, string> = {};
  for (const [i, { name, type = "Value", value = "", valueRef }] of contextExtensions.entries()) {
    const field = `extAuth.contextExtensions[${i}]`;
    const refuse = (why: string): void => void refused.push({ field: `${field}.valueRef`, why });
    let text: string | undefined = value;
    if (type === "ValueRef" && valueRef) {
      if (valueRef.kind === "ConfigMap") {
        const data = references.configMap(valueRef.name, refuse)?.data;
        text = data?.[valueRef.key];
        if (data && text === undefined) refuse(`names ConfigMap ${valueRef.name}, which has no ${valueRef.key}`);
      } else text = references.secretText({ kind: valueRef.kind, name: valueRef.name }, valueRef.key, refuse);
    }
    if (text !== undefined) Object.defineProperty(context, name, { value: text, enumerable: true, configurable: true, writable: true });
  }
  return context;
}
