import { isIP, isIPv4, isIPv6 } from "node:net";
import { type FieldError, invalid } from "../field.ts";

/** IP addresses and networks, as fields of upstream's new kinds are checked. Source: apimachinery/pkg/util/validation/ip.go. */

export const validateIP = (path: string, value: string): FieldError[] => (isIP(value) === 0 ? [invalid(path, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")] : []);

/** What is valid and not as it should be written. */
export function ipWarnings(path: string, value: string): string[] {
  if (!isIPv6(value)) return [];
  const canonical = new URL(`http://[${value}]/`).hostname.slice(1, -1);
  if (/^::ffff:[\da-f]{1,4}:[\da-f]{1,4}$/.test(canonical)) {
    const [high, low] = canonical.slice(7).split(":").map((part) => Number.parseInt(part, 16)) as [number, number];
    return [`${path}: non-standard IP address ${JSON.stringify(value)} will be considered invalid in a future Kubernetes release: use ${JSON.stringify([high >> 8, high & 255, low >> 8, low & 255].join("."))}`];
  }
  return canonical === value ? [] : [`${path}: IPv6 address ${JSON.stringify(value)} should be in RFC 5952 canonical format (${JSON.stringify(canonical)})`];
}

/** "10.0.0.0/8" */
export function isCIDR(value: string): boolean {
  const slash = value.indexOf("/");
  const family = isIP(value.slice(0, Math.max(slash, 0)));
  const length = value.slice(slash + 1);
  return family !== 0 && /^\d{1,3}$/.test(length) && Number(length) <= (family === 4 ? 32 : 128);
}
export const validateCIDR = (path: string, value: string): FieldError[] => (isCIDR(value) ? [] : [invalid(path, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")]);

/** Addresses that no endpoint may have: unspecified, loopback, link-local. */
export function validateNonSpecialIP(path: string, value: string): FieldError[] {
  const errors: FieldError[] = [];
  const bytes = isIPv4(value) ? value.split(".").map(Number) : undefined;
  const lower = value.toLowerCase();
  if (bytes ? bytes.every((byte) => byte === 0) : lower === "::") errors.push(invalid(path, value, `may not be unspecified (${value})`));
  // In plain mode pods have addresses in 127.97.0.0/16 (beside other stacks 127.99, 127.101, …), and their endpoints must say so.
  const isPlainPod = bytes?.[0] === 127 && bytes[1]! >= 97 && bytes[1]! % 2 === 1;
  if (bytes ? bytes[0] === 127 && !isPlainPod : lower === "::1") errors.push(invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)"));
  if (bytes ? bytes[0] === 169 && bytes[1] === 254 : /^fe[89ab]/.test(lower)) errors.push(invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"));
  if (bytes ? bytes[0] === 224 && bytes[1] === 0 && bytes[2] === 0 : /^ff[0-9a-f]2:/.test(lower)) errors.push(invalid(path, value, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"));
  return errors;
}
