import type { EarlyChange, EdgeListener, ListenerLimits, ListenerManners, TextMatch } from "../../api/traffic.ts";
import { AddressRanges } from "../../policy/addresses.ts";
import { compileEdits } from "../../policy/header-edits.ts";
import { PolicyError } from "../../policy/policy-error.ts";
import { compileTextMatch } from "../../policy/text-match.ts";
import { parseDuration } from "../gateway/duration.ts";
import { isCommand } from "./backend-answers.ts";
import { clientTls, type ClientTlsSpec } from "./client-tls.ts";
import type { ListenerEffect, Refusal } from "./effect.ts";
import { bytesOf, stringMatch, type StringMatch } from "./fields.ts";
import type { References } from "./references.ts";

interface NameValue {
  name: string;
  value: string;
}
interface HeaderChangeSpec {
  add?: NameValue[];
  set?: NameValue[];
  addIfAbsent?: NameValue[];
  remove?: string[];
  removeOnMatch?: StringMatch[];
}
interface TcpTimeouts {
  idleTimeout?: string;
  tlsHandshakeTimeout?: string;
  connectionInspectionTimeout?: string;
}
interface ClientTrafficSpec {
  tls?: ClientTlsSpec;
  timeout?: { http?: { requestReceivedTimeout?: string; requestHeadersReceivedTimeout?: string; idleTimeout?: string; streamIdleTimeout?: string }; tcp?: TcpTimeouts };
  connection?: { connectionLimit?: { value?: number; maxConnectionDuration?: string; maxRequestsPerConnection?: number; maxStreamDuration?: string; closeDelay?: string } };
  headers?: {
    maxRequestHeaderLimit?: string | number;
    withUnderscoresAction?: string;
    requestID?: string;
    preserveXRequestID?: boolean;
    earlyRequestHeaders?: HeaderChangeSpec;
    lateResponseHeaders?: HeaderChangeSpec;
    xForwardedClientCert?: { mode?: string; certDetailsToAdd?: string[] };
    enableEnvoyHeaders?: boolean;
    disableRateLimitHeaders?: boolean;
    host?: { stripTrailingHostDot?: boolean };
  };
  clientIPDetection?: { xForwardedFor?: { numTrustedHops?: number; trustedCIDRs?: string[]; disableXForwardedForAppend?: boolean }; customHeader?: { name: string; failClosed?: boolean }; directSourceIP?: object };
  path?: { escapedSlashesAction?: string; disableMergeSlashes?: boolean };
  http1?: { ignoredUpgradeTypes?: StringMatch[]; disableSafeMaxConnectionDuration?: boolean; enableTrailers?: boolean; preserveHeaderCase?: boolean; http10?: { useDefaultHost?: boolean } };
  http2?: { onInvalidMessage?: string; maxConcurrentStreams?: number; initialStreamWindowSize?: string | number; initialConnectionWindowSize?: string | number };
  grpc?: { enableWeb?: boolean };
  enableProxyProtocol?: boolean;
  proxyProtocol?: { optional?: boolean };
  scheme?: string;
  healthCheck?: { path?: string };
  tcpKeepalive?: { idleTime?: string; interval?: string; probes?: number };
}

/** Of HTTP/2 (RFC 9113 §6.5.2, §6.9.1). */
const windowMin = 65_535;
const windowMax = 2 ** 31 - 1;
const headBytesMost = 1024 * 1024;

/** A ClientTrafficPolicy for one listener. What it says of HTTP means nothing to a listener of connections that nobody reads. */
export function clientTrafficEffect(spec: object, references: References, { protocol, tls, hostname }: Pick<EdgeListener, "protocol" | "tls" | "hostname">): ListenerEffect {
  const { tls: tlsSpec, timeout, connection, headers, clientIPDetection, path, http1, http2, grpc, enableProxyProtocol, proxyProtocol, scheme, healthCheck, tcpKeepalive } = spec as ClientTrafficSpec;
  const refused: Refusal[] = [];
  const isRead = protocol === "HTTP" || protocol === "HTTPS";
  const limits = limitsOf(timeout, connection, http2, headers, refused);
  if (http1?.disableSafeMaxConnectionDuration && limits.connectionMs !== undefined) limits.endsAtOnce = 1;
  const manners: ListenerManners = {
    ...headerManners(headers, refused),
    ...clientManners(clientIPDetection, refused),
    ...pathManners(path, refused),
    ...(http1?.http10?.useDefaultHost && defaultHost(hostname, refused)),
    ...(http1?.ignoredUpgradeTypes?.length && { ignoredUpgrades: ignoredUpgrades(http1.ignoredUpgradeTypes, refused) }),
    ...(grpc?.enableWeb && { grpcWeb: true }),
    ...(healthCheck?.path !== undefined && { healthPath: healthCheck.path }),
  };
  if (scheme !== undefined && scheme !== "Preserve") refused.push({ field: "scheme", why: `${scheme} is not honoured: Preserve is how requests go on` });
  if (headers?.enableEnvoyHeaders) refused.push({ field: "headers.enableEnvoyHeaders", why: "is not honoured: there are no such headers" });
  if (http2?.onInvalidMessage !== undefined && http2.onInvalidMessage !== "TerminateStream") refused.push({ field: "http2.onInvalidMessage", why: `${http2.onInvalidMessage} is not honoured: a request that is malformed ends its stream (TerminateStream, RFC 9113 §8.1.1), and only what confuses a whole connection ends that` });
  if (http1?.preserveHeaderCase === false) refused.push({ field: "http1.preserveHeaderCase", why: "false is not honoured: names go on as they came" });
  if (http1?.enableTrailers === false) refused.push({ field: "http1.enableTrailers", why: "false is not honoured: trailers go to clients that ask for them" });
  for (const name of ["interval", "probes"] as const) if (tcpKeepalive?.[name] !== undefined) refused.push({ field: `tcpKeepalive.${name}`, why: "is not honoured: ten probes are sent, a second apart" });
  const wantsProxyProtocol = proxyProtocol !== undefined || enableProxyProtocol === true;
  if (wantsProxyProtocol && !isRead && (protocol !== "TLS" || tls?.mode !== "terminate")) refused.push({ field: proxyProtocol ? "proxyProtocol" : "enableProxyProtocol", why: `is not honoured on a listener of ${protocol}${tls?.mode === "passthrough" ? " that decrypts nothing" : ""}` });
  if (connection?.connectionLimit?.value !== undefined && !isRead) refused.push({ field: "connection.connectionLimit.value", why: `is not honoured on a listener of ${protocol}` });
  return {
    ...(isRead && Object.keys(limits).length > 0 && { limits }),
    ...(isRead && Object.keys(manners).length > 0 && { manners }),
    ...((tlsSpec || timeout?.tcp?.tlsHandshakeTimeout) && { tls: { ...(tlsSpec && clientTls(tlsSpec, references, refused)), ...handshakeOf(timeout?.tcp) } }),
    ...streamTimes(timeout?.tcp),
    ...(wantsProxyProtocol && { proxyProtocol: proxyProtocol?.optional ? "optional" : "required" }),
    ...(tcpKeepalive && protocol !== "UDP" && { keepAliveSeconds: Math.max(1, Math.round(parseDuration(tcpKeepalive.idleTime ?? "7200s") / 1000)) }),
    refused,
  };
}

/** 0 is none, and none is a day: nobody needs so long, and nobody holds a connection for ever. */
const dayMs = 86_400_000;
const handshakeOf = ({ tlsHandshakeTimeout }: TcpTimeouts = {}): { handshakeMs?: number } => (tlsHandshakeTimeout === undefined ? {} : { handshakeMs: parseDuration(tlsHandshakeTimeout) || dayMs });
function streamTimes({ idleTimeout, connectionInspectionTimeout }: TcpTimeouts = {}): Pick<ListenerEffect, "streamIdleMs" | "openingMs"> {
  return {
    ...(idleTimeout !== undefined && { streamIdleMs: parseDuration(idleTimeout) }),
    ...(connectionInspectionTimeout !== undefined && { openingMs: parseDuration(connectionInspectionTimeout) || dayMs }),
  };
}

function limitsOf(timeout: ClientTrafficSpec["timeout"], connection: ClientTrafficSpec["connection"], http2: ClientTrafficSpec["http2"], headers: ClientTrafficSpec["headers"], refused: Refusal[]): ListenerLimits {
  const limits: ListenerLimits = {};
  const { requestReceivedTimeout, requestHeadersReceivedTimeout, idleTimeout, streamIdleTimeout } = timeout?.http ?? {};
  const { value, maxConnectionDuration, maxRequestsPerConnection, maxStreamDuration, closeDelay } = connection?.connectionLimit ?? {};
  const duration = (name: "receiveMs" | "headersMs" | "idleMs" | "silenceMs" | "connectionMs" | "exchangeMs" | "closeDelayMs", text: string | undefined): void => {
    if (text !== undefined) limits[name] = parseDuration(text);
  };
  const size = (name: "headerBytesMax" | "streamWindow" | "connectionWindow", field: string, given: string | number | undefined, least: number, most: number): void => {
    if (given === undefined) return;
    const bytes = bytesOf(given);
    if (bytes < least || bytes > most) refused.push({ field, why: `must be between ${least} and ${most} bytes` });
    else limits[name] = bytes;
  };
  duration("receiveMs", requestReceivedTimeout);
  duration("headersMs", requestHeadersReceivedTimeout);
  duration("idleMs", idleTimeout);
  duration("silenceMs", streamIdleTimeout);
  duration("connectionMs", maxConnectionDuration);
  duration("exchangeMs", maxStreamDuration);
  duration("closeDelayMs", closeDelay);
  if (value !== undefined) limits.connectionsMax = value;
  if (maxRequestsPerConnection !== undefined && maxRequestsPerConnection > 0) limits.requestsMax = maxRequestsPerConnection;
  if (http2?.maxConcurrentStreams !== undefined) limits.streamsMax = http2.maxConcurrentStreams;
  size("headerBytesMax", "headers.maxRequestHeaderLimit", headers?.maxRequestHeaderLimit, 1024, headBytesMost);
  size("streamWindow", "http2.initialStreamWindowSize", http2?.initialStreamWindowSize, windowMin, windowMax);
  size("connectionWindow", "http2.initialConnectionWindowSize", http2?.initialConnectionWindowSize, windowMin, windowMax);
  return limits;
}

const requestIds: Record<string, ListenerManners["requestId"]> = { PreserveOrGenerate: "keep", Preserve: "given", Disable: "none" };
const underscores: Record<string, ListenerManners["underscores"]> = { RejectRequest: "refuse", DropHeader: "drop" };
const certificateModes: Record<string, NonNullable<ListenerManners["clientCertificate"]>["mode"]> = { SanitizeSet: "set", AppendForward: "append", ForwardOnly: "forward", AlwaysForwardOnly: "always" };
const certificateDetails = ["Subject", "Cert", "DNS", "URI"] as const;

function headerManners(headers: ClientTrafficSpec["headers"] = {}, refused: Refusal[]): ListenerManners {
  const { requestID, preserveXRequestID, withUnderscoresAction = "", earlyRequestHeaders, lateResponseHeaders, xForwardedClientCert, disableRateLimitHeaders, host } = headers;
  const requestId = requestIds[requestID ?? (preserveXRequestID ? "PreserveOrGenerate" : "")];
  const mode = certificateModes[xForwardedClientCert?.mode ?? ""];
  const details = xForwardedClientCert?.certDetailsToAdd ?? [];
  for (const [i, detail] of details.entries()) if (!(certificateDetails as readonly string[]).includes(detail)) refused.push({ field: `headers.xForwardedClientCert.certDetailsToAdd[${i}]`, why: `${detail} is not honoured; supported values: ${certificateDetails.join(", ")}` });
  return {
    ...(requestId && { requestId }),
    ...(underscores[withUnderscoresAction] && { underscores: underscores[withUnderscoresAction]! }),
    ...(earlyRequestHeaders && { requestHeaders: changeOf(earlyRequestHeaders, "headers.earlyRequestHeaders", refused) }),
    ...(lateResponseHeaders && { responseHeaders: changeOf(lateResponseHeaders, "headers.lateResponseHeaders", refused) }),
    ...(disableRateLimitHeaders && { hidesLimits: true }),
    ...(host?.stripTrailingHostDot && { cutsHostDot: true }),
    ...(mode && { clientCertificate: { mode, details: certificateDetails.filter((detail) => details.includes(detail)) } }),
  };
}

function changeOf({ add, set, addIfAbsent, remove, removeOnMatch }: HeaderChangeSpec, field: string, refused: Refusal[]): EarlyChange {
  for (const [name, list] of Object.entries({ add, set, addIfAbsent })) for (const [i, { value }] of (list ?? []).entries()) if (isCommand(value)) refused.push({ field: `${field}.${name}[${i}].value`, why: "has a command of Envoy's between percent signs, which is not honoured" });
  const removeMatching = (removeOnMatch ?? []).map((match): TextMatch => ({ ...stringMatch(match), value: match.type === "RegularExpression" ? match.value : match.value.toLowerCase() }));
  if (removeMatching.length > 0 && field.endsWith("lateResponseHeaders")) refused.push({ field: `${field}.removeOnMatch`, why: "is not honoured of answers" });
  const change: EarlyChange = { ...(add && { add }), ...(set && { set }), ...(remove && { remove }), ...(addIfAbsent && { addIfAbsent }), ...(removeMatching.length > 0 && { removeMatching }) };
  checked(field, refused, () => {
    compileEdits({ ...change, add: [...(add ?? []), ...(addIfAbsent ?? [])] });
    for (const [i, match] of removeMatching.entries()) compileTextMatch(match, `removeOnMatch[${i}]`);
  });
  const host = [...(add ?? []), ...(set ?? []), ...(addIfAbsent ?? []), ...(remove ?? []).map((name) => ({ name }))].find(({ name }) => name.toLowerCase() === "host");
  if (host && field.endsWith("earlyRequestHeaders")) refused.push({ field, why: "may not change Host, by which a listener and a route are chosen" });
  return change;
}

function clientManners({ xForwardedFor, customHeader }: NonNullable<ClientTrafficSpec["clientIPDetection"]> = {}, refused: Refusal[]): ListenerManners {
  if (customHeader) return { client: { type: "header", name: customHeader.name.toLowerCase(), required: customHeader.failClosed === true } };
  if (!xForwardedFor) return {};
  const { numTrustedHops, trustedCIDRs, disableXForwardedForAppend } = xForwardedFor;
  const keeps = disableXForwardedForAppend ? { keepsForwardedFor: true } : {};
  if (trustedCIDRs && trustedCIDRs.length > 0) {
    checked("clientIPDetection.xForwardedFor", refused, () => void new AddressRanges(trustedCIDRs, "trustedCIDRs").includes(""));
    return { client: { type: "proxies", ranges: trustedCIDRs }, ...keeps };
  }
  return numTrustedHops !== undefined && numTrustedHops > 0 ? { client: { type: "hops", hops: numTrustedHops }, ...keeps } : keeps;
}

const slashes: Record<string, ListenerManners["escapedSlashes"]> = { RejectRequest: "refuse", UnescapeAndForward: "decode", UnescapeAndRedirect: "redirect" };
function pathManners({ escapedSlashesAction = "", disableMergeSlashes }: NonNullable<ClientTrafficSpec["path"]> = {}, _refused: Refusal[]): ListenerManners {
  return { ...(slashes[escapedSlashesAction] && { escapedSlashes: slashes[escapedSlashesAction]! }), ...(disableMergeSlashes && { keepsSlashes: true }) };
}

function defaultHost(hostname: string | undefined, refused: Refusal[]): ListenerManners {
  if (hostname !== undefined && !hostname.startsWith("*")) return { defaultHost: hostname };
  refused.push({ field: "http1.http10.useDefaultHost", why: "needs a listener with a host name that is no wildcard" });
  return {};
}

function ignoredUpgrades(types: readonly StringMatch[], refused: Refusal[]): TextMatch[] {
  const matches = types.map((type): TextMatch => ({ ...stringMatch(type), value: type.type === "RegularExpression" ? type.value : type.value.toLowerCase() }));
  for (const [i, match] of matches.entries()) checked(`http1.ignoredUpgradeTypes[${i}]`, refused, () => void compileTextMatch(match, "value"));
  return matches;
}

function checked(field: string, refused: Refusal[], check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    refused.push({ field, why: `is wrong: ${error.message}` });
  }
}
