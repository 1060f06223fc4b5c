import type { HeaderChange } from "./traffic.ts";

/**
 * One listener of a Gateway. Several may share an address and port, when their host names or protocols differ; they
 * then share one socket, and the most specific host name wins (exact, then the longest wildcard, then none).
 */
export interface EdgeListener {
  /** "NAMESPACE/GATEWAY/LISTENER"; Ingresses have "ingress/http" and "ingress/https". */
  id: string;
  /** Where it is bound, on the machine. */
  address: string;
  port: number;
  protocol: "HTTP" | "HTTPS" | "TLS" | "TCP" | "UDP";
  /** Lower case; "*.example.com" for a wildcard; absent: every name. */
  hostname?: string;
  tls?: ListenerTls;
  /** Bounds that differ from the defaults of `base/limits.ts`. */
  limits?: ListenerLimits;
  /** How requests are looked at before any route is; absent: as everywhere. */
  manners?: ListenerManners;
  /** HAProxy's PROXY protocol, which says who is behind the connection: it must come first, or may. Of HTTP and decrypted HTTPS. */
  proxyProtocol?: "required" | "optional";
  /** TCP's keepalive, after so long a silence. */
  keepAliveSeconds?: number;
  /** Of connections that nobody reads: without a byte in either direction; 0 for none. */
  streamIdleMs?: number;
  /** Until the first bytes have said whose a connection is: a PROXY header, a server name. */
  openingMs?: number;
  /** Why nothing may be served here: HTTP is answered with 500, other connections are reset. */
  refusal?: string;
}

export interface ListenerTls {
  /** "passthrough": the connection goes on encrypted, by its server name. */
  mode: "terminate" | "passthrough";
  /** PEM. The first that fits the server name is shown, else the first. */
  certificates: { certificate: string; key: string }[];
  clientValidation?: ClientValidation;
  minVersion?: "TLSv1.2" | "TLSv1.3";
  maxVersion?: "TLSv1.2" | "TLSv1.3";
  ciphers?: string;
  /** As OpenSSL names them, the preferred first: "X25519:P-256", "ecdsa_secp256r1_sha256:ed25519". */
  curves?: string;
  signatures?: string;
  /** Whether a client may take up its last session, by its ticket; it may unless said. */
  resumes?: false;
  /** A handshake has so long. */
  handshakeMs?: number;
  /** What may be spoken inside, the preferred first; both unless said. */
  protocols?: ("h2" | "http/1.1")[];
}

export interface ClientValidation {
  /** PEM of the authorities of client certificates; "" where nobody looks who has signed them. */
  authorities: string;
  /** PEM of lists of revoked certificates, one each. Where there are some, each authority must have one that is still good. */
  revoked?: string[];
  /** Connections without a valid one are let in. */
  optional: boolean;
  /** Of those that are not `optional`: one without a certificate is let in, or one with any. */
  mode?: "ifGiven" | "any";
  /** One of these must be in a certificate that is shown. */
  names?: (TextMatch & { of: "DNS" | "URI" | "email" | "IP Address" })[];
  /** SHA-256 of the certificate, in lower-case hexadecimal, or of its public key, in base64: one of them all must fit. */
  certificateHashes?: string[];
  keyHashes?: string[];
}

/** `regex` (RE2) must match the whole. */
export interface TextMatch {
  type: "exact" | "prefix" | "suffix" | "regex";
  value: string;
}

/** Of times 0 is none. */
export interface ListenerLimits {
  headerBytesMax?: number;
  bodyBytesMax?: number;
  headersMs?: number;
  idleMs?: number;
  /** The whole request, from its head's end to its body's. */
  receiveMs?: number;
  /** A request with its answer. */
  exchangeMs?: number;
  /** Without a byte in either direction of a request. */
  silenceMs?: number;
  /** In one worker. */
  connectionsMax?: number;
  /** Of one connection: then it ends, with the request that it has. */
  requestsMax?: number;
  connectionMs?: number;
  /** 1: a connection of HTTP/1 that is idle ends at `connectionMs`; else the next request is told so, and answered. */
  endsAtOnce?: number;
  /** So long those that are one too many stay before they are closed. */
  closeDelayMs?: number;
  /** Of HTTP/2: requests under way, and bytes that may come before somebody reads them. */
  streamsMax?: number;
  streamWindow?: number;
  connectionWindow?: number;
}

/** Who the client is, and what of its head counts. */
export interface ListenerManners {
  /**
   * Whose word is taken for the client's address. `hops`: the Nth address from the right of X-Forwarded-For; `proxies`: where one of
   * these has sent it, the first from the right that is none of them; `header`: what stands there, `required` or 403.
   */
  client?: { type: "hops"; hops: number } | { type: "proxies"; ranges: string[] } | { type: "header"; name: string; required: boolean };
  /** What is believed of X-Forwarded-For goes on as it is. */
  keepsForwardedFor?: boolean;
  /** `keep`: the client's own or a new one; `given`: the client's own or none; `none`: none. Absent: always a new one. */
  requestId?: "keep" | "given" | "none";
  /** Headers with "_" in their names. */
  underscores?: "refuse" | "drop";
  requestHeaders?: EarlyChange;
  responseHeaders?: EarlyChange;
  /** Of %2F and %5C in the path; absent: they stay. */
  escapedSlashes?: "refuse" | "decode" | "redirect";
  /** "//" stays in the path. */
  keepsSlashes?: boolean;
  /** Of a request of HTTP/1.0 that names none. */
  defaultHost?: string;
  /** Answers do not tell what is left of a rate limit. */
  hidesLimits?: boolean;
  /** "example.com." goes on as "example.com"; for routes it is the same anyhow. */
  cutsHostDot?: boolean;
  /** Who asks to be upgraded to one of these protocols is answered as if he had not; in lower case, but patterns. */
  ignoredUpgrades?: TextMatch[];
  /** Calls of browsers (gRPC-Web) go on as gRPC's. */
  grpcWeb?: boolean;
  /** GET of it is answered here: 200, and 503 by a worker that ends. */
  healthPath?: string;
  /** What becomes of X-Forwarded-Client-Cert, and what it says of a certificate besides its hash; absent: it is taken off. */
  clientCertificate?: { mode: "set" | "append" | "forward" | "always"; details: ("Subject" | "Cert" | "DNS" | "URI")[] };
}

/** Before routes see a request, or after all that they say of an answer. */
export interface EarlyChange extends HeaderChange {
  addIfAbsent?: { name: string; value: string }[];
  /** Of the names, in lower case. Not of answers. */
  removeMatching?: TextMatch[];
}
