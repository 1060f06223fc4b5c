import { type FieldError, invalid, notSupported, required } from "../../../field.ts";
import { checked } from "../../../validation/checks.ts";
import { qualifiedName } from "../../../validation/names.ts";

// Shapes were proved by the schema; `any` stands for "as the schema says".
type Draft = any;

/** The downward API: how environment variables and files name fields of their own pod. */

/** Fields of the pod that environment variables may show. */
export const envFields = ["metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"];
const resourceFields = ["limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"];

/** A reference of the downward API; `fields` are those that may be named without a subscript. */
export function validateFieldRef(path: string, reference: Draft, fields: readonly string[]): FieldError[] {
  if (!reference.apiVersion) return [required(`${path}.apiVersion`)];
  if (!reference.fieldPath) return [required(`${path}.fieldPath`)];
  const subscripted = /^(.*)\['(.*)'\]$/s.exec(reference.fieldPath);
  if (reference.apiVersion !== "v1") return [invalid(`${path}.fieldPath`, reference.fieldPath, `error converting fieldPath: unsupported pod version: ${reference.apiVersion}`)];
  if (subscripted) {
    const [, field, key] = subscripted as unknown as [string, string, string];
    if (field === "metadata.annotations") return checked(path, key.toLowerCase(), qualifiedName);
    if (field === "metadata.labels") return checked(path, key, qualifiedName);
    if (!knownFields.has(field)) return [invalid(`${path}.fieldPath`, reference.fieldPath, `error converting fieldPath: field label does not support subscript: ${reference.fieldPath}`)];
    return [invalid(path, field, "does not support subscript")];
  }
  if (!knownFields.has(reference.fieldPath)) return [invalid(`${path}.fieldPath`, reference.fieldPath, `error converting fieldPath: field label not supported: ${reference.fieldPath}`)];
  const field = reference.fieldPath === "spec.host" ? "spec.nodeName" : reference.fieldPath;
  return fields.includes(field) ? [] : [notSupported(`${path}.fieldPath`, field, [...fields].sort())];
}
const knownFields = new Set([...envFields, "metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase", "spec.host"]);

const memoryDivisors = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

export function validateResourceFieldRef(path: string, reference: Draft, inVolume: boolean): FieldError[] {
  const resource: string = reference.resource ?? "";
  const errors: FieldError[] = [];
  const huge = /^(limits|requests)\.hugepages-/.test(resource);
  if (inVolume && !reference.containerName) errors.push(required(`${path}.containerName`));
  else if (resource === "") errors.push(required(`${path}.resource`));
  else if (!resourceFields.includes(resource) && !huge) errors.push(notSupported(`${path}.resource`, resource, resourceFields));
  const divisor = String(reference.divisor ?? "0");
  if (divisor === "0" || divisor === "") return errors;
  const [, sort] = resource.split(".");
  if (sort === "cpu") {
    if (!["1m", "1"].includes(divisor)) errors.push(invalid(`${path}.divisor`, resource, "only divisor's values 1m and 1 are supported with the cpu resource"));
  } else if (!memoryDivisors.includes(divisor)) {
    const what = huge ? "hugepages" : sort === "ephemeral-storage" ? "local ephemeral storage" : sort;
    errors.push(invalid(`${path}.divisor`, resource, `only divisor's values ${memoryDivisors.join(", ")} are supported with the ${what} resource`));
  }
  return errors;
}
