import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from "node:crypto";
import { pemBlocks } from "../../base/der.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import { type Log, silentLog } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import { writeSpiffeId } from "../../base/spiffe.ts";
import type { Client } from "../client.ts";
import { Informer } from "../informer.ts";
import { resources, systemNamespace } from "../resources.ts";
import { StatusError } from "../status.ts";
import type { Secret } from "../types.ts";
import { generalNames, makeCertificate, nameOf, type Pair, publicKeyOf } from "./certificate.ts";

/**
 * The mesh's certificate authority: who a program is among the others. Its root and key are the Secret `wherry-mesh-ca` of
 * `wherry-system` and nowhere else: neither pods nor the data plane get them. It is neither the API's authority (`pki/`) nor that
 * of public names (`trust/`): what it signs opens no door of the API, and no browser believes it.
 *
 *   tls.crt, tls.key   who signs; further certificates in tls.crt lead from it to a root
 *   ca.crt             the roots to be trusted
 *   next.crt, next.key who signs next: trusted already, so that everybody has heard of it before it signs the first
 *
 * Sources: SPIFFE X.509-SVID §2 to §4, RFC 5280.
 */
export interface MeshAuthority {
  /** The roots to be trusted, PEM, one behind the other. */
  readonly rootsPem: string;
  /** Throws when the authority is past its end. */
  issue(wish: IdentityWish): IssuedIdentity;
  /** Told after each change of the roots. Returns how to be told no more. */
  onRootsChange(listener: (rootsPem: string) => void): () => void;
  close(): Promise<void>;
}

export interface IdentityWish {
  spiffeId: string;
  /** DER of a SubjectPublicKeyInfo, or a public key. Without it, a new P-256 pair is made. */
  publicKey?: Buffer | KeyObject;
  /** From now on. Default and most: a day. */
  lifetimeSeconds?: number;
  /** As the API calls them. Default: digital signature, server auth, client auth. */
  usages?: readonly string[];
}

export interface IssuedIdentity {
  /** PEM: the certificate, then those that lead to a root, without the root itself. */
  chainPem: string;
  /** PKCS #8 PEM, of a pair that was made here. */
  keyPem?: string;
  /** Two minutes ago: clocks differ. */
  notBefore: Date;
  notAfter: Date;
}

export const trustDomain = "cluster.local";
export const meshAuthoritySecret = "wherry-mesh-ca";
/** What it signs lives no longer: a stolen key is of little use. */
export const identitySecondsMost = 86_400;

/** So long before it was issued a certificate begins. */
export const backdatedSeconds = 120;

export const spiffeId = (namespace: string, serviceAccount: string): string => writeSpiffeId({ trustDomain, namespace, serviceAccount });

export { parseSpiffeId, type SpiffeId } from "../../base/spiffe.ts";

const dayMs = 86_400_000;
const lifeMs = 3650 * dayMs;
/** A root this near its end gets a successor. */
const renewalMs = 365 * dayMs;
/** The successor is trusted for so long before it signs. */
const overlapMs = 2 * dayMs;
const backdatedMs = backdatedSeconds * 1000;
const rootName = "Wherry mesh CA";

/** Who signs, who will, and whom to trust: what stands in the Secret. Certificates are PEM, `signer.cert` with those that lead to a root. */
export interface MeshRoots {
  signer: Pair;
  next?: Pair | undefined;
  /** In the order in which they came. */
  roots: readonly string[];
}

/**
 * What the roots should be now; the same object when nothing is to be done. A root that signs no longer stays trusted until its
 * end, but its key goes at once. Roots of other make are left as they are: whoever put them there renews them.
 */
export function renewRoots(state: MeshRoots | undefined, nowMs: number): MeshRoots {
  if (!state) {
    const signer = makeRoot(nowMs);
    return { signer, roots: [signer.cert] };
  }
  const signing = new X509Certificate(state.signer.cert);
  const endMs = signing.validToDate.getTime();
  if (!state.next) {
    if (endMs - nowMs > renewalMs || !signing.subject.includes(rootName)) return state;
    const next = makeRoot(nowMs);
    return renewRoots({ ...state, next, roots: [...state.roots, next.cert] }, nowMs);
  }
  const isKnown = nowMs - overlapMs >= new X509Certificate(state.next.cert).validFromDate.getTime() + backdatedMs;
  if (!isKnown && endMs > nowMs) return state;
  return { signer: state.next, roots: state.roots.filter((root) => new X509Certificate(root).validToDate.getTime() > nowMs) };
}

function makeRoot(nowMs: number): Pair {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const publicKey = publicKeyOf(privateKey);
  // Of the same name twice, a verifier would try the wrong one; so each has a piece of its key in it.
  const subject = nameOf([["O", trustDomain], ["CN", `${rootName} ${publicKey.subarray(-4).toString("hex")}`]]);
  const cert = makeCertificate(
    { subject, publicKey, alternativeNames: generalNames({ uris: [`spiffe://${trustDomain}`] }), notBefore: new Date(nowMs - backdatedMs), notAfter: new Date(nowMs + lifeMs), isCA: true, pathLength: 0, usages: ["cert sign", "crl sign"] },
    privateKey,
  );
  return { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }) as string };
}

export interface MeshAuthorityOptions {
  /** Reads and writes Secrets of `wherry-system`. */
  client: Client;
  clock: Clock;
  random?: Random;
  log?: Log;
}

/**
 * Reads the Secret, makes it where it is missing, follows it when others change it, and renews it in time. Resolves when the
 * authority can sign, durably; a Secret that is no authority is an error in the log, until somebody mends or deletes it.
 */
export async function openMeshAuthority(options: MeshAuthorityOptions): Promise<MeshAuthority> {
  const authority = new StoredAuthority(options);
  await authority.ready;
  return authority;
}

const retryMs = 1_000;
const identityUsages = ["digital signature", "server auth", "client auth"];

class StoredAuthority implements MeshAuthority {
  readonly ready: Promise<void>;
  readonly #options: MeshAuthorityOptions;
  readonly #log: Log;
  readonly #informer: Informer<Secret>;
  readonly #ready = Promise.withResolvers<void>();
  readonly #listeners = new Set<(rootsPem: string) => void>();
  #state: MeshRoots | undefined;
  #key: KeyObject | undefined;
  #working: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(options: MeshAuthorityOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLog;
    this.ready = this.#ready.promise;
    const { client, clock, random, log } = options;
    this.#informer = new Informer<Secret>({ client, clock, ...(random && { random }), ...(log && { log }), resource: resources.secrets, namespace: systemNamespace, fieldSelector: `metadata.name=${meshAuthoritySecret}` });
    this.#informer.onChange(() => this.#look());
    this.#informer.start();
    void this.#informer.synced.then(() => this.#look(), (error: unknown) => this.#ready.reject(error as Error));
  }

  get rootsPem(): string {
    return this.#state!.roots.join("");
  }

  issue({ spiffeId: id, publicKey, lifetimeSeconds = identitySecondsMost, usages = identityUsages }: IdentityWish): IssuedIdentity {
    const nowMs = this.#options.clock.now();
    const { signer } = this.#state!;
    const chain = certificatesOf(signer.cert);
    const endMs = new X509Certificate(chain[0]!).validToDate.getTime();
    if (endMs <= nowMs) throw new Error(`the mesh's certificate authority (Secret ${systemNamespace}/${meshAuthoritySecret}) ended at ${new Date(endMs).toISOString()}`);
    const own = publicKey ? undefined : generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    const spki = own ? publicKeyOf(own) : Buffer.isBuffer(publicKey) ? publicKey : (publicKey!.export({ type: "spki", format: "der" }) as Buffer);
    // X.509 counts whole seconds.
    const notBefore = wholeSecond(nowMs - backdatedMs);
    const notAfter = wholeSecond(Math.min(endMs, nowMs + 1000 * Math.min(lifetimeSeconds, identitySecondsMost)));
    const cert = makeCertificate({ subject: nameOf([]), publicKey: spki, alternativeNames: generalNames({ uris: [id] }), notBefore, notAfter, isCA: false, usages }, this.#key!, { cert: chain[0]! });
    const chainPem = [cert, ...chain.filter((one) => !isRoot(one))].join("");
    return { chainPem, ...(own && { keyPem: own.export({ type: "pkcs8", format: "pem" }) as string }), notBefore, notAfter };
  }

  onRootsChange(listener: (rootsPem: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#ready.promise.catch(() => {});
    this.#ready.reject(new Error("the mesh's certificate authority was closed"));
    await this.#informer.stop();
    await this.#working;
  }

  #look(): void {
    if (!this.#informer.hasSynced || this.#isClosed) return;
    this.#working = this.#working.then(() => this.#reconcile()).catch((error: unknown) => {
      this.#log.error(`Secret ${systemNamespace}/${meshAuthoritySecret}: the mesh's certificate authority is not renewed`, { error: (error as Error).message });
      this.#lookAgain(retryMs);
    });
  }

  #lookAgain(afterMs: number): void {
    this.#timer?.cancel();
    if (!this.#isClosed) this.#timer = this.#options.clock.setTimer(afterMs, () => this.#look());
  }

  async #reconcile(): Promise<void> {
    if (this.#isClosed) return;
    const { client, clock } = this.#options;
    const found = this.#informer.get(`${systemNamespace}/${meshAuthoritySecret}`);
    const held = found && readRoots(found);
    const state = renewRoots(held, clock.now());
    if (state !== held) {
      const object = secretOf(state, found);
      try {
        await (found ? client.update(resources.secrets, systemNamespace, meshAuthoritySecret, object) : client.create(resources.secrets, systemNamespace, object));
      } catch (error) {
        // Somebody else wrote: the informer will tell what.
        if (error instanceof StatusError && ["Conflict", "AlreadyExists", "NotFound"].includes(error.reason)) return this.#lookAgain(retryMs);
        throw error;
      }
    }
    this.#take(state);
    this.#lookAgain(dayMs / 24);
  }

  #take(state: MeshRoots): void {
    const before = this.#state?.roots.join("");
    this.#state = state;
    this.#key = createPrivateKey(state.signer.key);
    this.#ready.resolve();
    if (before === undefined || before === this.rootsPem) return;
    for (const listener of this.#listeners) listener(this.rootsPem);
  }
}

const wholeSecond = (ms: number): Date => new Date(Math.floor(ms / 1000) * 1000);
const certificatesOf = (pemText: string): string[] => pemBlocks(pemText).map(({ bytes }) => new X509Certificate(bytes).toString());
const isRoot = (cert: string): boolean => {
  const read = new X509Certificate(cert);
  return read.checkIssued(read);
};

/** Throws what is wrong with it. */
function readRoots({ data = {} }: Secret): MeshRoots {
  const pairOf = (name: string): Pair => {
    const [cert = "", key = ""] = ["crt", "key"].map((end) => Buffer.from(data[`${name}.${end}`] ?? "", "base64").toString("latin1"));
    const [first] = certificatesOf(cert);
    if (first === undefined) throw new Error(`${name}.crt holds no certificate`);
    const read = new X509Certificate(first);
    if (!read.ca) throw new Error(`the certificate in ${name}.crt is no certificate authority`);
    if (!read.checkPrivateKey(createPrivateKey(key))) throw new Error(`${name}.key is not the key of ${name}.crt`);
    return { cert: certificatesOf(cert).join(""), key };
  };
  const signer = pairOf("tls");
  const next = data["next.crt"] === undefined ? undefined : pairOf("next");
  const trusted = certificatesOf(Buffer.from(data["ca.crt"] ?? "", "base64").toString("latin1"));
  // Whoever signs is trusted, whatever else the bundle says.
  const own = [signer, next].flatMap((pair) => (pair ? certificatesOf(pair.cert).filter(isRoot) : []));
  const roots = [...new Set([...trusted, ...own])];
  if (roots.length === 0) throw new Error("ca.crt holds no root");
  return { signer, ...(next && { next }), roots };
}

function secretOf({ signer, next, roots }: MeshRoots, found: Secret | undefined): object {
  const texts = { "tls.crt": signer.cert, "tls.key": signer.key, "ca.crt": roots.join(""), ...(next && { "next.crt": next.cert, "next.key": next.key }) };
  const data = Object.fromEntries(Object.entries(texts).map(([key, value]) => [key, Buffer.from(value).toString("base64")]));
  return found ? { ...found, data } : { apiVersion: "v1", kind: "Secret", type: "kubernetes.io/tls", metadata: { name: meshAuthoritySecret, namespace: systemNamespace }, data };
}
