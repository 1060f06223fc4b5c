import { type KeyObject, randomUUID, sign, verify } from "node:crypto";
import type { KubeObject } from "../../api/meta.ts";
import type { Clock } from "../../base/clock.ts";
import type { Store } from "../../store/store.ts";
import type { Identity } from "../rest/context.ts";
import type { Pki } from "../pki.ts";
import type { StructuredAuthentication } from "./oidc/authenticator.ts";
import { type Bound, boundBy, checkTokenRequest, type Reference, tokenAnswer, type TokenRequest } from "./token-request.ts";

/** Service-account tokens: ES256 JWTs bound to the account and, when asked, to a pod, secret or node. */
export const issuer = "https://kubernetes.default.svc.cluster.local";
export const apiAudience = issuer;
const lifetimeS = { default: 3600, extended: 365 * 24 * 3600, volume: 3607 };
const cacheMax = 10_000;
/** Who makes long ones pays for their signature each time, and not we for the memory. */
const rememberedLengthMax = 4 * 1024;
/** Longer than any token of ours: nobody makes us decode megabytes. */
const tokenLengthMax = 32 * 1024;

interface Claims {
  aud: string[];
  exp: number;
  iat: number;
  nbf: number;
  iss: string;
  jti: string;
  sub: string;
  "kubernetes.io": { namespace: string; serviceaccount: { name: string; uid: string }; warnafter?: number } & Bound;
}
export type TokenIdentity = Identity & { audiences: string[] };

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

  /** POST serviceaccounts/NAME/token. Throws StatusErrors; leaves in `annotations` which token it was, for the audit log. */
  async issue(account: KubeObject, body: unknown, annotations?: Record<string, string>): Promise<object> {
    const request = (body ?? {}) as TokenRequest;
    const { spec = {} } = request;
    const seconds = spec.expirationSeconds ?? lifetimeS.default;
    checkTokenRequest(account, request, seconds);
    const bound = boundBy(account, spec.boundObjectRef, (key) => this.#object(key));
    const { name, namespace = "", uid } = account.metadata;
    const nowMs = this.#clock.now();
    const now = Math.floor(nowMs / 1000);
    const audiences = spec.audiences?.length ? spec.audiences : [apiAudience];
    // Programs that read their token once and never again would fail after an hour: what a pod's volume asks for lives on.
    const isExtended = seconds === lifetimeS.volume && bound.pod !== undefined && audiences.every((audience) => audience === apiAudience);
    const claims: Claims = {
      aud: audiences,
      exp: now + (isExtended ? lifetimeS.extended : seconds),
      iat: now,
      nbf: now,
      iss: issuer,
      jti: randomUUID(),
      sub: `system:serviceaccount:${namespace}:${name}`,
      "kubernetes.io": { namespace, serviceaccount: { name, uid }, ...bound, ...(isExtended && { warnafter: now + seconds }) },
    };
    const token = this.#sign(claims);
    if (annotations) annotations["authentication.kubernetes.io/issued-credential-id"] = `JTI=${claims.jti}`;
    return tokenAnswer(account, request, { audiences, seconds, token, nowMs });
  }

  /** Who a bearer token speaks for; undefined when it is not ours, expired, or what it is bound to is gone. */
  authenticate(token: string, audiences: readonly string[] = [apiAudience]): TokenIdentity | undefined {
    const judged = this.judge(token, audiences);
    return typeof judged === "object" ? judged : undefined;
  }

  /** The same, or why not, in upstream's words; undefined when it is not ours. Source: k8s.io/kubernetes/pkg/serviceaccount/{jwt,claims}.go. */
  judge(token: string, audiences: readonly string[] = [apiAudience]): TokenIdentity | string | undefined {
    const claims = this.#claimsOf(token);
    if (!claims) return undefined;
    const wanted = claims.aud.filter((audience) => audiences.includes(audience));
    if (wanted.length === 0) return `token audiences ${quoted(claims.aud)} is invalid for the target audiences ${quoted(audiences)}`;
    const now = this.#clock.now() / 1000;
    if (claims.exp < now) return "service account token has expired";
    if (claims.nbf > now + 60) return "service account token is not valid yet";
    const { namespace, serviceaccount, pod, secret, node } = claims["kubernetes.io"];
    const account = this.#object(`/core/serviceaccounts/${namespace}/${serviceaccount.name}`);
    if (!account) return `serviceaccounts ${JSON.stringify(serviceaccount.name)} not found`;
    if (account.metadata.uid !== serviceaccount.uid) return `service account UID (${account.metadata.uid}) does not match claim (${serviceaccount.uid})`;
    if (this.#isGone(account)) return `service account ${namespace}/${serviceaccount.name} has been deleted`;
    const lost =
      (secret && this.#lost("secret", "service account secret", `/core/secrets/${namespace}/${secret.name}`, secret)) ??
      (pod && this.#lost("pod", "service account pod", `/core/pods/${namespace}/${pod.name}`, pod)) ??
      // Of a pod, its node is a piece of information and no condition.
      (node && !pod ? this.#lost("node", "service account node", `/core/nodes/${node.name}`, node) : undefined);
    if (lost) return lost;
    return {
      name: claims.sub,
      uid: serviceaccount.uid,
      groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
      extra: { "authentication.kubernetes.io/credential-id": [`JTI=${claims.jti}`], ...extraOf("node", node), ...extraOf("pod", pod) },
      audiences: wanted,
    };
  }

  /** Why what the token is bound to is not there any more. */
  #lost(what: string, claim: string, key: string, { uid }: Reference): string | undefined {
    const object = this.#object(key);
    if (!object || this.#isGone(object)) return "service account token has been invalidated";
    return object.metadata.uid === uid ? undefined : `${what} UID (${object.metadata.uid}) does not match ${claim} ref claim (${uid})`;
  }

  /** What is going may say its last words: a minute beyond its grace. */
  #isGone({ metadata }: KubeObject): boolean {
    return metadata.deletionTimestamp !== undefined && this.#clock.now() > Date.parse(metadata.deletionTimestamp) + 60_000;
  }

  #object(key: string): KubeObject | undefined {
    return this.#store.get(key)?.object as unknown as KubeObject | undefined;
  }

  /**
   * What those read who check our tokens themselves, by path. `address` is ours: "127.0.0.1:6443".
   * Source: k8s.io/kubernetes/pkg/serviceaccount/openidmetadata.go.
   */
  issuerDocuments(address: string): ReadonlyMap<string, { type: string; body: Buffer }> {
    const jwks = "/openid/v1/jwks";
    const discovery = { issuer, jwks_uri: `https://${address}${jwks}`, response_types_supported: ["id_token"], subject_types_supported: ["public"], id_token_signing_alg_values_supported: ["ES256"] };
    const { kty, crv, x, y } = this.#publicKey.export({ format: "jwk" });
    return new Map([
      ["/.well-known/openid-configuration", { type: "application/json", body: Buffer.from(JSON.stringify(discovery)) }],
      [jwks, { type: "application/jwk-set+json", body: Buffer.from(JSON.stringify({ keys: [{ use: "sig", kty, kid: this.#keyId, crv, alg: "ES256", x, y }] })) }],
    ]);
  }

  #claimsOf(token: string): Claims | undefined {
    const known = this.#verified.get(token);
    if (known) return known;
    if (token.length > tokenLengthMax) return undefined;
    const [head, body, signature, ...rest] = token.split(".");
    if (!head || !body || !signature || rest.length > 0) return undefined;
    try {
      if ((JSON.parse(Buffer.from(head, "base64url").toString()) as { alg?: string }).alg !== "ES256") return undefined;
      if (!verify("sha256", Buffer.from(`${head}.${body}`), { key: this.#publicKey, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url"))) return undefined;
      const claims = JSON.parse(Buffer.from(body, "base64url").toString()) as Claims;
      if (claims.iss !== issuer) return undefined;
      if (token.length > rememberedLengthMax) return claims;
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

const extraOf = (what: string, reference: Reference | undefined): Record<string, string[]> =>
  reference ? { [`authentication.kubernetes.io/${what}-name`]: [reference.name], ...(reference.uid && { [`authentication.kubernetes.io/${what}-uid`]: [reference.uid] }) } : {};

/** As Go prints a list of strings. */
const quoted = (list: readonly string[]): string => `[${list.map((item) => JSON.stringify(item)).join(" ")}]`;
