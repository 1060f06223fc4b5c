/** They tune nginx, its logs and its buffers: nothing that a client or an application would see depends on them. */
export const withoutEffect: ReadonlySet<string> = new Set([
  "enable-access-log",
  "enable-rewrite-log",
  "http2-push-preload",
  "preserve-trailing-slash",
  "proxy-buffer-size",
  "proxy-buffering",
  "proxy-buffers-number",
  "proxy-busy-buffers-size",
  "proxy-http-version",
  "proxy-max-temp-file-size",
  "proxy-request-buffering",
  "relative-redirects",
  "enable-opentelemetry",
  "opentelemetry-operation-name",
  "opentelemetry-trust-incoming-span",
  "enable-opentracing",
  "opentracing-trust-incoming-span",
  "proxy-ssl-server-name",
  "proxy-ssl-name",
  "proxy-ssl-ciphers",
  "proxy-ssl-protocols",
  "proxy-ssl-verify-depth",
  "service-upstream",
  "upstream-hash-by-subset",
  "upstream-hash-by-subset-size",
  "disable-proxy-intercept-errors",
  "connection-proxy-header",
  "use-port-in-redirects",
]);

/**
 * They protect what stands behind them, in ways that are not known here: without them the paths of their Ingress would be
 * open, so they are closed. A name ending in "-" is the beginning of names. `off` is the value that asks for nothing.
 */
export const protections: readonly { name: string; off?: RegExp }[] = [
  { name: "auth-" },
  { name: "enable-global-auth", off: /^(true|false)$/ },
  { name: "satisfy" },
  { name: "configuration-snippet" },
  { name: "server-snippet" },
  { name: "stream-snippet" },
  { name: "enable-modsecurity", off: /^false$/ },
  { name: "enable-owasp-core-rules", off: /^false$/ },
  { name: "enable-owasp-modsecurity-crs", off: /^false$/ },
  { name: "modsecurity-" },
  { name: "ssl-passthrough", off: /^false$/ },
  { name: "proxy-ssl-secret" },
  { name: "proxy-ssl-verify", off: /^off$/ },
  { name: "ssl-ciphers" },
];
