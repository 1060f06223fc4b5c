import type { KeyObject, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { type CertificateRequest, type CertificateSpec, durationMs, groupOf, kindOf } from "../../api/cert-manager/types.ts";
import { parseRequest } from "../../api/kinds/certificates/pkcs10.ts";
import { type AlternativeNames, generalNames, isUsage, makeRequest, nameOf, readName, subjectOf as subjectIn, type SubjectPart } from "../../api/x509/certificate.ts";
import { addressBytes } from "../../base/der.ts";

const defaultUsages = ["digital signature", "key encipherment"];

/** What a certificate may be used for: those of TLS unless said, and of an authority always to sign others. */
export const usagesOf = ({ usages, isCA }: { usages?: readonly string[]; isCA?: boolean }): string[] => [...(usages && usages.length > 0 ? usages : defaultUsages), ...(isCA ? ["cert sign"] : [])];

/** In Go's order. */
function subjectOf({ commonName = "", subject = {} }: CertificateSpec): SubjectPart[] {
  const all = (type: SubjectPart[0], values: readonly string[] = []): SubjectPart[] => values.map((value) => [type, value]);
  return [
    ...all("C", subject.countries),
    ...all("O", subject.organizations),
    ...all("OU", subject.organizationalUnits),
    ...all("L", subject.localities),
    ...all("ST", subject.provinces),
    ...all("STREET", subject.streetAddresses),
    ...all("POSTALCODE", subject.postalCodes),
    ...all("CN", commonName ? [commonName] : []),
    ...all("SERIALNUMBER", subject.serialNumber ? [subject.serialNumber] : []),
  ];
}

const alternativesOf = ({ dnsNames = [], ipAddresses = [], uris = [], emailAddresses = [] }: CertificateSpec): AlternativeNames => ({ dnsNames, addresses: ipAddresses, uris, emails: emailAddresses });

/** The request for a Certificate, PEM, signed with its key. */
export function requestFor(spec: CertificateSpec, key: KeyObject): string {
  const hash = /(256|384|512)/.exec(spec.signatureAlgorithm ?? "")?.[1] as "256" | "384" | "512" | undefined;
  return makeRequest({ subject: nameOf(subjectOf(spec)), alternativeNames: generalNames(alternativesOf(spec)), usages: spec.encodeUsagesInRequest === false ? undefined : usagesOf(spec), hash: hash && `sha${hash}` }, key);
}

const same = (left: readonly string[] = [], right: readonly string[] = []): boolean => left.length === right.length && left.toSorted().join("\n") === right.toSorted().join("\n");
const addresses = (list: readonly string[] = []): string[] => list.map((address) => addressBytes(address).toString("hex"));

/** Which fields of the Certificate its request is not as; undefined: it cannot be read. Source: cert-manager pkg/util/pki/match.go. */
export function requestMismatches({ spec: request }: CertificateRequest, spec: CertificateSpec): string[] | undefined {
  let found: ReturnType<typeof parseRequest>;
  try {
    found = parseRequest(Buffer.from(request.request, "base64").toString("latin1"));
  } catch {
    return undefined;
  }
  const subject = readName(found.subject);
  const { subject: wanted = {} } = spec;
  const of = (type: SubjectPart[0]): string[] => subject.filter(([name]) => name === type).map(([, value]) => value);
  const checks: [field: string, fits: boolean][] = [
    ["spec.ipAddresses", same(addresses(found.addresses), addresses(spec.ipAddresses))],
    ["spec.uris", same(found.uris, spec.uris)],
    ["spec.emailAddresses", same(found.emails, spec.emailAddresses)],
    ["spec.dnsNames", same(found.dnsNames, spec.dnsNames)],
    ["spec.commonName", found.commonName === (spec.commonName ?? "")],
    ["spec.subject.serialNumber", (of("SERIALNUMBER")[0] ?? "") === (wanted.serialNumber ?? "")],
    ["spec.subject.organizations", same(of("O"), wanted.organizations)],
    ["spec.subject.countries", same(of("C"), wanted.countries)],
    ["spec.subject.localities", same(of("L"), wanted.localities)],
    ["spec.subject.organizationalUnits", same(of("OU"), wanted.organizationalUnits)],
    ["spec.subject.postCodes", same(of("POSTALCODE"), wanted.postalCodes)],
    ["spec.subject.provinces", same(of("ST"), wanted.provinces)],
    ["spec.subject.streetAddresses", same(of("STREET"), wanted.streetAddresses)],
    ["spec.isCA", (request.isCA ?? false) === (spec.isCA ?? false)],
    ["spec.usages", same(request.usages, spec.usages)],
    ["spec.duration", request.duration === undefined || spec.duration === undefined || durationMs(request.duration) === durationMs(spec.duration)],
    ["spec.issuerRef", request.issuerRef.name === spec.issuerRef.name && kindOf(request.issuerRef) === kindOf(spec.issuerRef) && groupOf(request.issuerRef) === groupOf(spec.issuerRef)],
  ];
  return checks.filter(([, fits]) => !fits).map(([field]) => field);
}

/** As {@link requestMismatches}, of a certificate whose request is gone: issuers may move names between subject and alternatives. */
export function certificateMismatches(certificate: X509Certificate, spec: CertificateSpec): string[] {
  const { names, addresses: found } = namesIn(certificate);
  const commonName = subjectFields(certificate).CN?.[0];
  const wanted = new Set([...(spec.dnsNames ?? []), ...(spec.commonName ? [spec.commonName] : [])]);
  const has = new Set([...names, ...(commonName ? [commonName] : [])]);
  return [...(same([...has], [...wanted]) ? [] : [spec.commonName && !has.has(spec.commonName) ? "spec.commonName" : "spec.dnsNames"]), ...(same(addresses(found), addresses(spec.ipAddresses)) ? [] : ["spec.ipAddresses"])];
}

export interface NamesIn {
  names: string[];
  addresses: string[];
  uris: string[];
  emails: string[];
}

/** The alternative names of a certificate. */
export function namesIn({ subjectAltName = "" }: X509Certificate): NamesIn {
  // Node quotes what holds a comma, as JSON.
  const parts = [...subjectAltName.matchAll(/(DNS|IP Address|URI|email):("(?:[^"\\]|\\.)*"|[^,]*)/g)].map(([, type, value = ""]) => [type, value.startsWith('"') ? (JSON.parse(value) as string) : value] as const);
  const of = (type: string): string[] => parts.filter(([name]) => name === type).map(([, value]) => value);
  return { names: of("DNS"), addresses: of("IP Address").map((address) => address.toLowerCase()), uris: of("URI"), emails: of("email") };
}

/** By type ("CN", "O"). */
export function subjectFields({ raw }: X509Certificate): Partial<Record<SubjectPart[0], string[]>> {
  const fields: Partial<Record<SubjectPart[0], string[]>> = {};
  for (const [type, value] of readName(subjectIn(raw))) (fields[type] ??= []).push(value);
  return fields;
}

/** What makes the Certificate impossible, or is not honoured here: nothing is issued then, because nobody would get what he asked for. */
export function whatIsWrong(spec: CertificateSpec): { reason: "InvalidSpec" | "NotSupported"; message: string } | undefined {
  const unsupported = [
    ...(spec.keystores?.jks?.create ? ["spec.keystores.jks"] : []),
    ...(spec.keystores?.pkcs12?.create ? ["spec.keystores.pkcs12"] : []),
    ...(spec.literalSubject ? ["spec.literalSubject"] : []),
    ...((spec.otherNames ?? []).length > 0 ? ["spec.otherNames"] : []),
    ...(spec.nameConstraints && Object.keys(spec.nameConstraints).length > 0 ? ["spec.nameConstraints"] : []),
    ...((spec.renewal?.windows ?? []).length > 0 ? ["spec.renewal.windows"] : []),
  ];
  if (unsupported.length > 0) return { reason: "NotSupported", message: `not served by Wherry: ${unsupported.join(", ")}` };
  const wrong = [...invalidNames(spec), ...invalidTimes(spec), ...invalidKey(spec)];
  return wrong.length > 0 ? { reason: "InvalidSpec", message: wrong.join("; ") } : undefined;
}

function* invalidNames(spec: CertificateSpec): Iterable<string> {
  const { commonName = "", dnsNames = [], ipAddresses = [], uris = [], emailAddresses = [], usages = [] } = spec;
  if (spec.secretName === "") yield "spec.secretName: Required value: must be specified";
  if (commonName === "" && dnsNames.length + ipAddresses.length + uris.length + emailAddresses.length === 0) yield "spec: Invalid value: at least one of commonName (from the commonName field or from a literalSubject), dnsNames, uriSANs, ipAddresses, emailSANs or otherNames must be set";
  if (Buffer.byteLength(commonName) > 64) yield "spec.commonName: Too long: may not be more than 64 bytes";
  for (const [index, address] of ipAddresses.entries()) if (!isIP(address)) yield `spec.ipAddresses[${index}]: Invalid value: ${JSON.stringify(address)}: invalid IP address`;
  // What is no ASCII cannot stand there: RFC 5280 §4.2.1.6.
  for (const name of [...dnsNames, ...uris, ...emailAddresses]) if (!/^[!-~]+$/.test(name)) yield `spec: Invalid value: ${JSON.stringify(name)}: only visible ASCII can stand in a certificate`;
  for (const [index, usage] of usages.entries()) if (!isUsage(usage)) yield `spec.usages[${index}]: Invalid value: ${JSON.stringify(usage)}: unknown keyusage`;
}

const leastMs = { duration: 3_600_000, renewBefore: 300_000 };

function* invalidTimes({ duration, renewBefore, renewBeforePercentage }: CertificateSpec): Iterable<string> {
  for (const [field, value] of [["duration", duration], ["renewBefore", renewBefore]] as const) {
    if (value === undefined) continue;
    const ms = durationMs(value);
    if (ms === undefined) yield `spec.${field}: Invalid value: ${JSON.stringify(value)}: it is no duration`;
    else if (ms < leastMs[field]) yield `spec.${field}: Invalid value: ${JSON.stringify(value)}: certificate ${field} must be greater than ${field === "duration" ? "1h0m0s" : "5m0s"}`;
  }
  if (renewBefore !== undefined && renewBeforePercentage !== undefined) yield "spec.renewBefore: Invalid value: renewBefore and renewBeforePercentage are mutually exclusive and cannot both be set";
  if (renewBefore !== undefined && (durationMs(renewBefore) ?? 0) >= lifeMs({ duration })) yield `spec.renewBefore: Invalid value: ${JSON.stringify(renewBefore)}: certificate duration must be greater than renewBefore`;
  if (renewBeforePercentage !== undefined && (renewBeforePercentage <= 0 || renewBeforePercentage >= 100)) yield `spec.renewBeforePercentage: Invalid value: ${renewBeforePercentage}: must result in a renewBefore greater than 5m0s`;
}

function* invalidKey({ privateKey: { algorithm = "RSA", size = 0 } = {}, signatureAlgorithm = "" }: CertificateSpec): Iterable<string> {
  if (algorithm === "RSA" && size !== 0 && (size < 2048 || size > 8192)) yield `spec.privateKey.size: Invalid value: ${size}: must be between 2048 and 8192 for rsa keyAlgorithm`;
  if (algorithm === "ECDSA" && ![0, 256, 384, 521].includes(size)) yield `spec.privateKey.size: Unsupported value: ${size}: supported values: "256", "384", "521"`;
  const family = signatureAlgorithm.includes("RSA") ? "RSA" : signatureAlgorithm.includes("ECDSA") ? "ECDSA" : signatureAlgorithm ? "Ed25519" : algorithm;
  if (family !== algorithm) yield `spec.signatureAlgorithm: Invalid value: ${JSON.stringify(signatureAlgorithm)}: for key algorithm ${algorithm} the allowed signature algorithms are its own`;
}

/** 90 days unless said. */
export const lifeMs = ({ duration }: { duration?: string | undefined }): number => durationMs(duration) ?? 90 * 86_400_000;

/** When a certificate is to be renewed; undefined: never. Source: cert-manager pkg/util/pki/renewaltime.go. */
export function renewalMs({ renewBefore, renewBeforePercentage = 0, renewal }: CertificateSpec, { validFromDate, validToDate }: X509Certificate): number | undefined {
  if (renewal?.policy === "Disabled") return undefined;
  const [from, to] = [validFromDate.getTime(), validToDate.getTime()];
  const before = durationMs(renewBefore) ?? 0;
  const early = before > 0 && before < to - from ? before : renewBeforePercentage > 0 && renewBeforePercentage < 100 ? ((to - from) * renewBeforePercentage) / 100 : (to - from) / 3;
  return Math.floor((to - early) / 1000) * 1000;
}
