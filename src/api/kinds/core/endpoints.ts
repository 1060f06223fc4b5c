import { isIP, isIPv6 } from "node:net";
import { type FieldError, invalid, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { validateIP, validateNonSpecialIP } from "../../validation/address.ts";
import { checked, each, oneOf } from "../../validation/checks.ts";
import { dns1123Label, nameIsDnsSubdomain, portNumber, qualifiedName } from "../../validation/names.ts";
import { ageOf, name, shortList, text } from "../columns.ts";

function validateAddress(path: string, address: any): FieldError[] {
  const errors = validateIP(`${path}.ip`, address.ip ?? "");
  if (address.hostname) errors.push(...checked(`${path}.hostname`, address.hostname, dns1123Label));
  if (address.nodeName !== undefined) errors.push(...nameIsDnsSubdomain(address.nodeName, false).map((text) => invalid(`${path}.nodeName`, address.nodeName, text)));
  return [...errors, ...(isIP(address.ip ?? "") === 0 ? [invalid(`${path}.ip`, address.ip ?? "", "must be a valid IP address")] : validateNonSpecialIP(`${path}.ip`, address.ip))];
}

const validate = (object: KubeObject): FieldError[] =>
  each("subsets", object.subsets, (subset, at) => {
    const errors: FieldError[] = [];
    if ((subset.addresses ?? []).length + (subset.notReadyAddresses ?? []).length === 0) errors.push(required(at, "must specify `addresses` or `notReadyAddresses`"));
    for (const list of ["addresses", "notReadyAddresses"]) errors.push(...each(`${at}.${list}`, subset[list], (address, addressAt) => validateAddress(addressAt, address)));
    return [
      ...errors,
      ...each(`${at}.ports`, subset.ports, (port, portAt) => [
        ...(subset.ports.length > 1 && !port.name ? [required(`${portAt}.name`)] : port.name ? checked(`${portAt}.name`, port.name, dns1123Label) : []),
        ...portNumber(port.port ?? 0).map((text) => invalid(`${portAt}.port`, port.port ?? 0, text)),
        ...oneOf(`${portAt}.protocol`, port.protocol, ["SCTP", "TCP", "UDP"]),
        ...(port.appProtocol === undefined ? [] : checked(`${portAt}.appProtocol`, port.appProtocol, qualifiedName)),
      ]),
    ];
  });

/** "10.244.0.3:8080,10.244.0.4:8080": ready ones only. */
function addresses(object: KubeObject): string {
  const all: string[] = [];
  for (const subset of object.subsets ?? []) {
    const ips: string[] = (subset.addresses ?? []).map((address: { ip: string }) => (isIPv6(address.ip) ? `[${address.ip}]` : address.ip));
    if ((subset.ports ?? []).length === 0) all.push(...(subset.addresses ?? []).map((address: { ip: string }) => address.ip));
    for (const port of subset.ports ?? []) all.push(...ips.map((ip) => `${ip}:${port.port}`));
  }
  return shortList(all, 3);
}

/** Source: k8s.io/kubernetes/pkg/apis/core/{v1/defaults.go,validation/validation.go}. */
export const endpoints: Strategy = {
  createOnUpdate: true,
  defaults(object) {
    for (const subset of object.subsets ?? []) for (const port of subset.ports ?? []) port.protocol ||= "TCP";
  },
  validate,
  deprecation: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
  columns: [name, text("Endpoints", addresses, "<none>"), ageOf],
};
