import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { writeFilesAtomic } from "../base/files.ts";
import { type CertificateWish, makeCertificate, type Pair } from "./certificate.ts";
import type { SigningWish } from "./authn/sign-request.ts";

/**
 * The keys and certificates of one data directory, in `<data-dir>/pki` (0700, files 0600): an EC P-256 authority,
 * what it signed for the API server and for the administrator, and the key that signs service-account tokens.
 * Made when absent, made again when they come near their end or lack a name.
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

export async function openPki(dataDir: string, options: { nowMs?: number; names?: readonly string[]; addresses?: readonly string[] } = {}): Promise<Pki> {
  const folder = join(dataDir, "pki");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const nowMs = options.nowMs ?? Date.now();
  const names = [...new Set([...serverNames, ...(options.names ?? [])])];
  const addresses = [...new Set([...serverAddresses, ...(options.addresses ?? [])])];

  const made: Made = new Map();
  const ca = pair(folder, "ca", nowMs, made, () => true, () => signed({ subject: [["CN", "wherry-ca"]], days: lifeDays.ca, nowMs, authority: undefined }));
  const byCa = (cert: X509Certificate) => cert.checkIssued(new X509Certificate(ca.cert)) && cert.verify(new X509Certificate(ca.cert).publicKey);
  const server = pair(folder, "api", nowMs, made, (cert) => byCa(cert) && names.every((name) => cert.checkHost(name)) && addresses.every((address) => cert.checkIP(address)), () =>
    signed({ subject: [["CN", "kube-apiserver"]], days: lifeDays.leaf, nowMs, authority: ca, names, addresses }),
  );
  const admin = pair(folder, "admin", nowMs, made, byCa, () => signed({ subject: subjectOf("kubernetes-admin", ["system:masters"]), days: lifeDays.leaf, nowMs, authority: ca, client: true }));

  const accountFile = join(folder, "sa.key");
  if (!existsSync(accountFile)) made.set(accountFile, generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }) as string);
  const privateKey = createPrivateKey(made.get(accountFile) ?? readFileSync(accountFile));
  const publicKey = publicKeyOf(privateKey);
  const id = createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("base64url");
  // Before anybody is told of them. Whatever part a crash leaves is found to fit together, or made anew.
  await writeFilesAtomic(made);

  return {
    ca: ca.cert,
    server,
    admin,
    serviceAccountKey: { private: privateKey, public: publicKey, id },
    sign: async (wish) => (await import("./authn/sign-request.ts")).signRequest(ca, wish),
    issueClient: (name, groups, days = lifeDays.leaf) => Promise.resolve(signed({ subject: subjectOf(name, groups), days, nowMs: Date.now(), authority: ca, client: true })),
  };
}

/**
 * An authority apart from ours, and the one certificate that it signed: by it foreign API servers know that what
 * headers say of a caller comes from us. With our own authority every client could say so.
 */
export async function openFrontProxy(dataDir: string, nowMs = Date.now()): Promise<{ ca: string; cert: string; key: string }> {
  const folder = join(dataDir, "pki");
  const made: Made = new Map();
  const ca = pair(folder, "front-proxy-ca", nowMs, made, () => true, () => signed({ subject: [["CN", "front-proxy-ca"]], days: lifeDays.ca, nowMs, authority: undefined }));
  const client = pair(folder, "front-proxy-client", nowMs, made, (cert) => cert.checkIssued(new X509Certificate(ca.cert)), () => signed({ subject: [["CN", "front-proxy-client"]], days: lifeDays.leaf, nowMs, authority: ca, client: true }));
  await writeFilesAtomic(made);
  return { ca: ca.cert, ...client };
}

/** The half of a private key that anybody may see. */
export const publicKeyOf = (key: KeyObject): KeyObject => createPublicKey(key);

const subjectOf = (name: string, groups: readonly string[]): CertificateWish["subject"] => [...groups.map((group) => ["O", group] as const), ["CN", name]];

/** Texts by file, to be written. */
type Made = Map<string, string>;

/** The pair in `folder`, if it is still good for a while; else a new one, put with what is to be written there. */
function pair(folder: string, name: string, nowMs: number, toWrite: Made, fits: (cert: X509Certificate) => boolean, make: () => Pair): Pair {
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
  const made = make();
  toWrite.set(files.key, made.key).set(files.cert, made.cert);
  return made;
}

interface Wish extends Pick<CertificateWish, "subject" | "authority" | "names" | "addresses" | "client"> {
  days: number;
  nowMs: number;
}

/** Clocks differ a little between machines: it is good since some minutes. */
const signed = ({ days, nowMs, ...wish }: Wish): Pair => makeCertificate({ ...wish, notBefore: new Date(nowMs - 5 * 60_000), notAfter: new Date(nowMs + days * dayMs) });

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
