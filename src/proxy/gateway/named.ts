import type { CompiledGateway } from "./gateways.ts";
import type { Gateway } from "./kinds.ts";

/** Services of all references, whether they exist or not. */
export function servicesNamed(route: { metadata: Gateway["metadata"]; spec: { rules?: readonly object[] } }): string[] {
  const named = new Set<string>();
  const look = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(look);
    if (typeof value !== "object" || value === null) return;
    for (const [field, inner] of Object.entries(value)) {
      if (field === "backendRefs" || field === "backendRef") {
        for (const { group = "", kind = "Service", namespace = route.metadata.namespace, name } of [inner].flat() as { group?: string; kind?: string; namespace?: string; name: string }[]) {
          if (group === "" && kind === "Service") named.add(`${namespace}/${name}`);
        }
      }
      look(inner);
    }
  };
  look(route.spec.rules ?? []);
  return [...named];
}

/** "Secret/NAMESPACE/NAME" of every certificate and authority named, there or not. */
export function filesNamed(gateway: Gateway, { sets }: CompiledGateway): string[] {
  const named = new Set<string>();
  const look = (value: unknown, namespace: string): void => {
    if (Array.isArray(value)) return value.forEach((inner) => look(inner, namespace));
    if (typeof value !== "object" || value === null) return;
    for (const [field, inner] of Object.entries(value)) {
      if (field === "certificateRefs" || field === "caCertificateRefs" || field === "clientCertificateRef") {
        for (const reference of [inner].flat() as { kind?: string; namespace?: string; name: string }[]) named.add(`${reference.kind ?? "Secret"}/${reference.namespace ?? namespace}/${reference.name}`);
      }
      look(inner, namespace);
    }
  };
  look(gateway.spec, gateway.metadata.namespace!);
  for (const { set } of sets) look(set.spec, set.metadata.namespace!);
  return [...named];
}
