import { X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { WherryError } from "../../base/errors.ts";

/** The certificate of the stack's own authority: what makes its host names' certificates trusted. */
export interface Authority {
  file: string;
  /** PEM, with a line end. */
  text: string;
  /** As openssl prints it: "CN=…". */
  subject: string;
  validTo: string;
  /** The first eight digits of the SHA-256: authorities of several stacks get along. */
  id: string;
  fingerprint: string;
}

export const authorityFile = (dataDir: string): string => join(dataDir, "trust", "ca.crt");

/** Throws NOT_RUNNING when there is none yet, MACHINE_UNCHANGED for what a machine must not trust. */
export function readAuthority(dataDir: string, nowMs: number): Authority {
  const file = authorityFile(dataDir);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw new WherryError("MACHINE_UNCHANGED", `${file} cannot be read: ${(error as Error).message}`, { cause: error });
    throw new WherryError("NOT_RUNNING", `there is no ${file} yet: a stack makes its authority when the first certificate is asked for, by an Ingress with tls and cert-manager.io/cluster-issuer for instance`);
  }
  const refuse = (why: string): never => {
    throw new WherryError("MACHINE_UNCHANGED", `${file}: ${why}`);
  };
  // Whoever could exchange it would have the machine trust an authority of his own.
  for (const path of [file, dirname(file), dataDir]) if (statSync(path).mode & 0o022) refuse(`${path} can be written by others than its owner`);
  if (text.split("-----BEGIN CERTIFICATE-----").length !== 2) refuse("exactly one certificate in PEM is wanted");
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(text);
  } catch {
    return refuse("it holds no certificate in PEM");
  }
  if (!certificate.ca) refuse("the certificate is not an authority's");
  if (!certificate.verify(certificate.publicKey)) refuse("the authority is not its own issuer");
  if (Date.parse(certificate.validTo) <= nowMs) refuse(`the certificate has expired, ${certificate.validTo}`);
  const fingerprint = certificate.fingerprint256;
  return { file, text: certificate.toString(), subject: certificate.subject.replaceAll("\n", ", "), validTo: new Date(certificate.validTo).toISOString().slice(0, 10), id: fingerprint.replaceAll(":", "").slice(0, 8).toLowerCase(), fingerprint };
}
