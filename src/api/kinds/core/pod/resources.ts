import { duplicate, type FieldError, invalid, notFound, notSupported, required } from "../../../field.ts";
import { compareQuantity, parseQuantity, type Quantity } from "../../../quantity.ts";
import { checked, each, notNegativeText } from "../../../validation/checks.ts";
import { dns1123Label, qualifiedName } from "../../../validation/names.ts";
import { followsExtended } from "../resourcequota-names.ts";

/**
 * Requests and limits. Quantities were parsed and made canonical before (a nonsense quantity never gets here).
 * Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go.
 */
const standard = ["cpu", "memory", "ephemeral-storage"];
const counted = new Set(["pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers"]);
const isHugePages = (name: string): boolean => name.startsWith("hugepages-");
const isNative = (name: string): boolean => !name.includes("/") || name.includes("kubernetes.io/");
export const isWhole = ({ amount, exponent }: Quantity): boolean => exponent >= 0 || amount % 10n ** BigInt(-exponent) === 0n;

export function validateResources(path: string, resources: any, claims: ReadonlySet<string> = new Set(), validateName = validateContainerResourceName): FieldError[] {
  if (!resources) return [];
  const errors: FieldError[] = [];
  const limits: Record<string, string> = resources.limits ?? {};
  const requests: Record<string, string> = resources.requests ?? {};
  const validate = (at: string, name: string, quantity: string): FieldError[] => [...validateName(at, name), ...validateQuantityOf(at, name, quantity)];
  for (const [name, quantity] of Object.entries(limits)) errors.push(...validate(`${path}.limits[${name}]`, name, quantity));
  for (const [name, quantity] of Object.entries(requests)) {
    errors.push(...validate(`${path}.requests[${name}]`, name, quantity));
    const limit = limits[name];
    // Memory and CPU may be overcommitted; devices and huge pages may not.
    const overcommit = isNative(name) && !isHugePages(name);
    if (limit !== undefined) {
      const order = compareQuantity(parseQuantity(String(quantity)), parseQuantity(String(limit)));
      if (!overcommit && order !== 0) errors.push(invalid(`${path}.requests`, String(quantity), `must be equal to ${name} limit of ${limit}`));
      else if (order > 0) errors.push(invalid(`${path}.requests`, String(quantity), `must be less than or equal to ${name} limit of ${limit}`));
    } else if (!overcommit) errors.push(required(`${path}.limits`, "Limit must be set for non overcommitable resources"));
  }
  const all = [...Object.keys(limits), ...Object.keys(requests)];
  if (all.some(isHugePages) && !all.includes("cpu") && !all.includes("memory")) errors.push({ type: "FieldValueForbidden", field: path, body: "Forbidden: HugePages require cpu or memory" });
  return [...errors, ...validateClaims(`${path}.claims`, resources.claims, claims)];
}

/** Each claim, or each request in it, once; and only those that the pod has. */
function validateClaims(path: string, list: readonly { name?: string; request?: string }[] | undefined, claims: ReadonlySet<string>): FieldError[] {
  const seen = new Set<string>();
  return each(path, list, ({ name = "", request = "" }, at) => {
    const missing = notFound(at, name);
    const unknown = claims.has(name) ? [] : [{ ...missing, body: `${missing.body}: must be one of the names in pod.spec.resourceClaims${claims.size === 0 ? " which is empty" : `: ${[...claims].sort().join(", ")}`}` }];
    if (name === "") return [required(at), ...unknown];
    if (seen.has(name)) return [duplicate(at, name), ...unknown];
    const key = request === "" ? name : `${name}/${request}`;
    const errors = request === "" ? [] : checked(`${at}.request`, request, dns1123Label);
    if (seen.has(key)) errors.push(duplicate(at, key));
    else if (request === "") for (const other of seen) if (other.startsWith(`${name}/`)) errors.push(duplicate(at, name));
    seen.add(key);
    return [...errors, ...unknown];
  });
}

/** What a pod as a whole may ask for. */
export function validatePodResourceName(path: string, name: string): FieldError[] {
  const errors = checked(path, name, qualifiedName);
  if (errors.length > 0) return errors;
  if (!name.includes("/") && !isKnown(name)) return [invalid(path, name, notKnown)];
  return name === "cpu" || name === "memory" || isHugePages(name) ? [] : [notSupported(path, name, ["cpu", "hugepages-", "memory"])];
}

const notKnown = "must be a standard resource type or fully qualified";
const isKnown = (name: string): boolean => [...standard, "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps", "persistentvolumeclaims", "storage"].includes(name) || isHugePages(name) || /^(requests|limits)\./.test(name);

export function validateContainerResourceName(path: string, name: string): FieldError[] {
  const errors = checked(path, name, qualifiedName);
  if (!name.includes("/") && !standard.includes(name) && !isHugePages(name)) {
    if (errors.length === 0 && !isKnown(name)) errors.push(invalid(path, name, notKnown));
    errors.push(invalid(path, name, "must be a standard resource for containers"));
  } else if (name.includes("/") && !isNative(name) && !followsExtended(name)) errors.push(invalid(path, name, "doesn't follow extended resource name standard"));
  return errors;
}

/** Not negative, and whole for what cannot be divided. */
export function validateQuantityOf(path: string, name: string, text: string): FieldError[] {
  const quantity = parseQuantity(String(text));
  const errors: FieldError[] = [];
  if (quantity.amount < 0n) errors.push(invalid(path, String(text), notNegativeText));
  const isExtended = name.includes("/") && !isNative(name) && followsExtended(name);
  if ((isExtended || counted.has(name)) && !isWhole(quantity)) errors.push(invalid(path, String(text), "must be an integer"));
  return errors;
}
