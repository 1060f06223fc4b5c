import { type KeyObject, randomUUID, sign, verify } from "node:crypto";
import { type KubeObject, timestamp } from "../../api/meta.ts";
import { badRequestError, invalidError } from "../../api/status.ts";
import { invalid } from "../../api/field.ts";
import type { Clock } from "../../base/clock.ts";
import type { Store } from "../../store/store.ts";
import type { Identity } from "../rest/context.ts";
import type { Pki } from "../pki.ts";
import type { StructuredAuthentication } from "./oidc/authenticator.ts";

/** Service-account tokens: ES256 JWTs bound to the account and, when asked, to a pod, secret or node. */
export const issuer = "https://kubernetes.default.svc.cluster.local";
export const apiAudience = issuer;
const lifetimeS = { default: 3600, least: 600, most: 365 * 24 * 3600, volume: 3607 };
const cacheMax = 10_000;

interface Claims {
  aud: string[];
  exp: number;
  iat: number;
  nbf: number;
  iss: string;
  jti: string;
  sub: string;
  "kubernetes.io": { namespace: string; serviceaccount: { name: string; uid: string }; pod?: { name: string; uid: string }; secret?: { name: string; uid: string }; node?: { name: string; uid: string } };
}

export class Tokens {
  /** Whose tokens count beside our own. */
  structured: StructuredAuthentication | undefined;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #key: KeyObject;
  readonly #publicKey: KeyObject;
  readonly #keyId: string;
  /** Verified signatures: token → claims. What they are bound to is looked up each time. */
  readonly #verified = new Map<string, Claims>();

  constructor(options: { store: Store; clock: Clock; key: Pki["serviceAccountKey"] }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#key = options.key.private;
    this.#publicKey = options.key.public;
    this.#keyId = options.key.id;
  }

  /** POST serviceaccounts/NAME/token. Source: pkg/registry/core/serviceaccount/storage/token.go. */
  async issue(account: KubeObject, request: unknown, annotations?: Record<string, string>): Promise<object> {
    const spec = ((request as { spec?: object } | null)?.spec ?? {}) as { audiences?: string[]; expirationSeconds?: number; boundObjectRef?: { kind?: string; name?: string; uid?: string } };
    const seconds = spec.expirationSeconds ?? lifetimeS.default;
    if (seconds < lifetimeS.least) throw invalidError({ group: "authentication.k8s.io", kind: "TokenRequest" }, "", [invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")]);
    const namespace = account.metadata.namespace!;
    const now = Math.floor(this.#clock.now() / 1000);
    const bound = this.#bound(namespace, spec.boundObjectRef);
    const audiences = spec.audiences?.length ? spec.audiences : [apiAudience];
    // Programs that read their token once and never again would fail after an hour: what a pod's volume asks for lives on.
    const isExtended = seconds === lifetimeS.volume && bound.pod !== undefined && audiences.includes(apiAudience);
    const exp = now + (isExtended ? lifetimeS.most : Math.min(seconds, lifetimeS.most));
    const claims: Claims = {
      aud: audiences,
      exp,
      iat: now,
      nbf: now,
      iss: issuer,
      jti: randomUUID(),
      sub: `system:serviceaccount:${namespace}:${account.metadata.name}`,
      "kubernetes.io": { namespace, serviceaccount: { name: account.metadata.name, uid: account.metadata.uid }, ...bound },
    };
    const token = this.#sign(claims);
    if (annotations) annotations["authentication.kubernetes.io/issued-credential-id"] = `JTI=${claims.jti}`;
    return {
      kind: "TokenRequest",
      apiVersion: "authentication.k8s.io/v1",
      metadata: { name: account.metadata.name, namespace, creationTimestamp: timestamp(this.#clock.now()) },
      spec: { audiences: claims.aud, expirationSeconds: seconds, boundObjectRef: spec.boundObjectRef ?? null },
      status: { token, expirationTimestamp: timestamp((isExtended ? now + seconds : exp) * 1000) },
    };
  }

  #bound(namespace: string, reference: { kind?: string; name?: string; uid?: string } | undefined): Partial<Claims["kubernetes.io"]> {
    if (!reference) return {};
    const { kind, name } = reference;
    const key = kind === "Pod" ? `/core/pods/${namespace}/${name}` : kind === "Secret" ? `/core/secrets/${namespace}/${name}` : kind === "Node" ? `/core/nodes/${name}` : undefined;
    if (!key) throw badRequestError(`cannot bind token for serviceaccount to object of type ${String(kind)}`);
    const object = this.#store.get(key)?.object as unknown as KubeObject | undefined;
    if (!object) throw badRequestError(`${kind!.toLowerCase()}s ${JSON.stringify(name)} not found`);
    if (reference.uid && reference.uid !== object.metadata.uid) throw badRequestError(`the UID in the bound object reference (${reference.uid}) does not match the UID in record. The object might have been deleted and then recreated`);
    return { [kind!.toLowerCase()]: { name: object.metadata.name, uid: object.metadata.uid } };
  }

  /** Who a bearer token speaks for; undefined when it is not ours, expired, or what it is bound to is gone. */
  authenticate(token: string, audiences: readonly string[] = [apiAudience]): (Identity & { audiences: string[] }) | undefined {
    const claims = this.#claimsOf(token);
    const now = this.#clock.now() / 1000;
    if (!claims || claims.exp < now || claims.nbf > now + 60 || !claims.aud.some((audience) => audiences.includes(audience))) return undefined;
    const { namespace, serviceaccount, pod, secret } = claims["kubernetes.io"];
    const isThere = (key: string, uid: string) => {
      const metadata = (this.#store.get(key)?.object as unknown as KubeObject | undefined)?.metadata;
      // What is going may say its last words: a minute beyond its grace, as upstream.
      return metadata?.uid === uid && !(metadata.deletionTimestamp && this.#clock.now() > Date.parse(metadata.deletionTimestamp) + 60_000);
    };
    if (!isThere(`/core/serviceaccounts/${namespace}/${serviceaccount.name}`, serviceaccount.uid)) return undefined;
    if (pod && !isThere(`/core/pods/${namespace}/${pod.name}`, pod.uid)) return undefined;
    if (secret && !isThere(`/core/secrets/${namespace}/${secret.name}`, secret.uid)) return undefined;
    return {
      name: claims.sub,
      uid: serviceaccount.uid,
      groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
      extra: { "authentication.kubernetes.io/credential-id": [`JTI=${claims.jti}`], ...(pod && { "authentication.kubernetes.io/pod-name": [pod.name], "authentication.kubernetes.io/pod-uid": [pod.uid] }) },
      audiences: claims.aud.filter((audience) => audiences.includes(audience)),
    };
  }

  #claimsOf(token: string): Claims | undefined {
    const known = this.#verified.get(token);
    if (known) return known;
    const [head, body, signature, ...rest] = token.split(".");
    if (!head || !body || !signature || rest.length > 0) return undefined;
    try {
      if ((JSON.parse(Buffer.from(head, "base64url").toString()) as { alg?: string }).alg !== "ES256") return undefined;
      if (!verify("sha256", Buffer.from(`${head}.${body}`), { key: this.#publicKey, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url"))) return undefined;
      const claims = JSON.parse(Buffer.from(body, "base64url").toString()) as Claims;
      if (claims.iss !== issuer) return undefined;
      if (this.#verified.size >= cacheMax) this.#verified.delete(this.#verified.keys().next().value!);
      this.#verified.set(token, claims);
      return claims;
    } catch {
      return undefined;
    }
  }

  #sign(claims: Claims): string {
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const content = `${encode({ alg: "ES256", kid: this.#keyId, typ: "JWT" })}.${encode(claims)}`;
    return `${content}.${sign("sha256", Buffer.from(content), { key: this.#key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
  }
}
