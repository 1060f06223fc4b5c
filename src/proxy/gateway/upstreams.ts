import type { Upstream } from "../../api/traffic.ts";
import type { ResolvedBackend } from "./backends.ts";
import { needsOneClient } from "../policies/backend-connection.ts";
import { authoritiesOf, type Unusable } from "./certificates.ts";
import { condition } from "./conditions.ts";
import { byAge } from "./gateways.ts";
import type { BackendTlsPolicy, Condition } from "./kinds.ts";
import type { World } from "./world.ts";

/** By a Service port's appProtocol, as Gateway API and Kubernetes name them. */
const protocols: Record<string, Upstream["protocol"]> = { "kubernetes.io/h2c": "h2c", h2c: "h2c", grpc: "h2c", http2: "h2c", https: "http1" };

/** How one Service port is called. `grpc`: a GRPCRoute leads to it, which says HTTP/2 when the port says nothing. */
export function compileUpstream(world: World, { id, namespace, service, port, settings }: NonNullable<ResolvedBackend["upstream"]>, grpc: boolean, clientCertificate: { certificate: string; key: string } | undefined): Upstream {
  const declared = world.service(`${namespace}/${service}`)?.spec?.ports?.find((candidate) => candidate.port === port);
  const protocol = settings?.protocol ?? protocols[declared?.appProtocol ?? ""] ?? (grpc ? "h2c" : "http1");
  const base: Upstream = { id, namespace, service, port, protocol, ...settings };
  if (isForMany(base)) return { ...base, error: { status: 500, reason: needsOneClient } };
  const policy = policyOf(world, `${namespace}/${service}`, declared?.name);
  if (!policy) return base;
  const { authorities, unusable } = validationOf(world, policy);
  const unknown = unknownOptions(policy);
  if (unknown) return { ...base, error: { status: 500, reason: unknown } };
  if (authorities === undefined) return { ...base, error: { status: 500, reason: unusable[0]!.message } };
  const { hostname, subjectAltNames } = policy.spec.validation;
  const altNames = subjectAltNames?.map(({ type, hostname: name, uri }) => (type === "URI" ? uri! : name!));
  return {
    ...base,
    protocol: protocol === "h2c" ? "h2" : "http1",
    tls: { serverName: hostname, ...(authorities && { authorities }), ...(altNames && { altNames }), ...(clientCertificate && { certificate: clientCertificate }) },
  };
}

/** A connection would have the requests of many clients, and is to say whose it is. */
export const isForMany = ({ proxyProtocol, protocol }: Upstream): boolean => proxyProtocol !== undefined && protocol !== "http1";

/** One that names the port's section goes before one that means the whole Service; else the oldest. */
export function policyOf(world: World, service: string, portName: string | undefined): BackendTlsPolicy | undefined {
  const name = service.slice(service.indexOf("/") + 1);
  const targeting = (section: string | undefined) =>
    world
      .policiesOf(service)
      .filter((policy) => policy.spec.targetRefs.some((target) => target.group === "" && target.kind === "Service" && target.name === name && target.sectionName === section))
      .sort(byAge)[0];
  return (portName === undefined ? undefined : targeting(portName)) ?? targeting(undefined);
}

/** They are other implementations', and may be such that protect. */
function unknownOptions({ spec: { options = {} } }: BackendTlsPolicy): string | undefined {
  const names = Object.keys(options);
  return names.length > 0 ? `options: ${names.join(", ")} is nothing that Wherry knows; what the policy is for is answered with 500` : undefined;
}

/** Targets that it has no effect on. */
export function policyNotes({ spec }: BackendTlsPolicy): string[] {
  const others = spec.targetRefs.filter(({ group, kind }) => group !== "" || kind !== "Service");
  return others.length > 0 ? [`targetRefs: ${others.map(({ group, kind, name }) => `${group === "" ? "core" : group}/${kind} ${name}`).join(", ")}: only Services are called by TLS`] : [];
}

/** `authorities`: "" for what the system trusts, undefined when none can be used. */
function validationOf(world: World, policy: BackendTlsPolicy): { authorities: string | undefined; unusable: Unusable[] } {
  const { caCertificateRefs = [], wellKnownCACertificates } = policy.spec.validation;
  if (wellKnownCACertificates === "System") return { authorities: "", unusable: [] };
  const from = { kind: "BackendTLSPolicy", namespace: policy.metadata.namespace! };
  const results = caCertificateRefs.map((reference) => authoritiesOf(world, from, { kind: "ConfigMap", ...reference, namespace: from.namespace }, { invalid: "InvalidCACertificateRef", kind: "InvalidKind" }));
  const found = results.flatMap((result) => result.found ?? []);
  return { authorities: found.length > 0 ? found.join("\n") : undefined, unusable: results.flatMap((result) => result.unusable ?? []) };
}

/** What a policy's status says to each Gateway whose routes lead to its Services. */
export function policyConditions(world: World, policy: BackendTlsPolicy): Condition[] {
  const { authorities, unusable } = validationOf(world, policy);
  const services = policy.spec.targetRefs.filter(({ group, kind }) => group === "" && kind === "Service");
  const missing = services.find(({ name }) => !world.service(`${policy.metadata.namespace}/${name}`));
  const older = services.every((target) => {
    const winner = world
      .policiesOf(`${policy.metadata.namespace}/${target.name}`)
      .filter((other) => other.spec.targetRefs.some(({ name, sectionName }) => name === target.name && sectionName === target.sectionName))
      .sort(byAge)[0];
    return winner !== undefined && winner.metadata.uid !== policy.metadata.uid;
  });
  const unknown = unknownOptions(policy);
  const accepted = missing
    ? condition("Accepted", false, "TargetNotFound", `targetRefs: Service ${missing.name} does not exist`)
    : older
      ? condition("Accepted", false, "Conflicted", "an older policy has the same targets")
      : authorities === undefined
        ? condition("Accepted", false, "NoValidCACertificate", `none of the authorities can be used: ${unusable.map(({ message }) => message).join("; ")}`)
        : unknown
          ? condition("Accepted", false, "Invalid", unknown)
          : condition("Accepted", true, "Accepted", "the policy is in force");
  const resolved = unusable.length > 0 ? condition("ResolvedRefs", false, unusable[0]!.reason, unusable.map(({ message }) => message).join("; ")) : condition("ResolvedRefs", true, "ResolvedRefs", "all references are resolved");
  return [accepted, resolved];
}
