import { isIPv6 } from "node:net";
import { duplicate, type FieldError, invalid, notSupported, required } from "../../../field.ts";
import { validateIP } from "../../../validation/address.ts";
import { each, oneOfOptional, semanticEqual } from "../../../validation/checks.ts";

type Spec = any;

const policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
/** The pod network speaks this one alone. */
const served = "IPv4";

/** Whether a Service's addresses, families and policy go together. Source: ValidateServiceClusterIPsRelatedFields. */
export function validateFamilies(spec: Spec): FieldError[] {
  if (spec.type === "ExternalName") return [];
  const path = "spec.clusterIPs";
  const addresses: string[] = spec.clusterIPs ?? [];
  const families: string[] = spec.ipFamilies ?? [];
  const errors: FieldError[] = [];
  if (spec.clusterIP && addresses.length === 0) errors.push(required(path));
  else if (spec.clusterIP && addresses[0] !== spec.clusterIP) errors.push(invalid(path, addresses, "first value must match `clusterIP`"));
  else if (!spec.clusterIP && addresses.length > 0) errors.push(invalid(path, addresses, "must be empty when `clusterIP` is not specified"));
  errors.push(...each("spec.ipFamilies", families, (family, at, index) => [...(["IPv4", "IPv6"].includes(family) ? [] : [notSupported(at, family, ["IPv4", "IPv6"])]), ...(families.indexOf(family) < index ? [duplicate(at, family)] : [])]));
  errors.push(...oneOfOptional("spec.ipFamilyPolicy", spec.ipFamilyPolicy, policies));
  const wrong = each(path, addresses, (address, at, index) => {
    if (index > 0 || address !== "None") return validateIP(at, address);
    return addresses.length > 1 ? [invalid(path, addresses, "'None' must be the first and only value")] : [];
  });
  errors.push(...wrong);
  if (addresses.length > 2) errors.push(invalid(path, addresses, "may only hold up to 2 values"));
  if (wrong.length > 0) return errors;
  if (addresses.length > 1 && !(addresses.some(isIPv6) && addresses.some((address) => !isIPv6(address)))) errors.push(invalid(path, addresses, "may specify no more than one IP for each IP family"));
  if (addresses[0] === "None") return errors;
  for (const [index, address] of addresses.entries()) {
    const family = families[index];
    if (family === "IPv4" && isIPv6(address)) errors.push(invalid(`${path}[${index}]`, address, `expected an IPv4 value as indicated by \`ipFamilies[${index}]\``));
    if (family === "IPv6" && !isIPv6(address)) errors.push(invalid(`${path}[${index}]`, address, `expected an IPv6 value as indicated by \`ipFamilies[${index}]\``));
  }
  return errors;
}

/**
 * Fills in the policy and the families that a Service leaves open, before it gets an address; what cannot be had here is
 * refused. Source: k8s.io/kubernetes/pkg/registry/core/service/storage/alloc.go, initIPFamilyFields.
 */
export function initFamilies(spec: Spec, old?: Spec): FieldError[] {
  if (spec.type === "ExternalName") return [];
  const sameAddresses = semanticEqual(spec.clusterIPs, old?.clusterIPs);
  const sameFamilies = semanticEqual(spec.ipFamilies, old?.ipFamilies);
  if (old && spec.ipFamilyPolicy === "PreferDualStack" && old.ipFamilyPolicy === "PreferDualStack" && sameAddresses && sameFamilies) return [];
  const isOpen = spec.clusterIP === "None" && Object.keys(spec.selector ?? {}).length === 0;
  spec.ipFamilyPolicy ??= old?.ipFamilyPolicy ?? (isOpen ? "RequireDualStack" : "SingleStack");
  const unfit = validateFamilies(spec);
  if (unfit.length > 0) return unfit;

  const errors: FieldError[] = [];
  const policy = (text: string): void => void errors.push(invalid("spec.ipFamilyPolicy", spec.ipFamilyPolicy, text));
  const isSingle = spec.ipFamilyPolicy === "SingleStack";
  const isReduced = (field: string): boolean => (old?.[field] ?? []).length > 1 && (spec[field] ?? []).length === 1 && spec[field][0] === old[field][0];
  if (old && isSingle) {
    if (sameAddresses && (spec.clusterIPs ?? []).length > 1) spec.clusterIPs = spec.clusterIPs.slice(0, 1);
    if (sameFamilies && (spec.ipFamilies ?? []).length > 1) spec.ipFamilies = spec.ipFamilies.slice(0, 1);
  } else if (old) {
    if (isReduced("clusterIPs")) policy("must be 'SingleStack' to release the secondary cluster IP");
    if (isReduced("ipFamilies")) policy("must be 'SingleStack' to release the secondary IP family");
  }
  if (isSingle && (spec.clusterIPs ?? []).length === 2) policy("must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified");
  if (isSingle && (spec.ipFamilies ?? []).length === 2) policy("must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified");
  const families: string[] = [...(spec.ipFamilies ?? [])];
  for (const [index, address] of ((spec.clusterIPs ?? []) as string[]).entries()) {
    if (address === "None") break;
    if (index < families.length) continue;
    if (isIPv6(address)) errors.push(invalid(`spec.clusterIPs[${index}]`, spec.clusterIPs, "IPv6 is not configured on this cluster"));
    else families.push(served);
  }
  if (errors.length > 0) return errors;
  // Nobody routes to what has neither address nor selector: it may say what it likes.
  if (isOpen) {
    if (families.length === 0) families.push(served);
    if (families.length < 2 && !isSingle) families.push(families[0] === "IPv4" ? "IPv6" : "IPv4");
    spec.ipFamilies = families;
    return [];
  }
  if (spec.ipFamilyPolicy === "RequireDualStack") policy("this cluster is not configured for dual-stack services");
  errors.push(...each("spec.ipFamilies", families, (family, at) => (family === served ? [] : [invalid(at, family, "not configured on this cluster")])));
  if (errors.length === 0) spec.ipFamilies = families.length === 0 ? [served] : families;
  return errors;
}
