import { createHash, createPublicKey, X509Certificate } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { annotation, type Certificate, certManager, type CertificateRequest, type CertificateStatus, conditionOf, label, withCondition } from "../../api/cert-manager/types.ts";
import type { Condition } from "../../api/meta.ts";
import { timestamp } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { Secret } from "../../api/types.ts";
import type { Action, Existing, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { type Controller, controller } from "../runner.ts";
import { base64, encodeKey, keyMismatches, newKey, readKey } from "./keys.ts";
import { leafOf, publicKeyIn, reissueReason, unreadyReason, type Violation } from "./policies.ts";
import { issuedIn, issuerAnnotations, isAsWanted, secretFor } from "./secret.ts";
import { renewalMs, requestFor, requestMismatches, whatIsWrong } from "./wish.ts";

/**
 * A Certificate's way, one step a plan. Its memory is the condition Issuing and `status.revision`:
 *
 *   reason to issue ──▶ Issuing ──▶ key in a Secret for the time being ──▶ CertificateRequest ──▶ signed ──▶ Secret, revision + 1
 *                          ▲                                                   └── failed ──▶ Issuing: False, an hour's rest, doubled
 *                          └── Secret gone or spoilt, spec changed, renewal due
 *
 * Source: cert-manager pkg/controller/certificates (trigger, keymanager, requestmanager, issuing, readiness, revisionmanager).
 */
export const certificateController = (createSecret: (secret: object) => Promise<unknown>): Controller =>
  controller<Certificate>({
    name: "cert-manager-certificates",
    for: certManager.certificates,
    owns: { kind: "Certificate", resources: [certManager.certificateRequests, resources.secrets] },
    watches: [{ resource: resources.secrets, keys: ({ metadata: { namespace = "", name } }: Secret, cache) => cache.inNamespace<Certificate>(certManager.certificates, namespace).filter(({ spec }) => spec.secretName === name).map(keyOf) }],
    plan: ({ object, cache, nowMs }) => planCertificate(object, cache, nowMs, createSecret),
  });

const keyOf = ({ metadata }: { metadata: { namespace?: string; name: string } }): string => `${metadata.namespace}/${metadata.name}`;
const backoffMs = { least: 3_600_000, most: 32 * 3_600_000 };
/** How often one looks that may not write the Secret that another Certificate has. */
const duplicateMs = 180_000;

export function planCertificate(certificate: Certificate, cache: Cache, nowMs: number, createSecret: (secret: object) => Promise<unknown>): Plan {
  if (certificate.metadata.deletionTimestamp) return { actions: [] };
  return new Planning(certificate, cache, nowMs, createSecret).plan();
}

class Planning {
  readonly #certificate: Certificate;
  readonly #nowMs: number;
  readonly #createSecret: (secret: object) => Promise<unknown>;
  readonly #secret: Secret | undefined;
  readonly #owned: CertificateRequest[];
  readonly #keys: Secret[];
  readonly #isOwner: boolean;
  readonly #status: CertificateStatus;
  /** Told once the status is written. */
  readonly #events: Action[] = [];

  constructor(certificate: Certificate, cache: Cache, nowMs: number, createSecret: (secret: object) => Promise<unknown>) {
    const { metadata, spec } = certificate;
    this.#certificate = certificate;
    this.#nowMs = nowMs;
    this.#createSecret = createSecret;
    this.#secret = cache.get<Secret>(resources.secrets, `${metadata.namespace}/${spec.secretName}`);
    this.#owned = cache.ownedBy<CertificateRequest>(certManager.certificateRequests, metadata.uid);
    this.#keys = cache.ownedBy<Secret>(resources.secrets, metadata.uid).filter((secret) => secret.metadata.labels?.[label.nextPrivateKey] === "true");
    this.#isOwner = ownerOf(spec.secretName, this.#secret, cache.inNamespace<Certificate>(certManager.certificates, metadata.namespace!)) === metadata.name;
    this.#status = { ...certificate.status };
  }

  plan(): Plan {
    const { spec } = this.#certificate;
    const wrong = whatIsWrong(spec);
    this.#setTimes();
    if (wrong) {
      this.#set({ type: "Ready", status: "False", ...wrong });
      if (this.#isIssuing()) this.#set({ type: "Issuing", status: "False", ...wrong });
      const told = conditionOf(this.#certificate, "Ready");
      if (told?.reason !== wrong.reason || told.message !== wrong.message) this.#event("Warning", wrong.reason, wrong.message);
      return { actions: [...this.#dropKeys(), ...this.#write()] };
    }
    const unready = unreadyReason(this.#input());
    this.#set(unready ? { type: "Ready", status: "False", ...unready } : { type: "Ready", status: "True", reason: "Ready", message: "Certificate is up to date and has not expired" });
    return this.#isIssuing() ? this.#issue() : this.#rest(unready === undefined);
  }

  #input() {
    const { certificate, revision } = { certificate: this.#certificate, revision: this.#status.revision };
    return { certificate: { ...certificate, status: this.#status }, secret: this.#secret, current: revision === undefined ? undefined : this.#owned.find((request) => revisionOf(request) === revision), nowMs: this.#nowMs };
  }

  /** Nothing is under way: is there a reason to begin? */
  #rest(isReady: boolean): Plan {
    const actions = [...this.#dropKeys(), ...(isReady ? [...this.#dropHistory(), ...this.#correctSecret()] : [])];
    if (!this.#isOwner) return { actions: [...actions, ...this.#write()], requeueAfterMs: duplicateMs };
    const reason = reissueReason(this.#input());
    const waitMs = reason && this.#backoff();
    if (reason && waitMs === undefined) {
      this.#set({ type: "Issuing", status: "True", ...reason });
      this.#event("Normal", "Issuing", reason.message);
      return { actions: [...actions, ...this.#write()] };
    }
    const renewal = this.#status.renewalTime;
    const nextMs = waitMs ?? (renewal === undefined ? undefined : Math.max(Date.parse(renewal) - this.#nowMs, 0));
    // Readiness ends by itself, where nothing renews it.
    const expiryMs = this.#status.notAfter === undefined || !isReady ? undefined : Math.max(Date.parse(this.#status.notAfter) + 1 - this.#nowMs, 0);
    const times = [nextMs, expiryMs].filter((ms) => ms !== undefined);
    return { actions: [...actions, ...this.#write()], ...(times.length > 0 && { requeueAfterMs: Math.min(...times) }) };
  }

  /** After a failure the same is not tried at once again; something else is. */
  #backoff(): number | undefined {
    const { lastFailureTime, failedIssuanceAttempts = 1 } = this.#status;
    if (lastFailureTime === undefined) return undefined;
    const next = this.#requestsOfRevision()[0];
    if (next && (requestMismatches(next, this.#certificate.spec) ?? ["it"]).length > 0) return undefined;
    const delayMs = Math.min(backoffMs.least * 2 ** (Math.max(failedIssuanceAttempts, 1) - 1), backoffMs.most);
    const leftMs = Date.parse(lastFailureTime) + delayMs - this.#nowMs;
    return leftMs > 0 ? leftMs : undefined;
  }

  #issue(): Plan {
    const key = this.#nextKey();
    if (!("key" in key)) return { actions: key.actions };
    const [request, ...more] = this.#requestsOfRevision().filter((one) => !this.#isStale(one, key.publicKey));
    const stale = [...this.#owned.filter((one) => revisionOf(one) === undefined), ...this.#requestsOfRevision().filter((one) => one !== request), ...more];
    const actions = [...new Set(stale)].map((object): Action => ({ do: "delete", resource: certManager.certificateRequests, object: object as Existing }));
    // A name is free only once its holder is gone.
    if (!request) return { actions: actions.length > 0 ? actions : [this.#createRequest(key.key)] };
    return { actions: [...actions, ...this.#follow(request, key.key), ...this.#write()] };
  }

  /** The key that is to be certified, or what to do so that there is one. */
  #nextKey(): { key: NonNullable<ReturnType<typeof readKey>>; publicKey: Buffer } | { actions: Action[] } {
    const { metadata, spec } = this.#certificate;
    const name = this.#status.nextPrivateKeySecretName;
    if (name === undefined) {
      // Never drawn by lot: whoever plans this step again comes to the same name.
      const suffix = createHash("sha256").update(`${metadata.uid} ${this.#nextRevision()}`).digest("hex").slice(0, 5);
      this.#status.nextPrivateKeySecretName = `${metadata.name.slice(0, 247)}-${suffix}`;
      return { actions: this.#write() };
    }
    const others = this.#keys.filter((secret) => secret.metadata.name !== name);
    const found = this.#keys.find((secret) => secret.metadata.name === name);
    const drop = (secrets: readonly Secret[]): Action[] => secrets.map((object) => ({ do: "delete", resource: resources.secrets, object: object as Existing }));
    if (others.length > 0) return { actions: drop(others) };
    if (!found) return { actions: this.#createKey(name) };
    const key = readKey(issuedIn(found).key);
    const mismatches = key ? keyMismatches(key, spec.privateKey) : ["tls.key"];
    if (mismatches.length === 0) return { key: key!, publicKey: createPublicKey(key as never).export({ type: "spki", format: "der" }) };
    return { actions: [...drop([found]), { do: "event", about: this.#certificate, type: "Normal", reason: "Deleted", message: `Regenerating private key due to change in fields: [${mismatches.join(" ")}]` }] };
  }

  #createKey(name: string): Action[] {
    const { metadata, spec } = this.#certificate;
    const stored = readKey(issuedIn(this.#secret).key);
    const about = this.#certificate;
    const reuses = spec.privateKey?.rotationPolicy === "Never" && stored !== undefined;
    const mismatches = reuses ? keyMismatches(stored, spec.privateKey) : [];
    if (mismatches.length > 0) {
      return [{ do: "event", about, type: "Warning", reason: "CannotRegenerateKey", message: `User intervention required: existing private key in Secret ${JSON.stringify(spec.secretName)} does not match requirements on Certificate resource, mismatching fields: [${mismatches.join(" ")}], but cert-manager cannot create new private key as the Certificate's .spec.privateKey.rotationPolicy is unset or set to Never. To allow cert-manager to create a new private key you can set .spec.privateKey.rotationPolicy to 'Always' (this will result in the private key being regenerated every time a cert is renewed) ` }];
    }
    const run = async (): Promise<void> => {
      const key = reuses ? stored : await newKey(spec.privateKey);
      await this.#createSecret({
        apiVersion: "v1",
        kind: "Secret",
        metadata: { name, namespace: metadata.namespace, labels: { [label.nextPrivateKey]: "true", [label.managed]: "true" }, ownerReferences: [this.#owner()] },
        data: { "tls.key": base64(encodeKey(key, "PKCS8")) },
      });
    };
    const told: Action = reuses
      ? { do: "event", about, type: "Normal", reason: "Reused", message: `Reusing private key stored in existing Secret resource ${JSON.stringify(spec.secretName)}` }
      : { do: "event", about, type: "Normal", reason: "Generated", message: `Stored new private key in temporary Secret resource ${JSON.stringify(name)}` };
    return [{ do: "call", run, after: () => [told] }];
  }

  /** Made for another key or spec, or failed before this issuing began. */
  #isStale(request: CertificateRequest, publicKey: Buffer): boolean {
    if (requestMismatches(request, this.#certificate.spec)?.length !== 0 || !publicKeyIn(request)?.equals(publicKey)) return true;
    const ready = conditionOf(request, "Ready");
    const failedAt = request.status?.failureTime;
    const began = conditionOf({ status: this.#status }, "Issuing")?.lastTransitionTime;
    return ready?.reason === "Failed" && failedAt !== undefined && began !== undefined && Date.parse(failedAt) < Date.parse(began);
  }

  #createRequest(key: NonNullable<ReturnType<typeof readKey>>): Action {
    const { metadata, spec } = this.#certificate;
    const object = {
      apiVersion: "cert-manager.io/v1",
      kind: "CertificateRequest",
      metadata: {
        name: `${shortened(metadata.name)}-${this.#nextRevision()}`,
        namespace: metadata.namespace!,
        ...(metadata.labels && { labels: metadata.labels }),
        annotations: { ...copied(metadata.annotations), [annotation.revision]: String(this.#nextRevision()), [annotation.privateKeySecret]: this.#status.nextPrivateKeySecretName, [annotation.certificateName]: metadata.name },
        ownerReferences: [this.#owner()],
      },
      spec: { request: base64(requestFor(spec, key)), issuerRef: spec.issuerRef, ...(spec.duration && { duration: spec.duration }), ...(spec.isCA && { isCA: true }), ...(spec.usages && { usages: spec.usages }) },
    };
    const about = this.#certificate;
    return {
      do: "create",
      resource: certManager.certificateRequests,
      object,
      after: ({ metadata: { name } }) => [{ do: "event", about, type: "Normal", reason: "Requested", message: `Created new CertificateRequest resource ${JSON.stringify(name)}` }],
      orElse: (error) => [{ do: "event", about, type: "Warning", reason: "RequestFailed", message: `Failed to create CertificateRequest: ${error.message}` }],
    };
  }

  #follow(request: CertificateRequest, key: NonNullable<ReturnType<typeof readKey>>): Action[] {
    for (const type of ["Denied", "InvalidRequest"]) {
      const condition = conditionOf(request, type);
      if (condition?.status === "True") return this.#fail(condition);
    }
    const ready = conditionOf(request, "Ready");
    if (ready?.reason === "Failed" || ready?.reason === "Denied") return this.#fail(ready);
    if (ready?.reason !== "Issued") return [];
    const certificate = Buffer.from(request.status?.certificate ?? "", "base64").toString("utf8");
    const ca = Buffer.from(request.status?.ca ?? "", "base64").toString("utf8");
    const invalid = (message: string) => this.#fail({ type: "Ready", status: "False", reason: "InvalidCertificate", message });
    let leaf: X509Certificate;
    try {
      leaf = new X509Certificate(certificate);
    } catch (error) {
      return invalid(`Issuer returned an invalid certificate: failed to decode: ${(error as Error).message}`);
    }
    if (!leaf.checkPrivateKey(key)) return invalid("Issuer returned a certificate with a public key that does not match the CSR. This usually indicates a misconfigured issuer.");
    if (this.#nowMs > leaf.validToDate.getTime()) return invalid(`Issuer returned an already expired certificate (notAfter: ${timestamp(leaf.validToDate.getTime())}). This usually indicates an expired CA certificate in the issuer.`);
    const wanted = secretFor(this.#certificate, { key: encodeKey(key, this.#certificate.spec.privateKey?.encoding), certificate, ca }, leaf, this.#secret?.type ?? "kubernetes.io/tls", issuerAnnotations(request));
    this.#status.revision = this.#nextRevision();
    this.#status.conditions = (this.#status.conditions ?? []).filter(({ type }) => type !== "Issuing" && type !== "PubliclyTrusted");
    const local = conditionOf(request, "PubliclyTrusted");
    if (local) {
      this.#set(local);
      this.#event(local.reason === "LocalCA" ? "Normal" : "Warning", local.reason!, local.message!);
    }
    delete this.#status.failedIssuanceAttempts;
    delete this.#status.lastFailureTime;
    this.#event("Normal", "Issuing", "The certificate has been successfully issued");
    return [this.#apply(wanted)];
  }

  #fail({ reason = "", message = "" }: Condition): Action[] {
    const text = `The certificate request has failed to complete and will be retried: ${message}`;
    this.#status.lastFailureTime = timestamp(this.#nowMs);
    this.#status.failedIssuanceAttempts = (this.#status.failedIssuanceAttempts ?? 0) + 1;
    this.#set({ type: "Issuing", status: "False", reason, message: text });
    this.#event("Warning", reason, text);
    return [];
  }

  #apply(wanted: Secret): Action {
    return { do: "patch", resource: resources.secrets, object: { metadata: { uid: "", resourceVersion: "", ...this.#secret?.metadata, name: wanted.metadata.name!, namespace: wanted.metadata.namespace! } }, patch: wanted, type: "apply", force: true };
  }

  /** What is no reason to issue: labels, annotations, formats. */
  #correctSecret(): Action[] {
    const leaf = leafOf(this.#secret);
    if (!this.#secret || !leaf || !this.#isOwner) return [];
    const noted = this.#secret.metadata.annotations ?? {};
    const issuer = Object.fromEntries([annotation.issuerName, annotation.issuerKind, annotation.issuerGroup].flatMap((name) => (noted[name] === undefined ? [] : [[name, noted[name]]])));
    const wanted = secretFor(this.#certificate, issuedIn(this.#secret), leaf, this.#secret.type ?? "kubernetes.io/tls", issuer);
    return isAsWanted(this.#secret, wanted) ? [] : [this.#apply(wanted)];
  }

  #dropKeys(): Action[] {
    if (this.#isIssuing()) return [];
    delete this.#status.nextPrivateKeySecretName;
    return this.#keys.map((object) => ({ do: "delete", resource: resources.secrets, object: object as Existing }));
  }

  /** The youngest requests are kept: one unless said. */
  #dropHistory(): Action[] {
    const limit = this.#certificate.spec.revisionHistoryLimit ?? 1;
    const old = this.#owned.filter((request) => (revisionOf(request) ?? 0) <= (this.#status.revision ?? 0)).sort((a, b) => (revisionOf(b) ?? 0) - (revisionOf(a) ?? 0)).slice(limit);
    return old.map((object) => ({ do: "delete", resource: certManager.certificateRequests, object: object as Existing }));
  }

  #setTimes(): void {
    const leaf = leafOf(this.#secret);
    const renewal = leaf && renewalMs(this.#certificate.spec, leaf);
    const times = { notBefore: leaf?.validFromDate.getTime(), notAfter: leaf?.validToDate.getTime(), renewalTime: renewal };
    for (const [name, ms] of Object.entries(times) as [keyof typeof times, number | undefined][]) {
      if (ms === undefined) delete this.#status[name];
      else this.#status[name] = timestamp(ms);
    }
  }

  #isIssuing = (): boolean => conditionOf({ status: this.#status }, "Issuing")?.status === "True";
  #nextRevision = (): number => (this.#status.revision ?? 0) + 1;
  #requestsOfRevision = (): CertificateRequest[] => this.#owned.filter((request) => revisionOf(request) === this.#nextRevision());
  #owner = () => ({ apiVersion: "cert-manager.io/v1", kind: "Certificate", name: this.#certificate.metadata.name, uid: this.#certificate.metadata.uid, controller: true, blockOwnerDeletion: true });

  #set(condition: Condition | (Violation & { type: string; status: "True" | "False" })): void {
    this.#status.conditions = withCondition(this.#status.conditions, condition as Condition, timestamp(this.#nowMs), this.#certificate.metadata.generation);
  }
  #event(type: "Normal" | "Warning", reason: string, message: string): void {
    this.#events.push({ do: "event", about: this.#certificate, type, reason, message });
  }
  #write(): Action[] {
    if (isDeepStrictEqual(this.#status, this.#certificate.status ?? {})) return this.#events;
    return [{ do: "status", resource: certManager.certificates, object: { ...this.#certificate, status: this.#status } as Existing, after: () => this.#events }];
  }
}

const revisionOf = ({ metadata }: CertificateRequest): number | undefined => {
  const text = metadata.annotations?.[annotation.revision] ?? "";
  return /^\d+$/.test(text) ? Number(text) : undefined;
};

/** Which of the Certificates that name one Secret may write it: whose it is, else the oldest. */
function ownerOf(secretName: string, secret: Secret | undefined, all: readonly Certificate[]): string | undefined {
  const claimants = all.filter(({ spec, metadata }) => spec.secretName === secretName && !metadata.deletionTimestamp);
  const named = secret?.metadata.annotations?.[annotation.certificateName];
  if (claimants.some(({ metadata }) => metadata.name === named)) return named;
  return claimants.sort((a, b) => a.metadata.creationTimestamp.localeCompare(b.metadata.creationTimestamp) || a.metadata.name.localeCompare(b.metadata.name))[0]?.metadata.name;
}

/** Source: cert-manager pkg/api/util.ComputeSecureUniqueDeterministicNameFromData: a long name ends in its hash. */
const shortened = (name: string): string => (name.length <= 233 ? name : `${name.slice(0, 168).replace(/[-.]+$/, "")}-${createHash("sha256").update(name).digest("hex").slice(0, 64)}`);
const copied = (annotations: Record<string, string> = {}): Record<string, string> => Object.fromEntries(Object.entries(annotations).filter(([name]) => !/^(kubectl\.kubernetes\.io|fluxcd\.io|argocd\.argoproj\.io)\//.test(name)));
