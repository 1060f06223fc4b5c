import { type KubeObject, timestamp } from "../../api/meta.ts";
import { badRequestError, conflictError, invalidError, notFoundError } from "../../api/status.ts";
import { invalid } from "../../api/field.ts";

/** What a TokenRequest asks for. */
export interface TokenRequest {
  metadata?: { name?: string; namespace?: string; uid?: string } & Record<string, unknown>;
  spec?: { audiences?: string[]; expirationSeconds?: number; boundObjectRef?: BoundObject };
}
interface BoundObject {
  apiVersion?: string;
  kind?: string;
  name?: string;
  uid?: string;
}

/** What a token names beside its account: it is good as long as that is there. */
export interface Bound {
  pod?: Reference;
  secret?: Reference;
  node?: Reference;
}
/** `uid` is absent of a node that a pod names and that is not there. */
export interface Reference {
  name: string;
  uid?: string;
}

const of = { group: "authentication.k8s.io", kind: "TokenRequest" };
const secondsLeast = 600;
const secondsMost = 2 ** 32;

/** Throws the StatusErrors of POST serviceaccounts/NAME/token. Source: k8s.io/kubernetes/pkg/registry/core/serviceaccount/storage/token.go. */
export function checkTokenRequest({ metadata: account }: KubeObject, { metadata = {}, spec }: TokenRequest, seconds: number): void {
  if (metadata.name && metadata.name !== account.name) throw invalidError(of, account.name, [invalid("metadata.name", metadata.name, "must match the service account name if specified")]);
  if (metadata.namespace && metadata.namespace !== account.namespace) throw badRequestError("the namespace of the provided object does not match the namespace sent on the request");
  if (metadata.uid && metadata.uid !== account.uid) throw conflictOf(of.group, of.kind, account.name, `the UID in the token request (${metadata.uid}) does not match the UID of the service account (${account.uid})`);
  if (seconds < secondsLeast) throw invalidError(of, "", [invalid("spec.expirationSeconds", spec?.expirationSeconds, "may not specify a duration less than 10 minutes")]);
  if (seconds > secondsMost) throw invalidError(of, "", [invalid("spec.expirationSeconds", spec?.expirationSeconds, "may not specify a duration larger than 2^32 seconds")]);
}

/** Looks up what the token shall be bound to. A pod brings the node that it runs on. */
export function boundBy({ metadata: account }: KubeObject, reference: BoundObject | undefined | null, get: (key: string) => KubeObject | undefined): Bound {
  if (!reference) return {};
  const { apiVersion = "", kind = "", name = "", uid } = reference;
  const resource = apiVersion === "v1" ? ({ Pod: "pods", Secret: "secrets", Node: "nodes" } as const)[kind] : undefined;
  if (!resource) throw badRequestError(`cannot bind token to object of type ${apiVersion.includes("/") ? apiVersion : `/${apiVersion}`}, Kind=${kind}`);
  const object = get(resource === "nodes" ? `/core/nodes/${name}` : `/core/${resource}/${account.namespace}/${name}`);
  if (!object) throw notFoundError({ group: "", resource }, name);
  const { serviceAccountName, nodeName } = (object["spec"] ?? {}) as { serviceAccountName?: string; nodeName?: string };
  if (resource === "pods" && serviceAccountName !== account.name) throw badRequestError(`cannot bind token for serviceaccount ${JSON.stringify(account.name)} to pod running with different serviceaccount name.`);
  if (uid && uid !== object.metadata.uid) throw conflictOf("", kind, name, `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`);
  const found: Reference = { name: object.metadata.name, uid: object.metadata.uid };
  if (resource === "secrets") return { secret: found };
  if (resource === "nodes") return { node: found };
  const node = nodeName ? get(`/core/nodes/${nodeName}`) : undefined;
  return { pod: found, ...(nodeName && { node: { name: nodeName, ...(node && { uid: node.metadata.uid }) } }) };
}

/** Upstream names the kind here where it has the resource elsewhere. */
const conflictOf = (group: string, kind: string, name: string, why: string) => conflictError({ group, resource: kind }, name, why);

/** The answer: the request, completed. */
export function tokenAnswer({ metadata: account }: KubeObject, { metadata, spec }: TokenRequest, granted: { audiences: readonly string[]; seconds: number; token: string; nowMs: number }): object {
  const { name, namespace, uid } = account;
  return {
    kind: of.kind,
    apiVersion: `${of.group}/v1`,
    metadata: { ...metadata, name, namespace, uid, creationTimestamp: timestamp(granted.nowMs) },
    spec: { audiences: granted.audiences, expirationSeconds: granted.seconds, boundObjectRef: spec?.boundObjectRef ?? null },
    status: { token: granted.token, expirationTimestamp: timestamp(granted.nowMs + granted.seconds * 1000) },
  };
}
