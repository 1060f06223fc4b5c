import type { X509Certificate } from "node:crypto";

/** An entry of a certificate's subjectAltName. */
export interface AltName {
  type: "DNS" | "URI" | "email" | "IP Address";
  value: string;
}

/** Node quotes values that have what separates them, so that none can pretend to be two. */
export function altNamesOf({ subjectAltName = "" }: X509Certificate): AltName[] {
  return [...subjectAltName.matchAll(/(?:^|, )(DNS|IP Address|URI|email):("(?:[^"\\]|\\.)*"|[^,]*)/g)].map(([, type, value = ""]) => ({ type: type as AltName["type"], value: value.startsWith('"') ? (JSON.parse(value) as string) : value }));
}

/**
 * One element of X-Forwarded-Client-Cert. Source: envoyproxy.io, "x-forwarded-client-cert": what has characters that mean something
 * there stands in quotes.
 */
export function certificateElement(certificate: X509Certificate, details: readonly ("Subject" | "Cert" | "DNS" | "URI")[]): string {
  const parts = [`Hash=${certificate.fingerprint256.replaceAll(":", "").toLowerCase()}`];
  const names = altNamesOf(certificate);
  if (details.includes("Cert")) parts.push(`Cert="${encodeURIComponent(certificate.toString())}"`);
  if (details.includes("Subject")) parts.push(`Subject="${subjectOf(certificate)}"`);
  if (details.includes("URI")) for (const { type, value } of names) if (type === "URI") parts.push(`URI=${quoted(value)}`);
  if (details.includes("DNS")) for (const { type, value } of names) if (type === "DNS") parts.push(`DNS=${quoted(value)}`);
  return parts.join(";");
}

/** RFC 2253: the last of the names first. */
const subjectOf = ({ subject }: X509Certificate): string => escaped(subject.split("\n").toReversed().join(","));
const quoted = (text: string): string => (/[,;=" ]/.test(text) ? `"${escaped(text)}"` : text);
// What is beyond visible ASCII has no place in a header: it is written as URLs write it.
const escaped = (text: string): string => text.replace(/["\\]/g, "\\$&").replace(/[^\x20-\x7e]/gu, (character) => encodeURIComponent(character));
