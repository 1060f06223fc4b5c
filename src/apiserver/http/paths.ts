import { StatusError } from "../../api/status.ts";
import type { Api } from "../api.ts";
import { byPriority, type Discovery, type DiscoveryDocument } from "../discovery.ts";
import type { Fairness } from "../fairness/fairness.ts";
import { type OpenApi, type OpenApiDocument, openApiV2ProtobufTypes } from "../openapi/openapi.ts";
import type { Exchange } from "./exchange.ts";
import { formOf } from "./negotiate.ts";
import { openWatches } from "./watch-stream.ts";

/** What the paths that are no resources answer. */
export interface Paths {
  api: Api;
  discovery: Discovery;
  openApi: OpenApi;
  address: string;
  version: string;
  fairness?: Fairness;
  /** Of the issuer of service-account tokens. */
  issuer: ReadonlyMap<string, { type: string; body: Buffer }>;
}

const issuerSeconds = 3600;
const yearS = 365 * 24 * 3600;

export function servePath(paths: Paths, exchange: Exchange): void {
  const { info } = exchange;
  const path = info.path.replace(/(.)\/+$/, "$1");
  const found = exchange.info.method === "GET" || exchange.info.method === "HEAD" ? route(paths, exchange, path) : undefined;
  if (!found) throw new StatusError(404, "NotFound", "the server could not find the requested resource", {});
}

function route(paths: Paths, exchange: Exchange, path: string): boolean {
  const { discovery, openApi, address } = paths;
  const health = /^\/(healthz|livez|readyz)(?:\/(.+))?$/.exec(path);
  if (health) return answerHealth(paths, exchange, health[1]!, health[2]);
  switch (path) {
    case "/version":
      return answerVersion(exchange, paths.version);
    case "/api":
    case "/apis": {
      const form = formOf(exchange.headers.accept);
      const core = path === "/api";
      if (form.as === "APIGroupDiscoveryList") return answerDiscovery(exchange, discovery.aggregated(core, form.version!));
      return answerDiscovery(exchange, core ? discovery.legacyCore(address) : discovery.legacyGroups());
    }
    case "/openapi/v2": {
      const accept = String(exchange.headers.accept ?? "");
      return answerDocument(exchange, openApiV2ProtobufTypes.some((type) => accept.includes(type)) && !accept.startsWith("application/json") ? openApi.v2Protobuf() : openApi.v2(), false);
    }
    case "/openapi/v3":
      return answerDocument(exchange, openApi.index(), false);
    case "/metrics":
      exchange.bytes(200, Buffer.from(metrics(paths)), "text/plain; version=0.0.4");
      return true;
    case "/":
      exchange.json(200, { paths: ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis", ...paths.api.registry.all().map(({ group, version }) => `/apis/${group}/${version}`).filter((name) => !name.startsWith("/apis//")).filter((name, index, all) => all.indexOf(name) === index).sort(byPriority), "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"] });
      return true;
  }
  const ofIssuer = paths.issuer.get(path);
  if (ofIssuer) {
    exchange.bytes(200, ofIssuer.body, ofIssuer.type, { "cache-control": `public, max-age=${issuerSeconds}` });
    return true;
  }
  const parts = path.split("/").slice(1);
  if (parts[0] === "api" && parts.length === 2) return answerDiscovery(exchange, discovery.legacyResources("", parts[1]!));
  if (parts[0] === "apis" && parts.length === 2) return answerDiscovery(exchange, discovery.legacyGroup(parts[1]!));
  if (parts[0] === "apis" && parts.length === 3) return answerDiscovery(exchange, discovery.legacyResources(parts[1]!, parts[2]!));
  if (path.startsWith("/openapi/v3/")) {
    const document = openApi.document(path.slice("/openapi/v3/".length));
    return document ? answerDocument(exchange, document, exchange.info.query.get("hash") === document.hash) : false;
  }
  return false;
}

function answerVersion(exchange: Exchange, gitVersion: string): true {
  const [, major, minor] = /^v(\d+)\.(\d+)/.exec(gitVersion)!;
  exchange.json(200, { major, minor, emulationMajor: major, emulationMinor: minor, minCompatibilityMajor: major, minCompatibilityMinor: String(Number(minor) - 1), gitVersion: `${gitVersion}+wherry`, gitCommit: "", gitTreeState: "clean", buildDate: "1970-01-01T00:00:00Z", goVersion: "", compiler: "", platform: `linux/${process.arch === "x64" ? "amd64" : process.arch}` });
  return true;
}

function answerDiscovery(exchange: Exchange, document: DiscoveryDocument | undefined): boolean {
  if (!document) return false;
  const headers = { etag: document.etag, vary: "Accept", "cache-control": "public" };
  if (exchange.headers["if-none-match"] === document.etag) notModified(exchange, headers);
  else exchange.bytes(200, document.body, document.contentType, headers);
  return true;
}

function answerDocument(exchange: Exchange, document: OpenApiDocument, immutable: boolean): true {
  // Without Expires, kubectl asks again at every command.
  const headers: Record<string, string> = { etag: document.etag, vary: "Accept", ...(immutable ? { "cache-control": "public, immutable", expires: new Date(Date.now() + yearS * 1000).toUTCString() } : { "cache-control": "no-cache, private" }) };
  if (exchange.headers["if-none-match"] === document.etag) notModified(exchange, headers);
  else exchange.bytes(200, document.body, document.contentType, headers);
  return true;
}

function notModified(exchange: Exchange, headers: Record<string, string>): void {
  exchange.response.writeHead(304, headers);
  exchange.response.end();
}

function answerHealth({ api }: Paths, exchange: Exchange, endpoint: string, check: string | undefined): boolean {
  // A store that still takes reads is what all three ask for; the process would not answer without the rest.
  const checks: Record<string, () => void> = { ping: () => {}, etcd: () => void api.store.revision, "informer-sync": () => {} };
  if (check !== undefined && !checks[check]) return false;
  const lines: string[] = [];
  for (const [name, probe] of Object.entries(checks)) {
    if (check !== undefined && check !== name) continue;
    probe();
    lines.push(`[+]${name} ok`);
  }
  const verbose = exchange.info.query.has("verbose");
  exchange.bytes(200, Buffer.from(verbose ? `${lines.join("\n")}\n${endpoint} check passed\n` : "ok"), "text/plain; charset=utf-8");
  return true;
}

function metrics({ api, fairness }: Paths): string {
  const memory = process.memoryUsage();
  return [
    "# HELP apiserver_storage_revision The last durable revision of the store.",
    "# TYPE apiserver_storage_revision gauge",
    `apiserver_storage_revision ${api.store.revision}`,
    "# HELP apiserver_longrunning_requests Open watches.",
    "# TYPE apiserver_longrunning_requests gauge",
    `apiserver_longrunning_requests{verb="WATCH"} ${openWatches()}`,
    "# HELP process_resident_memory_bytes Resident memory size in bytes.",
    "# TYPE process_resident_memory_bytes gauge",
    `process_resident_memory_bytes ${memory.rss}`,
    ...(fairness ? fairnessMetrics(fairness) : []),
    "",
  ].join("\n");
}

/** Names and meanings are upstream's. */
function fairnessMetrics(fairness: Fairness): string[] {
  const levels = fairness.counters();
  const family = (name: string, type: string, help: string, read: (level: (typeof levels)[number]) => number) => [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...levels.map((level) => `${name}{priority_level="${level.level}"} ${read(level)}`)];
  return [
    ...family("apiserver_flowcontrol_current_executing_requests", "gauge", "Requests that hold a seat.", ({ executing }) => executing),
    ...family("apiserver_flowcontrol_current_inqueue_requests", "gauge", "Requests that wait for a seat.", ({ waiting }) => waiting),
    ...family("apiserver_flowcontrol_rejected_requests_total", "counter", "Requests that were answered 429.", ({ rejected }) => rejected),
  ];
}
