import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../base/files.ts";
import type { SigningWish } from "./authn/sign-request.ts";

/**
 * The keys and certificates of one data directory, in `<data-dir>/pki` (0700, files 0600): an EC P-256 authority,
 * what it signed for the API server and for the administrator, and the key that signs service-account tokens.
 * Made when absent, made again when they come near their end or lack a name; the library that makes certificates
 * is loaded only then.
 */
export interface Pki {
  /** PEM, for kubeconfigs and for `kube-root-ca.crt`. */
  readonly ca: string;
  readonly server: { cert: string; key: string };
  /** CN=kubernetes-admin, O=system:masters. */
  readonly admin: { cert: string; key: string };
  readonly serviceAccountKey: { private: KeyObject; public: KeyObject; id: string };
  /** Signs what somebody else has the key of. Rejects when the request makes no sense. */
  sign(wish: SigningWish): Promise<string>;
  /** A client certificate for somebody else, signed now and kept nowhere. */
  issueClient(name: string, groups: readonly string[], days?: number): Promise<{ cert: string; key: string }>;
}

const dayMs = 24 * 3600 * 1000;
const lifeDays = { ca: 3650, leaf: 365 };
/** A certificate this near its end is replaced at start. */
const renewalDays = 30;

const serverNames = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "wherry"];
const serverAddresses = ["127.0.0.1", "::1", "10.96.0.1"];

interface Pair {
  cert: string;
  key: string;
}

export async function openPki(dataDir: string, options: { nowMs?: number; names?: readonly string[]; addresses?: readonly string[] } = {}): Promise<Pki> {
  const folder = join(dataDir, "pki");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const nowMs = options.nowMs ?? Date.now();
  const names = [...new Set([...serverNames, ...(options.names ?? [])])];
  const addresses = [...new Set([...serverAddresses, ...(options.addresses ?? [])])];

  const ca = await pair(folder, "ca", nowMs, () => true, () => signed({ subject: "CN=wherry-ca", days: lifeDays.ca, nowMs, authority: undefined }));
  const byCa = (cert: X509Certificate) => cert.checkIssued(new X509Certificate(ca.cert)) && cert.verify(new X509Certificate(ca.cert).publicKey);
  const server = await pair(folder, "api", nowMs, (cert) => byCa(cert) && names.every((name) => cert.checkHost(name)) && addresses.every((address) => cert.checkIP(address)), () =>
    signed({ subject: "CN=kube-apiserver", days: lifeDays.leaf, nowMs, authority: ca, names, addresses }),
  );
  const admin = await pair(folder, "admin", nowMs, byCa, () => signed({ subject: subjectOf("kubernetes-admin", ["system:masters"]), days: lifeDays.leaf, nowMs, authority: ca, client: true }));

  const accountFile = join(folder, "sa.key");
  if (!existsSync(accountFile)) writeFileAtomic(accountFile, generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }));
  const privateKey = createPrivateKey(readFileSync(accountFile));
  const publicKey = publicKeyOf(privateKey);
  const id = createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("base64url");

  return {
    ca: ca.cert,
    server,
    admin,
    serviceAccountKey: { private: privateKey, public: publicKey, id },
    sign: async (wish) => (await import("./authn/sign-request.ts")).signRequest(ca, wish),
    issueClient: (name, groups, days = lifeDays.leaf) => signed({ subject: subjectOf(name, groups), days, nowMs: Date.now(), authority: ca, client: true }),
  };
}

/**
 * An authority apart from ours, and the one certificate that it signed: by it foreign API servers know that what
 * headers say of a caller comes from us. With our own authority every client could say so.
 */
export async function openFrontProxy(dataDir: string, nowMs = Date.now()): Promise<{ ca: string; cert: string; key: string }> {
  const folder = join(dataDir, "pki");
  const ca = await pair(folder, "front-proxy-ca", nowMs, () => true, () => signed({ subject: "CN=front-proxy-ca", days: lifeDays.ca, nowMs, authority: undefined }));
  const client = await pair(folder, "front-proxy-client", nowMs, (cert) => cert.checkIssued(new X509Certificate(ca.cert)), () => signed({ subject: "CN=front-proxy-client", days: lifeDays.leaf, nowMs, authority: ca, client: true }));
  return { ca: ca.cert, ...client };
}

/** The half of a private key that anybody may see. */
export const publicKeyOf = (key: KeyObject): KeyObject => createPublicKey(key);

const subjectOf = (name: string, groups: readonly string[]): { CN?: string[]; O?: string[] }[] => [...groups.map((group) => ({ O: [group] })), { CN: [name] }];

/** The pair in `folder`, if it is still good for a while; else a new one, written there. */
async function pair(folder: string, name: string, nowMs: number, fits: (cert: X509Certificate) => boolean, make: () => Promise<Pair>): Promise<Pair> {
  const files = { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
  if (existsSync(files.cert) && existsSync(files.key)) {
    const found = { cert: readFileSync(files.cert, "utf8"), key: readFileSync(files.key, "utf8") };
    try {
      const cert = new X509Certificate(found.cert);
      if (cert.checkPrivateKey(createPrivateKey(found.key)) && cert.validToDate.getTime() - nowMs > renewalDays * dayMs && fits(cert)) return found;
    } catch {
      // half a file, or none of ours: made anew
    }
  }
  const made = await make();
  writeFileAtomic(files.key, made.key);
  writeFileAtomic(files.cert, made.cert);
  return made;
}

interface CertificateWish {
  subject: string | { CN?: string[]; O?: string[] }[];
  days: number;
  nowMs: number;
  /** Undefined: signs itself. */
  authority: Pair | undefined;
  names?: readonly string[];
  addresses?: readonly string[];
  client?: boolean;
}

async function signed(wish: CertificateWish): Promise<Pair> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = (await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as { privateKey: CryptoKey; publicKey: CryptoKey };
  const keyPem = pem("PRIVATE KEY", Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey)));
  const common = {
    // A positive number: the first bit must be clear.
    serialNumber: `00${randomBytes(15).toString("hex")}`,
    subject: wish.subject,
    // Clocks differ a little between machines.
    notBefore: new Date(wish.nowMs - 5 * 60_000),
    notAfter: new Date(wish.nowMs + wish.days * dayMs),
    signingAlgorithm: algorithm,
  };
  const { authority } = wish;
  if (!authority) {
    const usages = x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.digitalSignature;
    const { subject, ...rest } = common;
    const cert = await x509.X509CertificateGenerator.createSelfSigned({
      ...rest,
      name: subject,
      keys,
      extensions: [new x509.BasicConstraintsExtension(true, undefined, true), new x509.KeyUsagesExtension(usages, true), await x509.SubjectKeyIdentifierExtension.create(keys.publicKey)],
    });
    return { cert: `${cert.toString("pem")}\n`, key: keyPem };
  }
  const issuer = new x509.X509Certificate(authority.cert);
  const signingKey = await crypto.subtle.importKey("pkcs8", derOf(authority.key), algorithm, false, ["sign"]);
  const alternatives = [...(wish.names ?? []).map((value) => ({ type: "dns" as const, value })), ...(wish.addresses ?? []).map((value) => ({ type: "ip" as const, value }))];
  const cert = await x509.X509CertificateGenerator.create({
    ...common,
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([wish.client ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      ...(alternatives.length > 0 ? [new x509.SubjectAlternativeNameExtension(alternatives)] : []),
    ],
  });
  return { cert: `${cert.toString("pem")}\n`, key: keyPem };
}

const pem = (label: string, der: Buffer): string => `-----BEGIN ${label}-----\n${der.toString("base64").replaceAll(/(.{64})(?=.)/g, "$1\n")}\n-----END ${label}-----\n`;
const derOf = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text.replaceAll(/-----[^-]+-----|\s/g, ""), "base64"));

/** The text of a kubeconfig with one cluster, one user and one context, all of this name. */
export function kubeconfigFor({ name, url, ca, cert, key, token, namespace }: { name: string; url: string; ca: string; cert?: string; key?: string; token?: string; namespace?: string }): string {
  const data = (text: string) => Buffer.from(text).toString("base64");
  return [
    "apiVersion: v1",
    "kind: Config",
    "clusters:",
    `- name: ${name}`,
    "  cluster:",
    `    server: ${url}`,
    `    certificate-authority-data: ${data(ca)}`,
    "users:",
    `- name: ${name}`,
    "  user:",
    ...(cert !== undefined && key !== undefined ? [`    client-certificate-data: ${data(cert)}`, `    client-key-data: ${data(key)}`] : []),
    ...(token !== undefined ? [`    token: ${token}`] : []),
    "contexts:",
    `- name: ${name}`,
    "  context:",
    `    cluster: ${name}`,
    `    user: ${name}`,
    ...(namespace !== undefined ? [`    namespace: ${namespace}`] : []),
    `current-context: ${name}`,
    "preferences: {}",
    "",
  ].join("\n");
}
