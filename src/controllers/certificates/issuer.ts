import { X509Certificate } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { annotation, certManager, clusterResourceNamespace, conditionOf, type Issuer, withCondition } from "../../api/cert-manager/types.ts";
import type { GroupVersionResource } from "../../api/meta.ts";
import { timestamp } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { Secret } from "../../api/types.ts";
import type { Action, Existing, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { type Controller, controller } from "../runner.ts";
import type { AcmeIssuers } from "./acme/issuers.ts";
import { fieldOf, readKey } from "./keys.ts";

/** An issuer's condition Ready: whether it can sign, and who does. Source: cert-manager pkg/issuer/{ca,selfsigned,acme}/setup.go. */
export function issuerController(resource: GroupVersionResource, acme: AcmeIssuers): Controller {
  const isCluster = resource === certManager.clusterIssuers;
  return controller<Issuer>({
    name: `cert-manager-${resource.resource}`,
    for: resource,
    watches: [
      {
        resource: resources.secrets,
        keys: ({ metadata }: Secret, cache) =>
          cache
            .list<Issuer>(resource)
            .filter((issuer) => secretNamespaceOf(issuer) === metadata.namespace && secretNamesOf(issuer).includes(metadata.name!))
            .map((issuer) => (isCluster ? issuer.metadata.name : `${issuer.metadata.namespace}/${issuer.metadata.name}`)),
      },
    ],
    plan: ({ key, object, cache, nowMs }) => planIssuer(resource, key, object, cache, nowMs, acme),
  });
}

/** Where its Secrets lie. */
export const secretNamespaceOf = ({ metadata }: Issuer): string => metadata.namespace ?? clusterResourceNamespace;
const secretNamesOf = ({ spec }: Issuer): string[] => [...(spec.ca ? [spec.ca.secretName] : []), ...(spec.acme ? [spec.acme.privateKeySecretRef.name] : [])];

/** Whether its server is spoken to. */
export const speaksAcme = ({ metadata, spec }: Issuer): boolean => spec.acme !== undefined && metadata.annotations?.[annotation.acme] === "true";

export interface Ready {
  status: "True" | "False";
  reason: string;
  message: string;
}

export const notTrusted = "certificates of Wherry's local CA are not publicly trusted";

export function planIssuer(resource: GroupVersionResource, key: string, issuer: Issuer, cache: Cache, nowMs: number, acme: AcmeIssuers): Plan {
  if (issuer.metadata.deletionTimestamp) return { actions: [] };
  if (speaksAcme(issuer)) return acme.plan(resource, key, issuer, nowMs);
  return { actions: tellIssuer(resource, issuer, judge(issuer, cache), nowMs) };
}

/** Its status, and an Event where the condition is news. */
export function tellIssuer(resource: GroupVersionResource, issuer: Issuer, ready: Ready, nowMs: number, acme = issuer.status?.acme): Action[] {
  const conditions = withCondition(issuer.status?.conditions, { ...ready, type: "Ready" }, timestamp(nowMs), issuer.metadata.generation);
  const status = { ...issuer.status, conditions, ...(acme && { acme }) };
  if (isDeepStrictEqual(status, issuer.status)) return [];
  const before = conditionOf(issuer, "Ready");
  const isNews = before?.reason !== ready.reason || before?.message !== ready.message;
  const event: Action = { do: "event", about: issuer, type: ready.status === "True" ? "Normal" : "Warning", reason: ready.reason, message: ready.message };
  return [{ do: "status", resource, object: { ...issuer, status } as Existing, after: () => (isNews && ready.message ? [event] : []) }];
}

function judge(issuer: Issuer, cache: Cache): Ready {
  const { spec } = issuer;
  if (spec.selfSigned) return { status: "True", reason: "IsReady", message: "" };
  if (spec.ca) return judgeAuthority(issuer, cache.get<Secret>(resources.secrets, `${secretNamespaceOf(issuer)}/${spec.ca.secretName}`));
  if (spec.acme) {
    return { status: "True", reason: "LocalCA", message: `${spec.acme.server} is not asked: it would have to reach this machine by its public names. Wherry's local CA signs instead, and ${notTrusted}. The annotation ${annotation.acme}: "true" has the server asked` };
  }
  const other = ["vault", "venafi"].find((name) => name in spec);
  if (other) return { status: "False", reason: "NotSupported", message: `spec.${other} is not served by Wherry: selfSigned, ca and acme are` };
  return { status: "False", reason: "IssuerTypeMissing", message: `no issuer specified for Issuer '${issuer.metadata.namespace ?? ""}/${issuer.metadata.name}'` };
}

function judgeAuthority({ spec, ...issuer }: Issuer, secret: Secret | undefined): Ready {
  const no = (reason: string, message: string): Ready => ({ status: "False", reason, message: `Error getting keypair for CA issuer: ${message}` });
  const name = spec.ca!.secretName;
  const at = `${secretNamespaceOf({ spec, ...issuer } as Issuer)}/${name}`;
  if (!secret) return no("ErrGetKeyPair", `secrets ${JSON.stringify(name)} not found`);
  for (const field of ["tls.crt", "tls.key"]) if (!secret.data?.[field]) return no("ErrGetKeyPair", `no data for ${JSON.stringify(field)} in secret '${at}'`);
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(fieldOf(secret, "tls.crt"));
  } catch {
    return no("ErrGetKeyPair", "error decoding certificate PEM block");
  }
  const key = readKey(fieldOf(secret, "tls.key"));
  if (!key) return no("ErrGetKeyPair", "error decoding private key PEM block");
  if (!certificate.checkPrivateKey(key)) return no("ErrInvalidKeyPair", `tls.key does not belong to tls.crt in secret '${at}'`);
  if (!certificate.ca) return no("ErrInvalidKeyPair", "certificate is not a CA");
  return { status: "True", reason: "KeyPairVerified", message: "Signing CA verified" };
}
