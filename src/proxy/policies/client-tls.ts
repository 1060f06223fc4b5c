import { X509Certificate } from "node:crypto";
import { getCiphers } from "node:tls";
import type { ClientValidation, ListenerTls } from "../../api/traffic.ts";
import { PolicyError } from "../../policy/policy-error.ts";
import { compileTextMatch } from "../../policy/text-match.ts";
import type { Refusal } from "./effect.ts";
import { stringMatch, type StringMatch } from "./fields.ts";
import type { References } from "./references.ts";

export interface ClientTlsSpec {
  minVersion?: string;
  maxVersion?: string;
  ciphers?: string[];
  alpnProtocols?: string[];
  clientValidation?: ValidationSpec;
}
interface ValidationSpec {
  optional?: boolean;
  mode?: string;
  caCertificateRefs?: { group?: string; kind?: string; namespace?: string; name: string }[];
  certificateHashes?: string[];
  spkiHashes?: string[];
  subjectAltNames?: { dnsNames?: StringMatch[]; emailAddresses?: StringMatch[]; ipAddresses?: StringMatch[]; uris?: StringMatch[] };
}

const versions: Record<string, ListenerTls["minVersion"]> = { "1.2": "TLSv1.2", "1.3": "TLSv1.3" };

/** `tls` of a ClientTrafficPolicy: what it changes of a listener that decrypts. */
export function clientTls({ minVersion, maxVersion, ciphers, alpnProtocols, clientValidation }: ClientTlsSpec, references: References, refused: Refusal[]): Partial<ListenerTls> {
  const version = (field: string, text: string | undefined): ListenerTls["minVersion"] => {
    if (text === undefined || text === "Auto") return undefined;
    if (!versions[text]) refused.push({ field, why: `${text} is not honoured: TLS before 1.2 is not spoken (RFC 8996)` });
    return versions[text];
  };
  const [least, most] = [version("tls.minVersion", minVersion), version("tls.maxVersion", maxVersion)];
  if (least === "TLSv1.3" && most === "TLSv1.2") refused.push({ field: "tls.minVersion", why: "is above maxVersion" });
  const known = ciphers && new Set(getCiphers());
  for (const [i, name] of (ciphers ?? []).entries()) if (!known!.has(name.toLowerCase()) || name.startsWith("TLS_")) refused.push({ field: `tls.ciphers[${i}]`, why: `${name} is no cipher of TLS 1.2 that is known here` });
  for (const [i, name] of (alpnProtocols ?? []).entries()) if (name !== "h2" && name !== "http/1.1") refused.push({ field: `tls.alpnProtocols[${i}]`, why: `${name} is not honoured; supported values: h2, http/1.1` });
  return {
    ...(least && { minVersion: least }),
    ...(most && { maxVersion: most }),
    ...(ciphers && ciphers.length > 0 && { ciphers: ciphers.join(":") }),
    ...(alpnProtocols && alpnProtocols.length > 0 && { protocols: alpnProtocols as NonNullable<ListenerTls["protocols"]> }),
    ...(clientValidation && { clientValidation: validationOf(clientValidation, references, refused) }),
  };
}

function validationOf({ optional, mode = optional ? "VerifyIfGiven" : "RequireAndVerify", caCertificateRefs = [], certificateHashes = [], spkiHashes = [], subjectAltNames = {} }: ValidationSpec, references: References, refused: Refusal[]): ClientValidation {
  const at = "tls.clientValidation";
  const verifies = mode === "VerifyIfGiven" || mode === "RequireAndVerify";
  const authorities = caCertificateRefs.flatMap((reference, i) => authoritiesOf(reference, references, (why) => refused.push({ field: `${at}.caCertificateRefs[${i}]`, why })) ?? []);
  if (verifies && caCertificateRefs.length === 0) refused.push({ field: `${at}.caCertificateRefs`, why: `is required where certificates are verified (mode ${mode})` });
  const { dnsNames = [], emailAddresses = [], ipAddresses = [], uris = [] } = subjectAltNames;
  const names = ([["DNS", "dnsNames", dnsNames], ["email", "emailAddresses", emailAddresses], ["IP Address", "ipAddresses", ipAddresses], ["URI", "uris", uris]] as const).flatMap(([of, field, matches]) =>
    matches.map((match, i) => {
      const wanted = { of, ...stringMatch(match) };
      try {
        compileTextMatch(wanted, "");
      } catch (error) {
        if (!(error instanceof PolicyError)) throw error;
        refused.push({ field: `${at}.subjectAltNames.${field}[${i}]`, why: `is wrong: ${error.message}` });
      }
      return wanted;
    }),
  );
  if (mode === "Request" && names.length + certificateHashes.length + spkiHashes.length > 0) refused.push({ field: `${at}.mode`, why: "Request lets everybody in, whatever certificate is asked for" });
  return {
    authorities: authorities.join("\n"),
    optional: mode === "Request",
    ...(mode === "VerifyIfGiven" && { mode: "ifGiven" }),
    ...(mode === "RequireAny" && { mode: "any" }),
    ...(names.length > 0 && { names }),
    ...(certificateHashes.length > 0 && { certificateHashes: certificateHashes.map((hash) => hash.replaceAll(":", "").toLowerCase()) }),
    ...(spkiHashes.length > 0 && { keyHashes: spkiHashes }),
  };
}

function authoritiesOf(reference: { group?: string; kind?: string; namespace?: string; name: string }, references: References, refuse: (why: string) => void): string | undefined {
  const { group = "", kind = "Secret", namespace, name } = reference;
  if (group !== "" || (kind !== "Secret" && kind !== "ConfigMap")) return void refuse(`names ${group === "" ? "core" : group}/${kind} ${name}; authorities are read from Secrets and ConfigMaps`);
  if (kind === "ConfigMap" && namespace !== undefined && namespace !== references.namespace) return void refuse(`names ConfigMap ${namespace}/${name}; only Secrets of other namespaces may be named`);
  const pem = kind === "Secret" ? references.secretText(reference, "ca.crt", refuse) : references.configMap(name, refuse)?.data?.["ca.crt"];
  if (pem === undefined) return kind === "ConfigMap" && references.configMap(name, () => {}) ? void refuse(`names ConfigMap ${references.namespace}/${name}, which has no ca.crt`) : undefined;
  try {
    return new X509Certificate(pem).raw.length > 0 ? pem : undefined;
  } catch {
    return void refuse(`names ${kind} ${namespace ?? references.namespace}/${name}, whose ca.crt must hold certificates in PEM`);
  }
}
