import type { PolicyKind } from "../../api/envoy/kinds.ts";

/** Why a field is not honoured, and what does in its place; a field with its dots, and all below it. Others are merely not honoured here. */
export const instead: Record<PolicyKind, Readonly<Record<string, string>>> = {
  SecurityPolicy: {},
  BackendTrafficPolicy: {
    useClientProtocol: "is not honoured: endpoints are spoken to as their Service port says (appProtocol: kubernetes.io/h2c for HTTP/2)",
    "httpUpgrade[].connect": "is not honoured: nobody is let through by CONNECT; a TCPRoute carries bytes that nobody reads",
    "bandwidthLimit.request": "is not honoured: what clients send goes on as fast as upstreams take it; requestBuffer bounds how much it is, and rateLimit how often",
    "bandwidthLimit.response.responseTrailers": "is not honoured: the access log says how long an answer took",
    "connection.preconnect": "is not honoured: connections are made when one is needed, and kept; timeout.http.connectionIdleTimeout says how long",
    "connection.bufferLimit": "is not honoured: buffers of a connection have one size, and what is not taken is not read; leave it out",
    "connection.socketBufferLimit": "is not honoured: the kernel chooses (net.ipv4.tcp_rmem, tcp_wmem)",
    dns: "is not honoured: endpoints are a Service's, and no name is asked for",
    "http2.maxConcurrentStreams": "is not honoured: the endpoint says how many (SETTINGS_MAX_CONCURRENT_STREAMS); circuitBreaker.maxParallelRequests bounds all of them",
    http2: "is not honoured: windows are 256 KiB a stream and 4 MiB a connection, and nobody is pinged; tcpKeepalive finds who is gone",
    "telemetry.tracing": "is not honoured: the gateway writes no spans; traceparent goes on as it came, and X-Request-Id is in the access log",
    "telemetry.metrics": "is not honoured: the access log names the rule of each request",
  },
  ClientTrafficPolicy: {
    http3: "is not honoured: HTTP/3 is not spoken; HTTP/2 is, to whoever asks for it by ALPN",
    "http2.connectionKeepalive": "is not honoured: nobody is pinged; tcpKeepalive finds who is gone, and timeout.http.idleTimeout who says nothing",
    "connection.bufferLimit": "is not honoured: buffers of a connection have one size, and what is not taken is not read; leave it out",
    "connection.socketBufferLimit": "is not honoured: the kernel chooses (net.ipv4.tcp_rmem, tcp_wmem)",
    "connection.maxAcceptPerSocketEvent": "is not honoured: as many are accepted as are there",
    "tls.clientValidation.allowExpiredCertificate": "is not honoured: whoever may come with a certificate that has ended can be named by its hash (mode RequireAny, certificateHashes)",
    "tls.fingerprints": "is not honoured: no fingerprints of handshakes are taken",
  },
};

/** The words for a field, its lists as "[]". */
export function wordsFor(words: Readonly<Record<string, string>>, shape: string): string {
  for (let at = shape; ; ) {
    if (Object.hasOwn(words, at)) return words[at]!;
    const dot = Math.max(at.lastIndexOf("."), at.lastIndexOf("["));
    if (dot < 0) return "is not honoured here";
    at = at.slice(0, dot);
  }
}
