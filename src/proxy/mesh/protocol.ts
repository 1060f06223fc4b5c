/** What a Service port says of itself by `appProtocol` or by its name. */
export type Declared = "http" | "opaque" | "unknown";

/** As Istio and Gateway API name them. HTTP inside TLS is TLS to whoever stands between. */
const declared: Record<string, Declared> = {
  http: "http",
  http2: "http",
  h2c: "http",
  grpc: "http",
  "grpc-web": "http",
  "kubernetes.io/h2c": "http",
  "kubernetes.io/ws": "http",
  https: "opaque",
  tls: "opaque",
  tcp: "opaque",
  "kubernetes.io/wss": "opaque",
  mongo: "opaque",
  mysql: "opaque",
  redis: "opaque",
  postgres: "opaque",
};

/** Programs speak TLS to each other: it is theirs. */
const ownTls = new Set(["https", "tls", "kubernetes.io/wss"]);
export const isOwnTls = (appProtocol: string | undefined): boolean => ownTls.has(appProtocol ?? "");

/** Without TLS, and beforehand. */
const http2Protocols = new Set(["kubernetes.io/h2c", "h2c", "http2", "grpc"]);
export const speaksHttp2 = (appProtocol: string | undefined): boolean => http2Protocols.has(appProtocol ?? "");

export const declaredBy = (appProtocol: string | undefined): Declared => declared[appProtocol ?? ""] ?? "unknown";

/** "http" of "http-web": the convention that Istio made common. */
export function protocolOfName(name: string): string | undefined {
  return /^(http|http2|https|grpc|grpc-web|tcp|tls|mongo|mysql|redis|postgres)(?:-|$)/.exec(name)?.[1];
}

export type Spoken = "http1" | "http2" | "other";

const methods = ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "PATCH ", "OPTIONS ", "TRACE "];
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const longest = preface.length;

/**
 * What a client's first bytes are; undefined: too few to say. A method that is not well known is "other", and so is CONNECT,
 * which asks for a proxy: what is passed on unread cannot be read wrongly.
 */
export function spokenBy(bytes: Buffer, from: number, to: number): Spoken | undefined {
  const text = bytes.latin1Slice(from, Math.min(to, from + longest));
  for (const method of methods) if (text.startsWith(method)) return "http1";
  if (text.startsWith(preface)) return "http2";
  return preface.startsWith(text) || methods.some((method) => method.startsWith(text)) ? undefined : "other";
}
