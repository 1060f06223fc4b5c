import { checkServerIdentity, type ConnectionOptions, getCACertificates, type PeerCertificate } from "node:tls";

/** Whom a TLS connection believes, as Go's crypto/tls decides and says it. */

const pemBlock = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** `caBundle` is base64 of PEM; without it the authorities of Node and of the machine. Throws when it holds no certificate. */
export function trustOf(caBundle: string | undefined): Pick<ConnectionOptions, "ca" | "allowPartialTrustChain" | "minVersion"> {
  const ca = caBundle ? (Buffer.from(caBundle, "base64").toString("latin1").match(pemBlock) ?? []) : machineAuthorities();
  if (ca.length === 0) throw new Error("unable to load root certificates: unable to parse bytes as PEM block");
  // A bundle may hold the server's own certificate, or an intermediate one.
  return { ca: ca as string[], allowPartialTrustChain: true, minVersion: "TLSv1.2" };
}

let authorities: string[] | undefined;
function machineAuthorities(): string[] {
  return (authorities ??= [...new Set([...getCACertificates("bundled"), ...getCACertificates("system")])]);
}

/** Names come from subject alternative names only; a common name counts for nothing. */
export function checkName(host: string, certificate: PeerCertificate): Error | undefined {
  if (!certificate.subjectaltname) return new Error(`x509: certificate relies on legacy Common Name field, use SANs instead`);
  if (!checkServerIdentity(host, certificate)) return undefined;
  const names = certificate.subjectaltname.split(", ").map((entry) => entry.replace(/^(DNS|IP Address|URI|email):/, ""));
  return new Error(`x509: certificate is valid for ${names.join(", ")}, not ${host}`);
}

const codeTexts: Record<string, string> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: "x509: certificate signed by unknown authority",
  SELF_SIGNED_CERT_IN_CHAIN: "x509: certificate signed by unknown authority",
  UNABLE_TO_GET_ISSUER_CERT: "x509: certificate signed by unknown authority",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "x509: certificate signed by unknown authority",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "x509: certificate signed by unknown authority",
  CERT_SIGNATURE_FAILURE: "x509: certificate signed by unknown authority",
  INVALID_CA: "x509: certificate signed by unknown authority",
  CERT_HAS_EXPIRED: "x509: certificate has expired or is not yet valid",
  CERT_NOT_YET_VALID: "x509: certificate has expired or is not yet valid",
  INVALID_PURPOSE: "x509: certificate specifies an incompatible key usage",
};

/** What went wrong on the connection, in Go's words where there are some. */
export function connectionText(error: NodeJS.ErrnoException): string {
  const text = error.message.startsWith("x509: ") ? error.message : codeTexts[error.code ?? ""];
  if (text) return `tls: failed to verify certificate: ${text}`;
  if (error.code === "ECONNRESET") return /hang up|before secure TLS/.test(error.message) ? "EOF" : "read: connection reset by peer";
  if (error.code === "EPIPE") return "write: broken pipe";
  if (/wrong version number|packet length too long/i.test(error.message)) return "http: server gave HTTP response to HTTPS client";
  return error.message;
}
