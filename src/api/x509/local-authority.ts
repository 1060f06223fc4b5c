import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { addressBytes } from "../../base/der.ts";
import { writeFileAtomic } from "../../base/files.ts";
import { type CertificateTemplate, constraintsValue, extensionOf, makeCertificate, type NameConstraints, nameOf, type Pair, publicKeyOf } from "./certificate.ts";

/**
 * The two authorities of a data directory that sign what a public one would elsewhere, in `<data-dir>/trust` (0700, files 0600).
 * Neither is the API's (`pki/`): what they sign opens no door of the API, and what that one signs no browser believes.
 *
 * `ca` is the one that a machine may be told to trust. Whoever stole its key could still not speak for a bank: it is good for
 * servers and clients alone, for no further authority, and for names that nobody can own (RFC 2606, 6761, 6762, 8375, 1918),
 * besides those in `trust/names`, one a line, which the owner of the machine writes. Names outside are signed by `other`, which
 * belongs in no trust store.
 */
export interface LocalAuthority {
  ca: Pair;
  other: Pair;
  /** Who signs it, and whether that is the one that machines may trust. */
  signerOf(wish: { names: readonly string[]; usages: readonly string[] }): { pair: Pair; key: KeyObject; trustable: boolean };
}

const reservedNames = ["localhost", "test", "example", "example.com", "example.net", "example.org", "invalid", "internal", "local", "lan", "home.arpa", "svc"];
const privateNetworks = ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10"];
const trustedUsages = new Set(["signing", "digital signature", "key encipherment", "key agreement", "data encipherment", "content commitment", "server auth", "client auth"]);

const dayMs = 86_400_000;
const lifeDays = 3650;
/** An authority this near its end is replaced; what it signed lives shorter than that. */
const renewalDays = 400;

/** Reads both, and makes what is missing, near its end, or made for other names. Durable when it returns. */
export function localAuthority(dataDir: string, nowMs: number): LocalAuthority {
  const folder = join(dataDir, "trust");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const names = [...reservedNames, ...ownNames(join(folder, "names"))];
  const permitted = { dnsDomains: names, ipRanges: privateNetworks };
  const ca = pair(folder, "ca", nowMs, { nameConstraints: { permitted, critical: true }, usages: ["cert sign", "crl sign", "server auth", "client auth"] });
  const other = pair(folder, "other", nowMs, { usages: ["cert sign", "crl sign"] });
  const keys = new Map([ca, other].map((one) => [one, createPrivateKey(one.key)]));
  return {
    ca,
    other,
    signerOf({ names: wanted, usages }) {
      const trustable = wanted.every((name) => isPermitted(name, permitted)) && usages.every((usage) => trustedUsages.has(usage));
      const signer = trustable ? ca : other;
      return { pair: signer, key: keys.get(signer)!, trustable };
    },
  };
}

/** Addresses, DNS names with or without a wildcard; nothing else is: what constraints do not name, they let pass. */
export function isPermitted(name: string, { dnsDomains = [], ipRanges = [] }: NonNullable<NameConstraints["permitted"]>): boolean {
  if (isIP(name)) return ipRanges.some((range) => isWithin(name, range));
  if (/[@:/]/.test(name)) return false;
  const lower = name.replace(/^\*\./, "").toLowerCase();
  return dnsDomains.some((domain) => lower === domain || lower.endsWith(`.${domain}`));
}

function isWithin(address: string, range: string): boolean {
  const [network = "", length] = range.split("/");
  const [left, right] = [addressBytes(address), addressBytes(network)];
  if (left.length !== right.length) return false;
  const bits = (bytes: Buffer) => Array.from(bytes, (byte) => byte.toString(2).padStart(8, "0")).join("").slice(0, Number(length));
  return bits(left) === bits(right);
}

function ownNames(file: string): string[] {
  const lines = (read(file) ?? "").split("\n").map((line) => line.trim().toLowerCase().replace(/^(\*\.|\.)/, ""));
  return lines.filter((line) => /^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/.test(line));
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function pair(folder: string, name: string, nowMs: number, wish: Pick<CertificateTemplate, "nameConstraints" | "usages">): Pair {
  const files = { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
  const [cert, key] = [read(files.cert), read(files.key)];
  if (cert !== undefined && key !== undefined && isStillGood(cert, key, nowMs, wish)) return { cert, key };
  const made = makeAuthority(name, nowMs, wish);
  // The certificate last: what a crash leaves does not fit together, and is made anew.
  writeFileAtomic(files.key, made.key);
  writeFileAtomic(files.cert, made.cert);
  return made;
}

function makeAuthority(name: string, nowMs: number, wish: Pick<CertificateTemplate, "nameConstraints" | "usages">): Pair {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const publicKey = publicKeyOf(privateKey);
  // Several stacks on one machine are told apart by a piece of the key.
  const subject = nameOf([["O", "Wherry"], ["CN", `Wherry local ${name === "ca" ? "CA" : "CA for other names"} ${publicKey.subarray(-4).toString("hex")}`]]);
  const cert = makeCertificate({ subject, publicKey, notBefore: new Date(nowMs - 300_000), notAfter: new Date(nowMs + lifeDays * dayMs), isCA: true, pathLength: 0, ...wish }, privateKey);
  return { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }) as string };
}

function isStillGood(cert: string, key: string, nowMs: number, wish: Pick<CertificateTemplate, "nameConstraints" | "usages">): boolean {
  try {
    const found = new X509Certificate(cert);
    if (!found.ca || !found.checkPrivateKey(createPrivateKey(key)) || found.validToDate.getTime() - nowMs < renewalDays * dayMs) return false;
    const constraints = extensionOf(found.raw, "2.5.29.30");
    return wish.nameConstraints ? constraints?.equals(constraintsValue(wish.nameConstraints)) === true : constraints === undefined;
  } catch {
    return false; // half a file, or none of ours
  }
}
