import type { EdgeBinding } from "../../api/network.ts";
import { labelSelectorOf } from "../../api/selectors.ts";
import type { EdgeListener } from "../../api/traffic.ts";
import { keyPairOf } from "./certificates.ts";
import { condition } from "./conditions.ts";
import { type Condition, controllerName, type Gateway, type ListenerSet } from "./kinds.ts";
import { admits, type CompiledListener, compileListeners, frontendValidationOf } from "./listeners.ts";
import type { World } from "./world.ts";

/** An address for a Gateway, or why there is none; both where others that it asks for cannot be had. */
export type GatewayAddress = { value: string; reason?: "AddressNotUsable"; message?: string } | { value?: undefined; reason: "UnsupportedAddress" | "AddressNotUsable"; message: string };

/** Who gives Gateways their addresses: the same one again after a restart. */
export interface AddressBook {
  addressOf(gateway: Gateway): GatewayAddress;
  /** What became of a listener there; undefined: not known yet. */
  bindingOf(listener: EdgeListener): EdgeBinding | undefined;
}

export interface CompiledGateway {
  key: string;
  generation: number | undefined;
  listeners: CompiledListener[];
  /** Without observedGeneration and times. */
  conditions: Condition[];
  address: string | undefined;
  sets: { set: ListenerSet; conditions: Condition[]; listeners: CompiledListener[] }[];
  attachedListenerSets: number;
  /** Routes that ask for no Gateway by name come here. */
  isDefault: boolean;
  /** What of it is not honoured, though it is served. */
  notes: string[];
  /** What is shown to backends that ask for a certificate. */
  backendCertificate: { certificate: string; key: string } | undefined;
}

/** Undefined when the Gateway's class is not ours. */
export function compileGateway(world: World, gateway: Gateway, addresses: AddressBook): CompiledGateway | undefined {
  const gatewayClass = world.gatewayClass(gateway.spec.gatewayClassName);
  if (gatewayClass?.spec.controllerName !== controllerName) return undefined;
  const { namespace, name, generation } = gateway.metadata;
  const key = `${namespace}/${name}`;
  const address = addresses.addressOf(gateway);
  const refused = refusalOf(gateway) ?? (address.reason === "UnsupportedAddress" ? address : undefined);

  const allowed = gateway.spec.allowedListeners?.namespaces;
  const selector = allowed?.selector && labelSelectorOf(allowed.selector);
  const sets = world.listenerSetsOf(key).sort(byAge);
  const isLetIn = (set: ListenerSet): boolean => admits(world, allowed?.from ?? "None", selector, namespace!, set.metadata.namespace!);
  const listeners = compileListeners(world, gateway, sets.filter(isLetIn), address.value ?? "");
  if (refused || address.value === undefined) {
    for (const listener of listeners) {
      listener.edge = undefined;
      listener.conditions = listener.conditions.map((entry) => (entry.type === "Programmed" ? condition("Programmed", false, "Pending", refused?.message ?? address.message ?? "") : entry));
    }
  }

  for (const listener of listeners) if (listener.edge) listener.conditions = withBinding(listener.conditions, listener.edge, addresses.bindingOf(listener.edge));

  const notes = notesOf(gateway, address.value);
  const own = listeners.filter((listener) => listener.owner.kind === "Gateway");
  const isAccepted = ({ conditions }: CompiledListener): boolean => conditions.some(({ type, status }) => type === "Accepted" && status === "True");
  const invalid = own.filter((listener) => !isAccepted(listener));
  const accepted = refused
    ? condition("Accepted", false, refused.reason, refused.message)
    : invalid.length > 0
      ? condition("Accepted", invalid.length < own.length, "ListenersNotValid", `listeners that are not valid: ${invalid.map((listener) => listener.name).join(", ")}`)
      : condition("Accepted", true, "Accepted", ["the Gateway is valid", ...notes].join("; "));
  const programmed =
    accepted.status === "False"
      ? condition("Programmed", false, "Invalid", accepted.message)
      : address.reason
        ? condition("Programmed", false, address.reason, address.message ?? "")
        : own.length > 0 && !own.some(isProgrammed)
          ? condition("Programmed", false, own.some((listener) => listener.edge) ? "Pending" : "Invalid", own.map((listener) => listener.conditions.find(({ type }) => type === "Programmed")!.message)[0]!)
          : condition("Programmed", true, "Programmed", `served at ${address.value}`);

  const reference = gateway.spec.tls?.backend?.clientCertificateRef;
  const backend = reference && keyPairOf(world, { kind: "Gateway", namespace: namespace! }, reference, "InvalidClientCertificateRef");
  const resolved = backend?.unusable ? condition("ResolvedRefs", false, backend.unusable.reason, backend.unusable.message) : condition("ResolvedRefs", true, "ResolvedRefs", "all references are resolved");
  const insecure = (gateway.spec.listeners ?? []).some(({ protocol, port }) => protocol === "HTTPS" && frontendValidationOf(gateway, port)?.mode === "AllowInsecureFallback");

  const compiledSets = sets.map((set) => compileSet(set, isLetIn(set), accepted.status === "True", listeners));
  return {
    key,
    generation,
    listeners,
    address: address.value,
    isDefault: gateway.spec.defaultScope === "All",
    notes,
    conditions: [
      accepted,
      programmed,
      resolved,
      ...(insecure ? [condition("InsecureFrontendValidationMode", true, "ConfigurationChanged", "connections without a valid client certificate are let in")] : []),
      ...(gateway.spec.defaultScope === "All" ? [condition("DefaultGateway", true, "DefaultGateway", "Gateway has default scope All")] : []),
    ],
    sets: compiledSets,
    attachedListenerSets: compiledSets.filter(({ conditions }) => conditions.some(({ type, status }) => type === "Accepted" && status === "True")).length,
    backendCertificate: backend?.found,
  };
}

const isProgrammed = ({ conditions }: CompiledListener): boolean => conditions.some(({ type, status }) => type === "Programmed" && status === "True");

/** The socket has the last word. */
function withBinding(conditions: readonly Condition[], { address, port }: EdgeListener, binding: EdgeBinding | undefined): Condition[] {
  const programmed = !binding
    ? condition("Programmed", false, "Pending", "the address is being bound")
    : binding.boundPort === undefined
      ? condition("Programmed", false, "PortUnavailable", `${address}:${port} cannot be listened on: ${binding.code === "EADDRINUSE" ? "another program has it" : (binding.code ?? "the reason is not known")}`)
      : binding.boundPort === port
        ? undefined
        : condition("Programmed", true, "Programmed", `served at ${address}:${binding.boundPort}, because this user may not listen on port ${port}`);
  return programmed ? conditions.map((entry) => (entry.type === "Programmed" ? programmed : entry)) : [...conditions];
}

function compileSet(set: ListenerSet, letIn: boolean, parentAccepted: boolean, all: readonly CompiledListener[]): CompiledGateway["sets"][number] {
  const no = (reason: string, message: string) => ({ set, listeners: [], conditions: [condition("Accepted", false, reason, message), condition("Programmed", false, reason, message)] });
  if (!letIn) return no("NotAllowed", "allowedListeners of the Gateway does not let this set in");
  if (!parentAccepted) return no("ParentNotAccepted", "the Gateway is not accepted");
  const listeners = all.filter(({ owner }) => owner.kind === "ListenerSet" && owner.namespace === set.metadata.namespace && owner.name === set.metadata.name);
  const isTrue = (conditions: readonly Condition[], wanted: string) => conditions.some(({ type, status }) => type === wanted && status === "True");
  // Of a Gateway's own listener a missing certificate is a matter of the listener alone; a set without a good one is not accepted.
  const valid = listeners.filter(({ conditions }) => isTrue(conditions, "Accepted") && isTrue(conditions, "ResolvedRefs"));
  const served = valid.some(isProgrammed);
  const invalid = listeners.filter((listener) => !valid.includes(listener)).map(({ name }) => name);
  return {
    set,
    listeners,
    conditions: [
      invalid.length === 0 ? condition("Accepted", true, "Accepted", "the set is valid") : condition("Accepted", valid.length > 0, "ListenersNotValid", `listeners that are not valid: ${invalid.join(", ")}`),
      served ? condition("Programmed", true, "Programmed", "the set is served") : condition("Programmed", false, invalid.length > 0 ? "ListenersNotValid" : "Invalid", "none of its listeners can be served"),
    ],
  };
}

/** Parameters would be an own kind of ours, of which there is none: whatever is named is not there. */
function refusalOf({ spec }: Gateway): { reason: string; message: string } | undefined {
  const parameters = spec.infrastructure?.parametersRef;
  return parameters && { reason: "InvalidParameters", message: `infrastructure.parametersRef: ${parameters.group ?? ""}/${parameters.kind} ${parameters.name} is not a kind that configures Wherry; leave it out` };
}

/** What cannot be done for it, and takes nothing from what is asked otherwise. */
function notesOf({ spec }: Gateway, address: string | undefined): string[] {
  const put = (["labels", "annotations"] as const).filter((field) => Object.keys(spec.infrastructure?.[field] ?? {}).length > 0);
  const unused = (spec.addresses ?? []).flatMap(({ value }) => (value && address !== undefined && value !== address ? [value] : []));
  return [
    ...(put.length > 0 ? [`infrastructure.${put.join(" and infrastructure.")}: nothing is made for a Gateway that could carry them`] : []),
    ...(unused.length > 0 ? [`addresses: ${unused.join(", ")}: a Gateway has one address here, which is ${address}`] : []),
  ];
}

/** Older first, then by name: the precedence of Gateway API. */
export function byAge(a: { metadata: { creationTimestamp: string; namespace?: string; name: string } }, b: typeof a): number {
  const compare = (x: string, y: string): number => (x < y ? -1 : x > y ? 1 : 0);
  return compare(a.metadata.creationTimestamp, b.metadata.creationTimestamp) || compare(a.metadata.namespace ?? "", b.metadata.namespace ?? "") || compare(a.metadata.name, b.metadata.name);
}
