import { X509Certificate } from "node:crypto";
import { createSecureContext, getCiphers, type SecureContextOptions } from "node:tls";
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
  ecdhCurves?: string[];
  signatureAlgorithms?: string[];
  session?: { resumption?: { stateless?: object; stateful?: object } };
  clientValidation?: ValidationSpec;
}
interface Named {
  group?: string;
  kind?: string;
  namespace?: string;
  name: string;
}
interface ValidationSpec {
  optional?: boolean;
  mode?: string;
  caCertificateRefs?: Named[];
  crl?: { refs: Named[]; onlyVerifyLeafCertificate?: boolean };
  certificateHashes?: string[];
  spkiHashes?: string[];
  subjectAltNames?: { dnsNames?: StringMatch[]; emailAddresses?: StringMatch[]; ipAddresses?: StringMatch[]; uris?: StringMatch[] };
}

const versions: Record<string, ListenerTls["minVersion"]> = { "1.2": "TLSv1.2", "1.3": "TLSv1.3" };

/** `tls` of a ClientTrafficPolicy: what it changes of a listener that decrypts. */
export function clientTls({ minVersion, maxVersion, ciphers, alpnProtocols, ecdhCurves = [], signatureAlgorithms = [], session, clientValidation }: ClientTlsSpec, references: References, refused: Refusal[]): Partial<ListenerTls> {
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
  for (const [i, name] of ecdhCurves.entries()) if (!isTaken({ ecdhCurve: name }, name)) refused.push({ field: `tls.ecdhCurves[${i}]`, why: `${name} is no curve that is known here` });
  for (const [i, name] of signatureAlgorithms.entries()) if (!isTaken({ sigalgs: name }, name)) refused.push({ field: `tls.signatureAlgorithms[${i}]`, why: `${name} is no signature algorithm that is known here` });
  if (session?.resumption?.stateful) refused.push({ field: "tls.session.resumption.stateful", why: "is not honoured: sessions are taken up again by tickets (stateless), which any worker can read" });
  return {
    ...(least && { minVersion: least }),
    ...(most && { maxVersion: most }),
    ...(ciphers && ciphers.length > 0 && { ciphers: ciphers.join(":") }),
    ...(alpnProtocols && alpnProtocols.length > 0 && { protocols: alpnProtocols as NonNullable<ListenerTls["protocols"]> }),
    ...(ecdhCurves.length > 0 && { curves: ecdhCurves.join(":") }),
    ...(signatureAlgorithms.length > 0 && { signatures: signatureAlgorithms.join(":") }),
    ...(session?.resumption && !session.resumption.stateless && { resumes: false }),
    ...(clientValidation && { clientValidation: validationOf(clientValidation, references, refused) }),
  };
}

function validationOf({ optional, mode = optional ? "VerifyIfGiven" : "RequireAndVerify", caCertificateRefs = [], crl, certificateHashes = [], spkiHashes = [], subjectAltNames = {} }: ValidationSpec, references: References, refused: Refusal[]): ClientValidation {
  const at = "tls.clientValidation";
  const verifies = mode === "VerifyIfGiven" || mode === "RequireAndVerify";
  const authorities = caCertificateRefs.flatMap((reference, i) => authoritiesOf(reference, references, (why) => refused.push({ field: `${at}.caCertificateRefs[${i}]`, why })) ?? []);
  if (verifies && caCertificateRefs.length === 0) refused.push({ field: `${at}.caCertificateRefs`, why: `is required where certificates are verified (mode ${mode})` });
  if (crl && !verifies) refused.push({ field: `${at}.crl`, why: `has no effect where certificates are not verified (mode ${mode})` });
  if (crl?.onlyVerifyLeafCertificate) refused.push({ field: `${at}.crl.onlyVerifyLeafCertificate`, why: "is not honoured: every authority of the chain needs a list" });
  const revoked = crl?.refs.flatMap((reference, i) => revokedOf(reference, references, (why) => refused.push({ field: `${at}.crl.refs[${i}]`, why })));
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
    ...(revoked && { revoked }),
    optional: mode === "Request",
    ...(mode === "VerifyIfGiven" && { mode: "ifGiven" }),
    ...(mode === "RequireAny" && { mode: "any" }),
    ...(names.length > 0 && { names }),
    ...(certificateHashes.length > 0 && { certificateHashes: certificateHashes.map((hash) => hash.replaceAll(":", "").toLowerCase()) }),
    ...(spkiHashes.length > 0 && { keyHashes: spkiHashes }),
  };
}

/** A file of a Secret or ConfigMap. */
function textOf({ group = "", kind = "Secret", namespace, name }: Named, file: string, what: string, references: References, refuse: (why: string) => void): string | undefined {
  if (group !== "" || (kind !== "Secret" && kind !== "ConfigMap")) return void refuse(`names ${group === "" ? "core" : group}/${kind} ${name}; ${what} are read from Secrets and ConfigMaps`);
  if (kind === "Secret") return references.secretText({ group, kind, ...(namespace !== undefined && { namespace }), name }, file, refuse);
  if (namespace !== undefined && namespace !== references.namespace) return void refuse(`names ConfigMap ${namespace}/${name}; only Secrets of other namespaces may be named`);
  const map = references.configMap(name, refuse);
  return map && (map.data?.[file] ?? void refuse(`names ConfigMap ${references.namespace}/${name}, which has no ${file}`));
}
const placeOf = ({ kind = "Secret", namespace, name }: Named, references: References): string => `${kind} ${namespace ?? references.namespace}/${name}`;

function authoritiesOf(reference: Named, references: References, refuse: (why: string) => void): string | undefined {
  const pem = textOf(reference, "ca.crt", "authorities", references, refuse);
  if (pem === undefined) return undefined;
  try {
    return new X509Certificate(pem).raw.length > 0 ? pem : undefined;
  } catch {
    return void refuse(`names ${placeOf(reference, references)}, whose ca.crt must hold certificates in PEM`);
  }
}

/** OpenSSL reads one list of a text. */
function revokedOf(reference: Named, references: References, refuse: (why: string) => void): string[] {
  const pem = textOf(reference, "ca.crl", "lists of revoked certificates", references, refuse);
  if (pem === undefined) return [];
  const lists = pem.match(/-----BEGIN X509 CRL-----[^-]*-----END X509 CRL-----/g) ?? [];
  if (lists.length > 0 && lists.every((list) => isTaken({ crl: list }, list))) return lists;
  refuse(`names ${placeOf(reference, references)}, whose ca.crl must hold lists of revoked certificates in PEM`);
  return [];
}

/** Whether OpenSSL knows what it is. */
function isTaken(options: SecureContextOptions, text: string): boolean {
  // Several of one text are not one of them.
  if (text === "" || (!text.startsWith("-----") && !/^[\w-]+$/.test(text))) return false;
  try {
    createSecureContext(options);
    return true;
  } catch {
    return false;
  }
}
