import { constants, createPublicKey, generateKeyPair, type KeyObject, randomBytes, sign } from "node:crypto";
import { promisify } from "node:util";
import type { PodCertificateRequest } from "../../api/kinds/certificates/pod-certificate-request.ts";
import type { KubeObject } from "../../api/meta.ts";
import { nodeName, resources } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import type { Pod, Volume } from "../../api/types.ts";
import { pem, pemBlocks } from "../../base/der.ts";
import type { NodeContext } from "../context.ts";

export type CertificateProjection = NonNullable<NonNullable<NonNullable<Volume["projected"]>["sources"]>[number]["podCertificate"]>;

/** Gives the pod's certificates, each until it should be renewed. */
export interface CertificateSource {
  /** `place` names the projection within the pod. Both PEM; the key as PKCS #8. Throws, in kubelet's words, while there is none. */
  credential(place: string, projection: CertificateProjection): Promise<Credential>;
}
export interface Credential {
  keyPem: string;
  chainPem: string;
}

type Context = Pick<NodeContext, "client" | "clock" | "event">;

/** A signer on the same machine needs milliseconds: so long a mount waits before it says that it does. */
const patienceMs = 2_000;
/** How soon a renewal that was not decided is looked at again. */
const renewalRetryMs = 60_000;
const overdueMs = 600_000;

const generate = promisify(generateKeyPair) as unknown as (type: string, options: object) => Promise<{ privateKey: KeyObject }>;
/** What Node can make, of all that the API lets through. */
const keyTypes: Record<string, [type: string, options: object]> = {
  RSA3072: ["rsa", { modulusLength: 3072 }],
  RSA4096: ["rsa", { modulusLength: 4096 }],
  ECDSAP256: ["ec", { namedCurve: "P-256" }],
  ECDSAP384: ["ec", { namedCurve: "P-384" }],
  ECDSAP521: ["ec", { namedCurve: "P-521" }],
  ED25519: ["ed25519", {}],
};

interface Asked {
  name: string;
  keyPem: string;
}
interface State {
  issued?: Credential & { refreshAtMs: number; notAfterMs: number };
  asked?: Asked | undefined;
  /** For good: kubelet's words. */
  refused?: string;
  saidOverdue?: boolean;
  saidExpired?: boolean;
}

/**
 * The certificates of one pod: a key of its own for each projection, made here and told nobody but the pod, and a
 * PodCertificateRequest that a signer decides. Source of behaviour and words: k8s.io/kubernetes/pkg/kubelet/podcertificate.
 */
export class PodCertificates implements CertificateSource {
  readonly #ctx: Context;
  readonly #pod: Pod;
  readonly #states = new Map<string, State>();
  #waiting: AbortController | undefined;
  #stopped = false;

  constructor(ctx: Context, pod: Pod) {
    this.#ctx = ctx;
    this.#pod = pod;
  }

  /** When the first of them is due, so that the volume is written again. */
  get renewAtMs(): number {
    const nowMs = this.#ctx.clock.now();
    return Math.min(Infinity, ...[...this.#states.values()].map(({ issued, refused }) => (!issued || refused !== undefined ? Infinity : Math.max(issued.refreshAtMs, issued.refreshAtMs <= nowMs ? nowMs + renewalRetryMs : 0))));
  }

  /** The pod ends: nobody is waited for any more. */
  stop(): void {
    this.#stopped = true;
    this.#waiting?.abort();
  }

  async credential(place: string, projection: CertificateProjection): Promise<Credential> {
    const state = this.#states.get(place) ?? {};
    this.#states.set(place, state);
    if (state.refused !== undefined) throw new Error(state.refused);
    const nowMs = this.#ctx.clock.now();
    if (state.issued && nowMs < state.issued.refreshAtMs) return state.issued;
    if (state.issued) this.#sayLate(state, nowMs);
    // With one at hand, a signer that is away must not take the rest of the volume with it.
    try {
      await this.#proceed(state, projection);
    } catch (error) {
      if (!state.issued || state.refused !== undefined) throw error;
      this.#ctx.event(this.#pod, "Warning", "FailedMount", `renewal of the pod certificate by ${projection.signerName}: ${(error as Error).message}`);
    }
    if (state.issued) return state.issued;
    throw new Error("credential bundle is not issued yet");
  }

  async #proceed(state: State, projection: CertificateProjection): Promise<void> {
    state.asked ??= await this.#ask(projection);
    const request = await this.#decision(state.asked);
    if (request === "gone") {
      // Somebody deleted it, or it was never decided: the next attempt makes another.
      state.asked = undefined;
      return;
    }
    const [condition] = request?.status?.conditions ?? [];
    if (!request || !condition) return;
    const { keyPem } = state.asked;
    state.asked = undefined;
    const { type, reason, message = "" } = condition;
    if (type === "Issued") {
      const { certificateChain = "", beginRefreshAt, notAfter } = request.status!;
      // Nothing but the certificates: no text between them, no headers.
      const chainPem = pemBlocks(certificateChain).map(({ bytes }) => pem("CERTIFICATE", bytes)).join("");
      state.issued = { keyPem, chainPem, refreshAtMs: Date.parse(beginRefreshAt!), notAfterMs: Date.parse(notAfter!) };
      state.saidOverdue = state.saidExpired = false;
      return;
    }
    const verb = type === "Denied" ? "was denied" : "failed";
    this.#ctx.event(this.#pod, "Warning", type, `PodCertificateRequest ${request.metadata.namespace}/${request.metadata.name} ${verb}, reason=${JSON.stringify(reason)}, message=${JSON.stringify(message)}`);
    state.refused = `PodCertificateRequest was permanently ${type === "Denied" ? "denied" : "failed"}: reason=${JSON.stringify(reason)} message=${JSON.stringify(message)}`;
    throw new Error(state.refused);
  }

  #sayLate(state: State, nowMs: number): void {
    const { refreshAtMs, notAfterMs } = state.issued!;
    if (nowMs > refreshAtMs + overdueMs && !state.saidOverdue) {
      state.saidOverdue = true;
      this.#ctx.event(this.#pod, "Warning", "CertificateOverdueForRefresh", "PodCertificate refresh overdue");
    }
    if (nowMs > notAfterMs && !state.saidExpired) {
      state.saidExpired = true;
      this.#ctx.event(this.#pod, "Warning", "CertificateExpired", "PodCertificate expired");
    }
  }

  /** Makes a key, and asks for a certificate for it. */
  async #ask({ signerName, keyType, maxExpirationSeconds, userAnnotations }: CertificateProjection): Promise<Asked> {
    const { client } = this.#ctx;
    const { name: podName, namespace, uid: podUID } = this.#pod.metadata;
    const how = keyTypes[keyType];
    if (!how) throw new Error(`while generating keypair: unknown key type ${JSON.stringify(keyType)}`);
    const serviceAccountName = this.#pod.spec!.serviceAccountName || "default";
    const account = await client.get<KubeObject>(resources.serviceAccounts, namespace, serviceAccountName).catch((error: unknown) => {
      throw new Error(`while fetching service account: ${(error as Error).message}`, { cause: error });
    });
    const node = await client.get<KubeObject>(resources.nodes, undefined, this.#pod.spec!.nodeName ?? nodeName);
    const { privateKey } = await generate(...how);
    const request = {
      apiVersion: "certificates.k8s.io/v1beta1",
      kind: "PodCertificateRequest",
      metadata: { name: `req-${randomBytes(5).toString("hex")}`, namespace, ownerReferences: [{ apiVersion: "v1", kind: "Pod", name: podName, uid: podUID }] },
      spec: {
        signerName,
        podName,
        podUID,
        serviceAccountName,
        serviceAccountUID: account.metadata.uid,
        nodeName: node.metadata.name,
        nodeUID: node.metadata.uid,
        pkixPublicKey: createPublicKey(privateKey).export({ type: "spki", format: "der" }).toString("base64"),
        proofOfPossession: prove(privateKey, podUID).toString("base64"),
        ...(maxExpirationSeconds !== undefined && { maxExpirationSeconds }),
        ...(userAnnotations && { unverifiedUserAnnotations: userAnnotations }),
      },
    };
    const made = await client.create<KubeObject>(resources.podCertificateRequests, namespace, request).catch((error: unknown) => {
      throw new Error(`while creating PodCertificateRequest: ${(error as Error).message}`, { cause: error });
    });
    return { name: made.metadata.name, keyPem: privateKey.export({ type: "pkcs8", format: "pem" }) as string };
  }

  /** The request once it is decided, or as it is when patience ends; "gone" when there is none. */
  async #decision({ name }: Asked): Promise<PodCertificateRequest | "gone" | undefined> {
    const { client, clock } = this.#ctx;
    const { namespace } = this.#pod.metadata;
    const patience = (this.#waiting = new AbortController());
    if (this.#stopped) patience.abort();
    const timer = clock.setTimer(patienceMs, () => patience.abort());
    try {
      for await (const { type, object } of client.watch<PodCertificateRequest>(resources.podCertificateRequests, { namespace: namespace!, fieldSelector: `metadata.name=${name}`, signal: patience.signal })) {
        if (object.metadata.name !== name) continue;
        if (type === "DELETED") return "gone";
        if ((object.status?.conditions ?? []).length > 0) return object;
      }
    } catch (error) {
      if (!patience.signal.aborted) throw error;
    } finally {
      timer.cancel();
      patience.abort();
    }
    return await client.get<PodCertificateRequest>(resources.podCertificateRequests, namespace, name).catch((error: unknown) => {
      if (error instanceof StatusError && error.code === 404) return "gone" as const;
      throw error;
    });
  }
}

/** The pod's uid, signed with the key. */
function prove(key: KeyObject, podUID: string): Buffer {
  const content = Buffer.from(podUID);
  if (key.asymmetricKeyType === "ed25519") return sign(null, content, key);
  return sign("sha256", content, key.asymmetricKeyType === "rsa" ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST } : key);
}
