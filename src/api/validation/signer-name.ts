import { type FieldError, invalid, required, tooLong } from "../field.ts";
import { type Check, dns1123Label, dns1123Subdomain, nameIsDnsSubdomain, qualifiedName } from "./names.ts";

/** Names of those who sign certificates, and of what they attest. Source: k8s.io/kubernetes/pkg/apis/core/validation/names.go. */

/** Whether only Kubernetes itself may sign under this name. */
export function isKubernetesSigner(signer: string): boolean {
  const [host = ""] = signer.split("/");
  return host === "kubernetes.io" || host.endsWith(".kubernetes.io");
}

/** "example.com/signer". */
export function validateSignerName(path: string, signer: string): FieldError[] {
  if (signer === "") return [required(path)];
  const segments = signer.split("/");
  if (segments.length !== 2) return [invalid(path, signer, "must be a fully qualified domain and path of the form 'example.com/signer-name'")];
  const [domain, last] = segments as [string, string];
  /** Of the first label that is wrong. */
  const wrong = (whole: string, check: Check): FieldError[] => {
    const label = whole.split(".").find((part) => check(part).length > 0);
    return label === undefined ? [] : check(label).map((why) => invalid(path, whole, `validating label ${JSON.stringify(label)}: ${why}`));
  };
  const errors = domain.length > 253 ? [tooLong(path, 253)] : [];
  errors.push(...wrong(domain, dns1123Label));
  if (!domain.includes(".")) errors.push(invalid(path, domain, "should be a domain with at least two segments separated by dots"));
  errors.push(...wrong(last, dns1123Subdomain));
  if (signer.length > 571) errors.push(tooLong(path, 571));
  return errors;
}

/** What is wrong with a ClusterTrustBundle's name: that of a signer begins with the signer's. */
export function trustBundleNameErrors(signer: string, name: string, prefix: boolean): string[] {
  if (signer === "") return name.includes(":") ? ['ClusterTrustBundle without signer name must not have ":" in its name'] : nameIsDnsSubdomain(name, prefix);
  const start = `${signer.replaceAll("/", ":")}:`;
  return name.startsWith(start) ? nameIsDnsSubdomain(name.slice(start.length), prefix) : [`ClusterTrustBundle for signerName ${signer} must be named with prefix ${start}`];
}

/** The signer that a ClusterTrustBundle's name speaks of; "" when of none. */
export const signerOfTrustBundle = (name: string): string => (name.includes(":") ? name.slice(0, name.lastIndexOf(":")).replaceAll(":", "/") : "");

const annotationBytesMax = 256 * 1024;

/** What a pod says to a signer: each key with a domain before it. */
export function validateUserAnnotations(path: string, annotations: Readonly<Record<string, string>> | null | undefined): FieldError[] {
  const entries = Object.entries(annotations ?? {});
  const errors = entries.flatMap(([key]): FieldError[] => {
    const lower = key.toLowerCase();
    if (lower === "") return [required(path)];
    const wrong = qualifiedName(lower).map((why) => invalid(path, lower, why));
    return wrong.length > 0 || lower.includes("/") ? wrong : [invalid(path, lower, 'must be a domain-prefixed key (such as "acme.io/foo")')];
  });
  const size = entries.reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value), 0);
  return size > annotationBytesMax ? [...errors, tooLong(path, annotationBytesMax)] : errors;
}
