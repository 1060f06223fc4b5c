import { isIPv4, isIPv6 } from "node:net";
import { duplicate, type FieldError, invalid, notSupported, required, tooMany } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { validateIP, validateNonSpecialIP } from "../../validation/address.ts";
import { checked, each, immutable } from "../../validation/checks.ts";
import { dns1123Label, dns1123Subdomain, nameIsDnsSubdomain, portNumber, qualifiedName } from "../../validation/names.ts";
import { ageOf, name, shortList, text } from "../columns.ts";

const endpointsMax = 1000;
const addressesMax = 100;
const portsMax = 20_000;
const addressTypes = ["FQDN", "IPv4", "IPv6"];

function validateAddress(path: string, type: string, address: string): FieldError[] {
  if (type === "FQDN") return checked(path, address, dns1123Subdomain);
  const wrong = validateIP(path, address);
  if (wrong.length > 0) return wrong;
  if (type === "IPv4" && !isIPv4(address)) return [invalid(path, address, "must be an IPv4 address")];
  if (type === "IPv6" && !isIPv6(address)) return [invalid(path, address, "must be an IPv6 address")];
  return validateNonSpecialIP(path, address);
}

function validate({ addressType, ...lists }: KubeObject): FieldError[] {
  // Null when nobody gave any.
  const endpoints = lists["endpoints"] ?? [];
  const ports = lists["ports"] ?? [];
  const errors: FieldError[] = [];
  // What it is a slice of must be known first.
  if (!addressType) return [required("addressType")];
  if (!addressTypes.includes(addressType)) errors.push(notSupported("addressType", addressType, addressTypes));
  if (endpoints.length > endpointsMax) errors.push(tooMany("endpoints", endpoints.length, endpointsMax));
  else {
    errors.push(
      ...each<any>("endpoints", endpoints, (endpoint, at) => {
        const found: FieldError[] = [];
        const addresses: string[] = endpoint.addresses ?? [];
        if (addresses.length === 0) found.push(required(`${at}.addresses`, "must contain at least 1 address"));
        else if (addresses.length > addressesMax) found.push(tooMany(`${at}.addresses`, addresses.length, addressesMax));
        found.push(...each(`${at}.addresses`, addresses, (address, addressAt) => validateAddress(addressAt, addressType, address)));
        if (endpoint.nodeName !== undefined) found.push(...nameIsDnsSubdomain(endpoint.nodeName, false).map((text) => invalid(`${at}.nodeName`, endpoint.nodeName, text)));
        if (endpoint.hostname !== undefined) found.push(...checked(`${at}.hostname`, endpoint.hostname, dns1123Label));
        return found;
      }),
    );
  }
  if (ports.length > portsMax) return [...errors, tooMany("ports", ports.length, portsMax)];
  const names = new Set<string>();
  return [
    ...errors,
    ...each<any>("ports", ports, (port, at) => {
      const found: FieldError[] = port.name ? checked(`${at}.name`, port.name, dns1123Label) : [];
      if (names.has(port.name ?? "")) found.push(duplicate(`${at}.name`, port.name ?? ""));
      names.add(port.name ?? "");
      if (!["SCTP", "TCP", "UDP"].includes(port.protocol)) found.push(notSupported(`${at}.protocol`, port.protocol, ["SCTP", "TCP", "UDP"]));
      if (port.port !== undefined) found.push(...portNumber(port.port).map((text) => invalid(`${at}.port`, port.port, text)));
      return [...found, ...(port.appProtocol === undefined ? [] : checked(`${at}.appProtocol`, port.appProtocol, qualifiedName))];
    }),
  ];
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
  validate,
  validateUpdate: (object, old) => immutable("addressType", object.addressType, old.addressType),
  columns: [name, text("AddressType", ({ addressType }) => addressType), text("Ports", portsText, "<unset>"), text("Endpoints", endpointsText, "<unset>"), ageOf],
};
