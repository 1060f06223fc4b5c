import { labelSelectorOf } from "../../api/selectors.ts";
import type { EdgeListener } from "../../api/traffic.ts";
import { authoritiesOf, keyPairOf, type Unusable } from "./certificates.ts";
import { condition } from "./conditions.ts";
import { type Condition, type FrontendValidation, type Gateway, gatewayGroup, type Listener, type ListenerSet, type ListenerStatus, type RouteKind } from "./kinds.ts";
import type { World } from "./world.ts";

/** One listener of a Gateway or of a ListenerSet, as routes and status see it. */
export interface CompiledListener {
  /** As {@link EdgeListener.id}. */
  id: string;
  /** The Gateway it belongs to. */
  gateway: string;
  owner: { kind: "Gateway" | "ListenerSet"; namespace: string; name: string };
  name: string;
  port: number;
  protocol: string;
  /** Lower case; "" for every name. */
  hostname: string;
  tlsMode: "terminate" | "passthrough" | undefined;
  /** What may be attached, by kind and by namespace of the route. */
  routeKinds: RouteKind[];
  admits(routeNamespace: string): boolean;
  /** Routes may be attached: it is neither in conflict nor of an unknown protocol. Its certificate may still be missing. */
  attachable: boolean;
  /** What the engine serves; absent when it cannot. */
  edge: EdgeListener | undefined;
  conditions: Condition[];
}

const protocols: Record<string, { kinds: (mode: string | undefined) => RouteKind[]; transport: "tcp" | "udp"; layer: string; tls: boolean; named: boolean }> = {
  HTTP: { kinds: () => ["HTTPRoute", "GRPCRoute"], transport: "tcp", layer: "HTTP", tls: false, named: true },
  HTTPS: { kinds: () => ["HTTPRoute", "GRPCRoute"], transport: "tcp", layer: "TLS", tls: true, named: true },
  TLS: { kinds: () => ["TLSRoute"], transport: "tcp", layer: "TLS", tls: true, named: true },
  TCP: { kinds: () => ["TCPRoute"], transport: "tcp", layer: "TCP", tls: false, named: false },
  UDP: { kinds: () => ["UDPRoute"], transport: "udp", layer: "UDP", tls: false, named: false },
};

interface Draft {
  listener: Listener;
  owner: CompiledListener["owner"];
  /** Of equal listeners those of the lower rank win; equals of one rank are all in conflict. */
  rank: number;
}

/** The listeners of a Gateway and of the sets that were let in, oldest set first. */
export function compileListeners(world: World, gateway: Gateway, sets: readonly ListenerSet[], address: string): CompiledListener[] {
  const drafts: Draft[] = [
    ...(gateway.spec.listeners ?? []).map((listener) => ({ listener, owner: ownerOf("Gateway", gateway), rank: 0 })),
    ...sets.flatMap((set, index) => set.spec.listeners.map((listener) => ({ listener, owner: ownerOf("ListenerSet", set), rank: index + 1 }))),
  ];
  const conflicts = conflictsOf(drafts);
  return drafts.map((draft) => compileListener(world, gateway, draft, conflicts.get(draft), address));
}

const ownerOf = (kind: CompiledListener["owner"]["kind"], { metadata }: Gateway | ListenerSet): CompiledListener["owner"] => ({ kind, namespace: metadata.namespace!, name: metadata.name });
const nameOf = ({ hostname, protocol }: Listener): string => (protocols[protocol]?.named ? (hostname ?? "").toLowerCase() : "");

/** Which listeners want a port in a way that cannot be shared. One that has lost to an older one is in nobody's way any more. */
function conflictsOf(drafts: readonly Draft[]): Map<Draft, Unusable> {
  const conflicts = new Map<Draft, Unusable>();
  let standing: Draft[] = [];
  for (const rank of [...new Set(drafts.map((draft) => draft.rank))].toSorted((a, b) => a - b)) {
    const lose = (candidates: readonly Draft[], others: readonly Draft[]): Draft[] =>
      candidates.filter((draft) => {
        const conflict = conflictOf(draft, others);
        if (conflict) conflicts.set(draft, conflict);
        return !conflict;
      });
    const left = lose(drafts.filter((draft) => draft.rank === rank), standing);
    lose(left, left);
    standing = [...standing, ...left];
  }
  return conflicts;
}

function conflictOf(draft: Draft, others: readonly Draft[]): Unusable | undefined {
  const own = protocols[draft.listener.protocol];
  if (!own) return undefined;
  let conflict: Unusable | undefined;
  for (const other of others) {
    const theirs = protocols[other.listener.protocol];
    if (other === draft || !theirs || other.listener.port !== draft.listener.port || theirs.transport !== own.transport) continue;
    const at = `${other.owner.kind === "Gateway" ? "listener" : `${other.owner.namespace}/${other.owner.name}`} ${other.listener.name}`;
    if (theirs.layer !== own.layer) return { reason: "ProtocolConflict", message: `port ${draft.listener.port} is ${other.listener.protocol} for ${at}` };
    if (nameOf(other.listener) === nameOf(draft.listener)) conflict = { reason: "HostnameConflict", message: `${at} has the same port and host name` };
  }
  return conflict;
}

function compileListener(world: World, gateway: Gateway, { listener, owner }: Draft, conflict: Unusable | undefined, address: string): CompiledListener {
  const protocol = protocols[listener.protocol];
  const from = { kind: owner.kind, namespace: owner.namespace };
  const mode = protocol?.tls ? (listener.tls?.mode === "Passthrough" ? "passthrough" : "terminate") : undefined;
  const gatewayKey = `${gateway.metadata.namespace}/${gateway.metadata.name}`;
  const id = owner.kind === "Gateway" ? `${gatewayKey}/${listener.name}` : `${gatewayKey}/${owner.namespace}/${owner.name}/${listener.name}`;
  const possible = protocol?.kinds(listener.tls?.mode) ?? [];
  const wanted = listener.allowedRoutes?.kinds ?? [];
  const isPossible = ({ group = gatewayGroup, kind }: { group?: string; kind: string }): boolean => group === gatewayGroup && possible.includes(kind as RouteKind);
  const routeKinds = wanted.length === 0 ? possible : possible.filter((kind) => wanted.some((other) => other.kind === kind && isPossible(other)));
  const wrongKind = wanted.find((kind) => !isPossible(kind));

  const unresolved: Unusable[] = [];
  if (wrongKind) unresolved.push({ reason: "InvalidRouteKinds", message: `allowedRoutes.kinds: ${wrongKind.group ?? gatewayGroup}/${wrongKind.kind} cannot be attached to ${listener.protocol}` });
  const certificates: { certificate: string; key: string }[] = [];
  if (mode === "terminate") {
    for (const reference of listener.tls?.certificateRefs ?? []) {
      const { found, unusable } = keyPairOf(world, from, reference);
      if (found) certificates.push(found);
      else unresolved.push(unusable!);
    }
    if (certificates.length === 0 && unresolved.length === 0) unresolved.push({ reason: "InvalidCertificateRef", message: "tls.certificateRefs: a listener that terminates TLS needs a certificate" });
  }
  const validation = listener.protocol === "HTTPS" ? frontendValidationOf(gateway, listener.port) : undefined;
  const client = validation && validate(world, { kind: "Gateway", namespace: gateway.metadata.namespace! }, validation);
  if (client) unresolved.push(...client.unusable);
  const closed = client !== undefined && client.authorities === "" && validation!.mode !== "AllowInsecureFallback";

  const options = Object.keys(listener.tls?.options ?? {});
  // Other implementations ask for client certificates by such options: to pass one over could open what is to be closed.
  const unknown = options.length > 0 ? { reason: "Invalid", message: `tls.options: ${options.join(", ")} is nothing that Wherry knows, so the listener is not served; client certificates are asked for by tls.frontend of the Gateway` } : undefined;
  const accepted = !protocol
    ? { reason: "UnsupportedProtocol", message: `protocol: ${listener.protocol} is not one of ${Object.keys(protocols).join(", ")}` }
    : (conflict ?? (closed ? { reason: "NoValidCACertificate", message: "none of the authorities for client certificates can be used" } : unknown));
  const selector = selectorOf(listener);
  const serves = !accepted && routeKinds.length > 0 && (mode !== "terminate" || certificates.length > 0);
  const hostname = nameOf(listener);
  return {
    id,
    gateway: gatewayKey,
    owner,
    name: listener.name,
    port: listener.port,
    protocol: listener.protocol,
    hostname,
    tlsMode: mode,
    routeKinds,
    admits: (namespace) => admits(world, listener.allowedRoutes?.namespaces?.from ?? "Same", selector, owner.namespace, namespace),
    attachable: protocol !== undefined && !conflict,
    edge: serves
      ? {
          id,
          address,
          port: listener.port,
          protocol: listener.protocol as EdgeListener["protocol"],
          ...(hostname && { hostname }),
          ...(mode && { tls: { mode, certificates, ...(client && client.authorities !== "" && { clientValidation: { authorities: client.authorities, optional: validation!.mode === "AllowInsecureFallback" } }) } }),
        }
      : undefined,
    conditions: [
      accepted ? condition("Accepted", false, accepted.reason, accepted.message) : condition("Accepted", true, "Accepted", "the listener is valid"),
      unresolved.length > 0 ? condition("ResolvedRefs", false, unresolved[0]!.reason, unresolved.map(({ message }) => message).join("; ")) : condition("ResolvedRefs", true, "ResolvedRefs", "all references are resolved"),
      conflict ? condition("Conflicted", true, conflict.reason, conflict.message) : condition("Conflicted", false, "NoConflicts", "no other listener is in its way"),
      serves ? condition("Programmed", true, "Programmed", "the listener is served") : condition("Programmed", false, conflict?.reason ?? "Invalid", accepted?.message ?? unresolved[0]?.message ?? "no kind of route can be attached"),
    ],
  };
}

export function listenerStatus(listener: CompiledListener, attachedRoutes: number): ListenerStatus {
  return { name: listener.name, supportedKinds: listener.routeKinds.map((kind) => ({ group: gatewayGroup, kind })), attachedRoutes, conditions: listener.conditions };
}

/** What a port of its own says goes before the default. */
export function frontendValidationOf(gateway: Gateway, port: number): FrontendValidation | undefined {
  const frontend = gateway.spec.tls?.frontend;
  const own = frontend?.perPort?.find((entry) => entry.port === port);
  return own ? own.tls?.validation : frontend?.default?.validation;
}

function validate(world: World, from: { kind: string; namespace: string }, { caCertificateRefs = [] }: FrontendValidation): { authorities: string; unusable: Unusable[] } {
  const results = caCertificateRefs.map((reference) => authoritiesOf(world, from, reference, { invalid: "InvalidCACertificateRef", kind: "InvalidCACertificateKind" }));
  return { authorities: results.flatMap(({ found }) => found ?? []).join("\n"), unusable: results.flatMap(({ unusable }) => unusable ?? []) };
}

const selectorOf = (listener: Listener) => {
  const selector = listener.allowedRoutes?.namespaces?.selector;
  try {
    return selector && labelSelectorOf(selector);
  } catch {
    return undefined;
  }
};

/** `from` and `selector` of allowedRoutes and of allowedListeners. */
export function admits(world: World, from: string, selector: ReturnType<typeof labelSelectorOf>, own: string, namespace: string): boolean {
  if (from === "All") return true;
  if (from === "Same") return namespace === own;
  if (from !== "Selector") return false;
  const labels = world.namespace(namespace)?.metadata.labels;
  return selector !== undefined && selector.matches(labels ?? {});
}
