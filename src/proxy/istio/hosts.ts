import type { KubeObject } from "../../api/meta.ts";

const clusterDomain = "svc.cluster.local";

/** A name without a dot is one of the object's own namespace; any other is a whole name already, as Istio has it. */
export function fullName(host: string, namespace: string): string {
  const lower = host.toLowerCase();
  return lower.includes(".") || lower === "*" ? lower : `${lower}.${namespace}.${clusterDomain}`;
}

export const serviceHost = (namespace: string, name: string): string => `${name}.${namespace}.${clusterDomain}`;

/** "NAMESPACE/NAME" of the Service that a whole name means. */
export function serviceOfHost(host: string): string | undefined {
  const [name, namespace, ...rest] = host.split(".");
  return name !== undefined && name !== "*" && namespace !== undefined && rest.join(".") === clusterDomain ? `${namespace}/${name}` : undefined;
}

/** How well a pattern ("*", "*.shop.svc.cluster.local", or a whole name) fits a name: the higher the more specific; 0: not. */
export function fit(pattern: string, host: string): number {
  if (pattern === host) return Number.MAX_SAFE_INTEGER;
  if (!pattern.startsWith("*")) return 0;
  return pattern === "*" || host.endsWith(pattern.slice(1)) ? pattern.length : 0;
}

/** Whose clients an object is for: those of all namespaces, or of these. "." is its own, "~" nobody's. */
export function exportedTo({ metadata, spec }: KubeObject): "all" | ReadonlySet<string> {
  const list = (spec?.["exportTo"] ?? []) as string[];
  if (list.length === 0 || list.includes("*")) return "all";
  return new Set(list.filter((entry) => entry !== "~").map((entry) => (entry === "." ? metadata.namespace! : entry)));
}

/** Undefined are clients of whatever namespace is not named anywhere, and programs that are no pods. */
export function isVisible(exported: "all" | ReadonlySet<string>, client: string | undefined): boolean {
  return exported === "all" || (client !== undefined && exported.has(client));
}
