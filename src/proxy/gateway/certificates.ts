import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Reference } from "./kinds.ts";
import { isGranted } from "./grants.ts";
import type { World } from "./world.ts";

/** A reference that could not be used, in the words of the conditions. */
export interface Unusable {
  reason: string;
  message: string;
}

type Found<T> = { found: T; unusable?: undefined } | { found?: undefined; unusable: Unusable };
const no = (reason: string, message: string): { unusable: Unusable } => ({ unusable: { reason, message } });
const decoded = (base64: string | undefined): string => Buffer.from(base64 ?? "", "base64").toString("utf8");

/** The certificate and key of a Secret of type kubernetes.io/tls, proved to belong together. */
export function keyPairOf(world: World, from: { kind: string; namespace: string }, reference: Reference, invalid = "InvalidCertificateRef"): Found<{ certificate: string; key: string }> {
  const { group = "", kind = "Secret", namespace = from.namespace, name } = reference;
  const at = `${kind} ${namespace}/${name}`;
  if (group !== "" || kind !== "Secret") return no(invalid, `${group === "" ? "core" : group}/${kind} ${name}: certificates are read from core/Secret`);
  if (!isGranted(world, from, { group, kind, namespace, name })) return no("RefNotPermitted", `${at}: no ReferenceGrant in ${namespace} lets ${from.kind} of ${from.namespace} name it`);
  const secret = world.secret(`${namespace}/${name}`);
  if (!secret) return no(invalid, `${at} does not exist`);
  const pair = { certificate: decoded(secret.data?.["tls.crt"]), key: decoded(secret.data?.["tls.key"]) };
  const wrong = whatIsWrong(pair);
  return wrong ? no(invalid, `${at}: ${wrong}`) : { found: pair };
}

function whatIsWrong({ certificate, key }: { certificate: string; key: string }): string | undefined {
  try {
    const leaf = new X509Certificate(certificate);
    if (!leaf.checkPrivateKey(createPrivateKey(key))) return "tls.key does not belong to tls.crt";
    return undefined;
  } catch {
    return "tls.crt and tls.key must hold a certificate and its key in PEM";
  }
}

/** The authorities in `ca.crt` of a ConfigMap or Secret. */
export function authoritiesOf(world: World, from: { kind: string; namespace: string }, reference: Reference, words: { invalid: string; kind: string }): Found<string> {
  const { group = "", kind = "ConfigMap", namespace = from.namespace, name } = reference;
  const at = `${kind} ${namespace}/${name}`;
  if (group !== "" || (kind !== "ConfigMap" && kind !== "Secret")) return no(words.kind, `${group === "" ? "core" : group}/${kind} ${name}: authorities are read from core/ConfigMap and core/Secret`);
  if (!isGranted(world, from, { group, kind, namespace, name })) return no("RefNotPermitted", `${at}: no ReferenceGrant in ${namespace} lets ${from.kind} of ${from.namespace} name it`);
  const pem = kind === "ConfigMap" ? world.configMap(`${namespace}/${name}`)?.data?.["ca.crt"] : world.secret(`${namespace}/${name}`)?.data?.["ca.crt"];
  if (pem === undefined) return no(words.invalid, `${at} with ca.crt does not exist`);
  const authorities = kind === "Secret" ? decoded(pem) : pem;
  return isCertificate(authorities) ? { found: authorities } : no(words.invalid, `${at}: ca.crt must hold certificates in PEM`);
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}
