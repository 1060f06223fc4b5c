import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from "node:crypto";
import { annotation, certManager, type AcmeIssuer, type AcmeSolver, type CertificateRequest, type Issuer } from "../../../api/cert-manager/types.ts";
import type { Client } from "../../../api/client.ts";
import { parseRequest } from "../../../api/kinds/certificates/pkcs10.ts";
import { type GroupVersionResource, timestamp } from "../../../api/meta.ts";
import { resources } from "../../../api/resources.ts";
import { StatusError } from "../../../api/status.ts";
import type { Secret } from "../../../api/types.ts";
import { pemBlocks } from "../../../base/der.ts";
import type { Clock } from "../../../base/clock.ts";
import type { Action, Plan } from "../../action.ts";
import { secretNamespaceOf, tellIssuer } from "../issuer.ts";
import { base64, fieldOf, readKey } from "../keys.ts";
import type { Outcome } from "../request.ts";
import { fieldManager } from "../secret.ts";
import { certificatesIn } from "../signing.ts";
import { AcmeClient, AcmeProblem } from "./client.ts";
import { Jobs } from "./jobs.ts";
import { type ChallengeSolver, obtain, OrderFailed } from "./order.ts";

/** Issuers whose ACME server is spoken to, and what they sign. */
export interface AcmeIssuers {
  plan(resource: GroupVersionResource, key: string, issuer: Issuer, nowMs: number): Plan;
  /** Called again whenever there is something new; `tell` makes the actions that say an outcome. */
  planRequest(key: string, request: CertificateRequest, issuer: Issuer, nowMs: number, tell: (outcome: Outcome) => Action[]): Plan;
  stop(): Promise<void>;
}

/** Where nobody can answer challenges: an API server alone. */
export const withoutAcme: AcmeIssuers = {
  plan: (resource, _key, issuer, nowMs) => ({ actions: tellIssuer(resource, issuer, { status: "False", reason: "NotSupported", message: "no data plane is here that could answer an ACME server's challenges" }, nowMs) }),
  planRequest: () => ({ actions: [] }),
  stop: () => Promise.resolve(),
};

export interface AcmeOptions {
  client: Client;
  clock: Clock;
  solver: ChallengeSolver;
  /** Plans the object again. */
  wake(resource: GroupVersionResource, key: string): void;
}

interface Account {
  client: AcmeClient;
  uri: string;
}
interface ExternalBinding {
  keyID: string;
  keySecretRef: { name: string; key: string };
}

/** What the server will say again, whenever it is asked the same. */
const final = new Set(["badCSR", "badPublicKey", "caa", "malformed", "rejectedIdentifier", "unsupportedIdentifier", "userActionRequired", "unauthorized", "invalidProfile"]);
/** An answer without a time, after which a server that limits us is asked again. */
const limitedMs = 3_600_000;

export class ServedAcme implements AcmeIssuers {
  readonly #options: AcmeOptions;
  readonly #accountJobs: Jobs<Account>;
  readonly #orderJobs: Jobs<string>;
  /** By the issuer's uid. */
  readonly #accounts = new Map<string, Account>();
  readonly #waiting = new Map<string, Set<string>>();

  constructor(options: AcmeOptions) {
    const { clock, wake } = options;
    this.#options = options;
    this.#accountJobs = new Jobs(clock, (key) => (key.includes("/") ? wake(certManager.issuers, key) : wake(certManager.clusterIssuers, key)));
    this.#orderJobs = new Jobs(clock, (key) => wake(certManager.certificateRequests, key));
  }

  plan(resource: GroupVersionResource, key: string, issuer: Issuer, nowMs: number): Plan {
    const acme = issuer.spec.acme!;
    const say = (status: "True" | "False", reason: string, message: string, uri?: string): Action[] => tellIssuer(resource, issuer, { status, reason, message }, nowMs, uri ? { ...issuer.status?.acme, uri, ...(acme.email && { lastRegisteredEmail: acme.email }) } : undefined);
    const unsupported = whatIsUnsupported(acme);
    if (unsupported) return { actions: say("False", "NotSupported", unsupported) };
    const job = this.#accountJobs.of(key, JSON.stringify([issuer.metadata.uid, { ...acme, solvers: [] }]), ({ signal }) => this.#register(issuer, signal), restMsOf);
    if (job.result) {
      this.#accounts.set(issuer.metadata.uid, job.result);
      for (const waiting of this.#waiting.get(issuer.metadata.uid) ?? []) this.#options.wake(certManager.certificateRequests, waiting);
      this.#waiting.delete(issuer.metadata.uid);
      return { actions: say("True", "ACMEAccountRegistered", "The ACME account was registered with the ACME server", job.result.uri) };
    }
    if (!job.error) return { actions: [] };
    const requeueAfterMs = Math.max((job.retryAtMs ?? nowMs) - nowMs, 0);
    return { actions: say("False", "ErrRegisterACMEAccount", `Failed to register ACME account: ${job.error.message}`), requeueAfterMs };
  }

  planRequest(key: string, request: CertificateRequest, issuer: Issuer, nowMs: number, tell: (outcome: Outcome) => Action[]): Plan {
    const { uid } = issuer.metadata;
    const acme = issuer.spec.acme!;
    const account = this.#accounts.get(uid);
    if (!account) {
      this.#waiting.set(uid, (this.#waiting.get(uid) ?? new Set()).add(key));
      return { actions: [] };
    }
    const asked = askedFor(request, acme.solvers ?? []);
    if (typeof asked === "string") return { actions: tell({ failed: "InvalidOrder", message: asked }) };
    const { client: api, clock, solver } = this.#options;
    const { namespace, name, annotations } = request.metadata;
    let orderUrl = annotations?.[annotation.acmeOrder];
    const began = async (url: string): Promise<void> => {
      orderUrl = url;
      await api.patch(certManager.certificateRequests, namespace, name, { metadata: { annotations: { [annotation.acmeOrder]: url } } }, { type: "merge", fieldManager });
    };
    const job = this.#orderJobs.of(
      key,
      request.metadata.uid,
      ({ signal, report }) => obtain({ client: account.client, ...asked, profile: acme.profile, preferredChain: acme.preferredChain, orderUrl, began, report, solver, clock, signal }),
      restMsOf,
    );
    if (job.result !== undefined) {
      this.#orderJobs.drop(key);
      const root = certificatesIn(job.result).length > 1 ? rootOf(job.result) : "";
      return { actions: tell({ certificate: job.result, ca: root }) };
    }
    if (!job.error) return { actions: tell({ pending: "OrderPending", message: job.message || "Waiting for the ACME server", silent: true }) };
    if (job.error instanceof OrderFailed || (job.error instanceof AcmeProblem && final.has(job.error.type))) {
      this.#orderJobs.drop(key);
      return { actions: tell({ failed: "OrderFailed", message: job.error.message }) };
    }
    const requeueAfterMs = Math.max((job.retryAtMs ?? nowMs) - nowMs, 0);
    const reason = job.error instanceof AcmeProblem && job.error.type === "rateLimited" ? "RateLimited" : "OrderPending";
    return { actions: tell({ pending: reason, message: `${job.error.message}. The server is asked again at ${timestamp(job.retryAtMs ?? nowMs)}` }), requeueAfterMs };
  }

  async stop(): Promise<void> {
    await Promise.all([this.#orderJobs.stop(), this.#accountJobs.stop()]);
  }

  async #register(issuer: Issuer, signal: AbortSignal): Promise<Account> {
    const { server, email, caBundle, skipTLSVerify = false, externalAccountBinding } = issuer.spec.acme!;
    const key = await this.#accountKey(issuer);
    const client = new AcmeClient({ url: server, skipVerification: skipTLSVerify, ca: caBundle && Buffer.from(caBundle, "base64").toString("utf8") }, key, this.#options.clock, signal);
    const binding = externalAccountBinding as ExternalBinding | undefined;
    const uri = await client.register(email ? [`mailto:${email}`] : [], binding && { id: binding.keyID, key: await this.#bindingKey(issuer, binding) });
    return { client, uri };
  }

  /** The account's key is the account: it is kept in a Secret, and made when there is none. */
  async #accountKey(issuer: Issuer): Promise<KeyObject> {
    const { privateKeySecretRef: { name, key: field = "tls.key" }, disableAccountKeyGeneration = false } = issuer.spec.acme!;
    const namespace = secretNamespaceOf(issuer);
    const { client } = this.#options;
    const found = await client.get<Secret>(resources.secrets, namespace, name).catch((error: unknown) => {
      if (error instanceof StatusError && error.code === 404) return undefined;
      throw error;
    });
    if (found) {
      const key = readKey(fieldOf(found, field));
      const curve = key?.asymmetricKeyDetails?.namedCurve;
      if (key?.asymmetricKeyType !== "rsa" && curve !== "prime256v1") throw new Error(`Account private key is invalid: ${field} in Secret ${namespace}/${name} must be of RSA or P-256`);
      return key!;
    }
    if (disableAccountKeyGeneration) throw new Error(`the ACME issuer config has 'disableAccountKeyGeneration' set to true, but the secret was not found: secrets ${JSON.stringify(name)} not found`);
    const pem = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "sec1", format: "pem" }) as string;
    await client.create(resources.secrets, namespace, { apiVersion: "v1", kind: "Secret", metadata: { name, namespace, labels: { "controller.cert-manager.io/fao": "true" } }, data: { [field]: base64(pem) } }, { fieldManager });
    return createPrivateKey(pem);
  }

  async #bindingKey(issuer: Issuer, { keySecretRef }: ExternalBinding): Promise<Buffer> {
    const secret = await this.#options.client.get<Secret>(resources.secrets, secretNamespaceOf(issuer), keySecretRef.name);
    return Buffer.from(fieldOf(secret, keySecretRef.key), "base64url");
  }
}

function restMsOf(error: Error): number | undefined {
  if (!(error instanceof AcmeProblem)) return undefined;
  return error.retryAfterMs ?? (error.type === "rateLimited" ? limitedMs : undefined);
}

function whatIsUnsupported({ enableDurationFeature = false, solvers = [] }: AcmeIssuer): string | undefined {
  if (enableDurationFeature) return "spec.acme.enableDurationFeature is not served by Wherry";
  if (!solvers.some(({ http01 }) => http01)) return "no solver in spec.acme.solvers has http01, which is how Wherry proves that a name is its own";
  return undefined;
}

/** A text: why nobody can be asked for it. */
function askedFor(request: CertificateRequest, solvers: readonly AcmeSolver[]): { names: string[]; request: Buffer } | string {
  const pem = Buffer.from(request.spec.request, "base64").toString("latin1");
  let found: ReturnType<typeof parseRequest>;
  try {
    found = parseRequest(pem);
  } catch (error) {
    return `Failed to decode CSR in spec.request: ${(error as Error).message}`;
  }
  const { commonName, dnsNames, addresses, emails, uris } = found;
  if (request.spec.isCA) return "ACME servers sign no authorities: spec.isCA";
  const names = [...new Set([...dnsNames, ...addresses])];
  if (commonName && !names.includes(commonName)) return `The CSR PEM requests a commonName that is not present in the list of dnsNames or ipAddresses. If a commonName is set, ACME requires that the value is also present in the list of dnsNames or ipAddresses: ${JSON.stringify(commonName)} does not exist in [${dnsNames.join(" ")}] or [${addresses.join(" ")}]`;
  if (emails.length + uris.length > 0) return "ACME servers certify DNS names and IP addresses alone: spec.emailAddresses, spec.uris";
  const unsolved = names.find((name) => !solvers.some(({ http01, selector }) => http01 && selects(selector, name, request.metadata.labels ?? {})));
  if (unsolved) return `no configured challenge solvers can be used for this challenge: ${unsolved}`;
  return { names, request: pemBlocks(pem)[0]!.bytes };
}

function selects({ dnsNames = [], dnsZones = [], matchLabels = {} }: NonNullable<AcmeSolver["selector"]> = {}, name: string, labels: Record<string, string>): boolean {
  if (!Object.entries(matchLabels).every(([key, value]) => labels[key] === value)) return false;
  if (dnsNames.length + dnsZones.length === 0) return true;
  const bare = name.replace(/^\*\./, "");
  return dnsNames.includes(name) || dnsZones.some((zone) => bare === zone || bare.endsWith(`.${zone}`));
}

/** The last certificate of a chain, where it is its own issuer. */
function rootOf(chain: string): string {
  const last = certificatesIn(chain).at(-1)!;
  const { subject, issuer } = new X509Certificate(last);
  return subject === issuer ? last : "";
}
