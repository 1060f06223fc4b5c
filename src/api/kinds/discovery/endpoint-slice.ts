import { isIPv4, isIPv6 } from "node:net";
import { duplicate, type FieldError, invalid, notSupported, required, tooMany } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { ipWarnings, validateIP, validateNonSpecialIP } from "../../validation/address.ts";
import { checked, each, immutable, oneOf, semanticEqual } from "../../validation/checks.ts";
import { dns1123Label, dns1123Subdomain, labelValue, nameIsDnsSubdomain, qualifiedName } from "../../validation/names.ts";
import { validateLabels } from "../../validation/metadata.ts";
import { ageOf, name, shortList, text } from "../columns.ts";

const endpointsMax = 1000;
const addressesMax = 100;
const portsMax = 20_000;
const addressTypes = ["FQDN", "IPv4", "IPv6"];

/** Of a type that is not known, addresses are not looked at. */
function validateAddress(path: string, list: string, type: string, address: string): FieldError[] {
  if (type === "FQDN") return fullyQualified(path, address);
  if (type !== "IPv4" && type !== "IPv6") return [];
  const wrong = validateIP(path, address);
  if (wrong.length > 0) return wrong;
  return [...((type === "IPv4" ? isIPv4 : isIPv6)(address) ? [] : [invalid(list, address, `must be an ${type} address`)]), ...validateNonSpecialIP(path, address)];
}

/** Source: k8s.io/apimachinery/pkg/util/validation, IsFullyQualifiedDomainName. */
function fullyQualified(path: string, name: string): FieldError[] {
  if (name === "") return [required(path)];
  const bare = name.endsWith(".") ? name.slice(0, -1) : name;
  const wrong = dns1123Subdomain(bare);
  if (wrong.length > 0) return [invalid(path, bare, wrong.join(","))];
  const labels = bare.split(".");
  if (labels.length < 2) return [invalid(path, bare, "should be a domain with at least two segments separated by dots")];
  const label = labels.find((each) => dns1123Label(each).length > 0);
  return label === undefined ? [] : [invalid(path, label, dns1123Label(label).join(","))];
}

const hintsMax = 8;

/** For which zones or nodes an endpoint is meant; each once. */
function validateHints(path: string, hints: any): FieldError[] {
  const errors: FieldError[] = [];
  for (const [field, check] of [["forZones", labelValue], ["forNodes", (name: string) => nameIsDnsSubdomain(name, false)]] as const) {
    const list: { name?: string }[] = hints[field] ?? [];
    if (list.length > hintsMax) return [...errors, tooMany(`${path}.${field}`, list.length, hintsMax)];
    const names = list.map(({ name = "" }) => name);
    errors.push(...each(`${path}.${field}`, names, (name, at, index) => [...(names.indexOf(name) < index ? [duplicate(`${at}.name`, name)] : []), ...checked(`${at}.name`, name, check)]));
  }
  return errors;
}

const topologyMax = 16;

function validateEndpoint(path: string, type: string, endpoint: any): FieldError[] {
  const errors: FieldError[] = [];
  const addresses: string[] = endpoint.addresses ?? [];
  if (addresses.length === 0) errors.push(required(`${path}.addresses`, "must contain at least 1 address"));
  else if (addresses.length > addressesMax) errors.push(tooMany(`${path}.addresses`, addresses.length, addressesMax));
  errors.push(...each(`${path}.addresses`, addresses, (address, at) => validateAddress(at, `${path}.addresses`, type, address)));
  if (endpoint.nodeName !== undefined) errors.push(...nameIsDnsSubdomain(endpoint.nodeName, false).map((text) => invalid(`${path}.nodeName`, endpoint.nodeName, text)));
  const topology = Object.keys(endpoint.deprecatedTopology ?? {});
  if (topology.length > topologyMax) errors.push(tooMany(`${path}.deprecatedTopology`, topology.length, topologyMax));
  errors.push(...validateLabels(endpoint.deprecatedTopology, `${path}.deprecatedTopology`));
  if (endpoint.hostname !== undefined) errors.push(...checked(`${path}.hostname`, endpoint.hostname, dns1123Label));
  return endpoint.hints ? [...errors, ...validateHints(`${path}.hints`, endpoint.hints)] : errors;
}

function validatePorts(ports: readonly any[]): FieldError[] {
  if (ports.length > portsMax) return [tooMany("ports", ports.length, portsMax)];
  const names = new Set<string>();
  return each<any>("ports", ports, (port, at) => {
    const errors: FieldError[] = port.name ? checked(`${at}.name`, port.name, dns1123Label) : [];
    if (names.has(port.name ?? "")) errors.push(duplicate(`${at}.name`, port.name ?? ""));
    names.add(port.name ?? "");
    if (!["SCTP", "TCP", "UDP"].includes(port.protocol)) errors.push(notSupported(`${at}.protocol`, port.protocol, ["SCTP", "TCP", "UDP"]));
    // Whoever forwards to a number that is none finds out; upstream does not look at it.
    return [...errors, ...(port.appProtocol === undefined ? [] : checked(`${at}.appProtocol`, port.appProtocol, qualifiedName))];
  });
}

function validate(object: KubeObject, old?: KubeObject): FieldError[] {
  const { addressType = "" } = object as { addressType?: string };
  // Null when nobody gave any.
  const endpoints: any[] = object["endpoints"] ?? [];
  const errors = oneOf("addressType", addressType, addressTypes);
  errors.push(...validatePorts(object["ports"] ?? []));
  // What older servers took may stay.
  if (old && semanticEqual(endpoints, old["endpoints"] ?? [])) return errors;
  return [...errors, ...(endpoints.length > endpointsMax ? [tooMany("endpoints", endpoints.length, endpointsMax)] : each("endpoints", endpoints, (endpoint, at) => validateEndpoint(at, addressType, endpoint)))];
}

/** The old field is not written through this version, unless nothing of the endpoints changes. */
function withoutTopology(object: KubeObject, old?: KubeObject): void {
  if (old && semanticEqual(object["endpoints"], old["endpoints"])) return;
  // Upstream counts the change before it takes it back.
  if (old && object["endpoints"]?.some((endpoint: any) => endpoint.deprecatedTopology)) object.metadata.generation = (old.metadata.generation ?? 0) + 1;
  for (const endpoint of object["endpoints"] ?? []) delete endpoint.deprecatedTopology;
}

const portsText = ({ ports }: KubeObject): string => shortList((ports ?? []).map((port: any) => (port.port === undefined ? port.name || "*" : String(port.port))), 3);
const endpointsText = ({ endpoints }: KubeObject): string => shortList((endpoints ?? []).flatMap((endpoint: any) => endpoint.addresses ?? []), 3);

/** Source: k8s.io/kubernetes/pkg/apis/discovery/{v1/defaults.go,validation/validation.go}. */
export const endpointSlice: Strategy = {
  defaults(object) {
    for (const port of object.ports ?? []) {
      port.name ??= "";
      port.protocol ??= "TCP";
    }
  },
  prepareForCreate: (object) => withoutTopology(object),
  prepareForUpdate: withoutTopology,
  validate,
  warnings({ metadata, addressType, endpoints }, old) {
    const warnings = addressType === "FQDN" && !old ? ["spec.addressType: FQDN endpoints are deprecated"] : [];
    // What these write they have put in order.
    if (["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"].includes(metadata.labels?.["endpointslice.kubernetes.io/managed-by"] ?? "")) return warnings;
    return [...warnings, ...(endpoints ?? []).flatMap(({ addresses }: any, index: number) => (addresses ?? []).flatMap((address: string, place: number) => ipWarnings(`endpoints[${index}].addresses[${place}]`, address)))];
  },
  validateUpdate: (object, old) => immutable("addressType", object.addressType, old.addressType),
  columns: [name, text("AddressType", ({ addressType }) => addressType), text("Ports", portsText, "<unset>"), text("Endpoints", endpointsText, "<unset>"), ageOf],
};
