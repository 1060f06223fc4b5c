import { execFile } from "node:child_process";
import { createHash, createSign, generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { HttpFilter, HttpRoute } from "../src/api/traffic.ts";
import { silentLog } from "../src/base/log.ts";
import { systemRandom } from "../src/base/random.ts";
import type { Exchange, Filter, Handler, Outcome } from "../src/policy/exchange.ts";
import { filters as allFilters } from "../src/policy/filters/index.ts";
import { complete, Head } from "../src/proxy/http/head.ts";
import { HeadView } from "../src/proxy/http/request-view.ts";
import { createNetSupervisor } from "../src/proxy/supervisor.ts";
import type { EnvoyFilter } from "./envoy.ts";
import { type Ground, inOwnNetwork, startGround, untilOpen } from "./gateway-peers.ts";
import { cpuSeconds, family, median, print } from "./measure.ts";
import { type Peer, type PeerPolicy, startPolicyPeers } from "./policies-peers.ts";

/**
 * What does a policy cost a request? Each alone and the common stack before the bare proxy that gets the same request, and beside
 * nginx, Caddy, Envoy, Express and Fastify where they have the same; a line in a log each. Processor time of
 * the gateway by whole requests over loopback; what a policy costs is the middle of each round's own difference, since machines have
 * slow minutes. A difference of two times of 40 µs says nothing of one microsecond on such a machine: the marks for a policy alone are
 * judged by what its own code takes, measured in this process with the parser's own heads. A policy more is a line of `policies`. `--quick`: fewer rounds. BENCH_POLICIES="rate limit,cache hit" chooses,
 * BENCH_ROUNDS and BENCH_SECONDS too.
 */
const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
const issuer = "https://users.example";
const audience = "shop";
const origin = "https://shop.example";
const users = { alice: "secret" };
const part = (value: object | Buffer): string => (Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value))).toString("base64url");
function token(): string {
  const signed = `${part({ alg: "ES256", typ: "JWT", kid: "bench" })}.${part({ iss: issuer, aud: audience, sub: "alice", exp: 4_102_444_800, scope: "orders:write" })}`;
  return `${signed}.${part(createSign("sha256").update(signed).sign({ key: privateKey, dsaEncoding: "ieee-p1363" }))}`;
}
const jwks = JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "bench", alg: "ES256", use: "sig" }] });
const apiKey = "0123456789abcdef0123456789abcdef";
const order = JSON.stringify({ customer: "alice", items: Array.from({ length: 10 }, (_, i) => ({ product: `product-${i}`, quantity: i + 1, price: 9.95, note: "as always, please" })) }).padEnd(1024);
const schema = { type: "object", required: ["customer", "items"], additionalProperties: false, properties: { customer: { type: "string", minLength: 1 }, items: { type: "array", minItems: 1, items: { type: "object", required: ["product", "quantity"], properties: { product: { type: "string", pattern: "^[a-z0-9-]+$" }, quantity: { type: "integer", minimum: 1 }, price: { type: "number" }, note: { type: "string" } } } } } };

const filters = {
  jwt: { type: "jwt", providers: [{ name: "users", issuer, audiences: [audience], jwks }] },
  limit: { type: "rateLimit", requests: 1_000_000, periodMs: 1_000, burst: 1_000_000, by: "client" },
  cors: { type: "cors", origins: [origin], methods: ["GET", "POST"], headers: ["authorization"], exposeHeaders: [], maxAgeSeconds: 600, credentials: true },
  validate: { type: "validate", body: { content: { "application/json": schema }, required: true } },
  cache: { type: "cache", ttlSeconds: 86_400 },
} satisfies Record<string, HttpFilter>;

interface Policy extends PeerPolicy {
  name: string;
  filters: readonly HttpFilter[];
  /** The request; GET without more unless said. */
  headers?: readonly string[];
  body?: string;
  /** Path of the upstream; "/" unless said. */
  path?: string;
  mark?: { what: string; isMet(figures: Figures): boolean };
}
interface Figures {
  /** Microseconds of processor time a request, and of the bare proxy for the same request. */
  own: number;
  bare: number;
  /** Of its own code. */
  code: number;
  /** nginx's for the same, by this one's. */
  toNginx: number | undefined;
}
const bearer = [`Authorization: Bearer ${token()}`];
const browser = [...bearer, `Origin: ${origin}`];
const json = ["Content-Type: application/json"];
const atMost = (us: number) => ({ what: `its code ≤ ${us} µs`, isMet: ({ code }: Figures) => code <= us });
const asNginx = { what: "≥ 1.0× nginx's", isMet: ({ toNginx }: Figures) => (toNginx ?? 0) >= 1 };

/** Envoy's filters of the same, and how they are told what to do. */
const envoyFilter = (name: string, version: string, type: string, config: object): EnvoyFilter => ({ name: `envoy.filters.http.${name}`, typed_config: { "@type": `type.googleapis.com/envoy.extensions.filters.http.${name}.${version}.${type}`, ...config } });
const envoy = {
  limit: envoyFilter("local_ratelimit", "v3", "LocalRateLimit", { stat_prefix: "limit", token_bucket: { max_tokens: 1_000_000, tokens_per_fill: 1_000_000, fill_interval: "1s" }, filter_enabled: { default_value: { numerator: 100 } }, filter_enforced: { default_value: { numerator: 100 } } }),
  jwt: envoyFilter("jwt_authn", "v3", "JwtAuthentication", { providers: { users: { issuer, audiences: [audience], local_jwks: { inline_string: jwks }, forward: true, jwt_cache_config: { jwt_cache_size: 100 } } }, rules: [{ match: { prefix: "/" }, requires: { provider_name: "users" } }] }),
  cors: envoyFilter("cors", "v3", "Cors", {}),
  cache: envoyFilter("cache", "v3", "CacheConfig", { typed_config: { "@type": "type.googleapis.com/envoy.extensions.http.cache.simple_http_cache.v3.SimpleHttpCacheConfig" } }),
};
const corsRoute = { typed_per_filter_config: { "envoy.filters.http.cors": { "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy", allow_origin_string_match: [{ exact: origin }], allow_methods: "GET,POST", allow_headers: "authorization", max_age: "600", allow_credentials: true } } };
const kept = { nginx: "proxy_cache kept; proxy_cache_valid 200 1d;", envoy: { filters: [envoy.cache], route: { response_headers_to_add: [{ header: { key: "cache-control", value: "max-age=86400" } }] } } };

const policies: readonly Policy[] = [
  { name: "rate limit", filters: [filters.limit], nginx: "limit_req zone=limit burst=100000 nodelay;", envoy: { filters: [envoy.limit] }, node: ["limit"], mark: atMost(1) },
  { name: "JWT, key cached", filters: [filters.jwt], headers: bearer, nginx: "auth_request /allowed;", caddy: true, envoy: { filters: [envoy.jwt] }, node: ["jwt"], mark: atMost(12) },
  { name: "API key", filters: [{ type: "apiKey", keys: [{ client: "alice", sha256: createHash("sha256").update(apiKey).digest("hex") }], from: [{ in: "header", name: "x-api-key" }] }], headers: [`X-Api-Key: ${apiKey}`], envoy: { filters: [envoyFilter("api_key_auth", "v3", "ApiKeyAuth", { credentials: [{ key: apiKey, client: "alice" }], key_sources: [{ header: "x-api-key" }] })] } },
  { name: "basic", filters: [{ type: "basic", users: [{ name: "alice", sha1: createHash("sha1").update(users.alice).digest("base64") }] }], headers: [`Authorization: Basic ${Buffer.from(`alice:${users.alice}`).toString("base64")}`], envoy: { filters: [envoyFilter("basic_auth", "v3", "BasicAuth", { users: { inline_string: `alice:{SHA}${createHash("sha1").update(users.alice).digest("base64")}` } })] }, node: ["basic"] },
  { name: "CORS", filters: [filters.cors], headers: browser, envoy: { filters: [envoy.cors], route: corsRoute }, node: ["cors"] },
  { name: "headers set and removed", filters: [{ type: "requestHeaders", set: [{ name: "x-env", value: "bench" }], remove: ["x-debug"] }, { type: "responseHeaders", add: [{ name: "x-by", value: "bench" }] }], nginx: 'proxy_set_header X-Env bench; proxy_set_header X-Debug ""; add_header X-By bench;', envoy: { filters: [], route: { request_headers_to_add: [{ header: { key: "x-env", value: "bench" } }], request_headers_to_remove: ["x-debug"], response_headers_to_add: [{ header: { key: "x-by", value: "bench" } }] } } },
  { name: "validation of 1 KB", filters: [filters.validate], headers: json, body: order, node: ["validate"], mark: atMost(10) },
  { name: "cache hit, 14 B", filters: [filters.cache], ...kept, mark: asNginx },
  { name: "cache hit, 100 KB", filters: [filters.cache], path: "/files/100k", ...kept, mark: asNginx },
  { name: "JWT + limit + CORS", filters: [filters.jwt, filters.limit, filters.cors], headers: browser, envoy: { filters: [envoy.cors, envoy.jwt, envoy.limit], route: corsRoute }, node: ["cors", "jwt", "limit"] },
  { name: "JWT + limit + CORS + validation", filters: [filters.jwt, filters.limit, filters.cors, filters.validate], headers: [...browser, ...json], body: order, node: ["cors", "jwt", "limit", "validate"], mark: { what: "≤ 2× the bare proxy", isMet: ({ own, bare }) => own <= 2 * bare } },
];

interface Setup {
  port: number;
  upstream: { address: string; port: number };
  log: string;
  paths: { path: string; filters: readonly HttpFilter[] }[];
}

/** The worker that `wherry up` has, a rule for each policy, and who is refused is not served: `node policies.ts SETUP`. */
async function serve({ port, upstream, log, paths }: Setup): Promise<void> {
  const network = { mode: "plain" as const, enter: [], gatewayIP: "127.0.0.1", dnsIP: "127.96.1.1", apiServiceIP: "127.96.1.2" };
  const supervisor = createNetSupervisor({ network, workers: 1, log: silentLog, accessLog: log });
  await supervisor.start();
  supervisor.publish({ revision: 1, services: [{ namespace: "bench", name: "web", type: "ClusterIP", clusterIPs: [], headless: false, publishNotReadyAddresses: false, affinitySeconds: 0, hostnames: [], ports: [{ name: "", protocol: "TCP", port: 80, endpoints: [{ ip: upstream.address, port: upstream.port, ready: true, terminating: false }] }] }] });
  const routes = paths.map(({ path, filters: own }, i): HttpRoute => ({
    id: `HTTPRoute/bench/${i}`,
    createdAt: i,
    type: "http",
    attachments: [{ listener: "bench/gateway/http", hostnames: [""] }],
    rules: [{ name: "0", matches: [{ path: { type: "prefix", value: path } }], filters: [...own, { type: "rewrite", path: { type: "prefix", value: "/" } }], backends: [{ upstream: "bench/web/80", weight: 1 }] }],
  }));
  supervisor.publishTraffic({ revision: 1, put: { listeners: [{ id: "bench/gateway/http", address: "127.0.0.1", port, protocol: "HTTP" }], upstreams: [{ id: "bench/web/80", namespace: "bench", service: "web", port: 80, protocol: "http1" }], routes }, remove: {} });
  process.once("SIGTERM", () => void supervisor.stop(AbortSignal.timeout(2_000)).then(() => process.exit(0)));
}

const firstPort = 18_191;
/** Microseconds of processor time that the filters take of a request that they let through, the middle of several rounds. */
function codeOf({ filters: own, headers = [], body }: Policy): number {
  const tools = { random: systemRandom, nowMs: () => performance.now(), dateMs: Date.now, setTimer: () => ({ cancel() {} }) };
  let forwarded = 0;
  const last: Handler = () => void forwarded++;
  const handler = own.reduceRight((next, config) => (allFilters[config.type] as Filter<HttpFilter>)(config, tools)(next), last);
  const bytes = Buffer.from([`${body === undefined ? "GET" : "POST"} / HTTP/1.1`, "Host: shop.example", ...headers, ...(body === undefined ? [] : [`Content-Length: ${body.length}`]), "", ""].join("\r\n"));
  const head = new Head(true, 65_536);
  head.reset();
  if (head.feed(bytes, 0, bytes.length) !== complete) throw new Error(head.error);
  const content = Buffer.from(body ?? "");
  const outcome: Outcome = { forward() {}, answer: (_exchange, { reason }) => { throw new Error(reason); } };
  const once = (): void => {
    const exchange: Exchange = { request: new HeadView(head, "http", 80, "127.0.0.1"), host: undefined, target: undefined, query: undefined, caller: undefined, requestHeaders: undefined, responseHeaders: undefined, upstream: undefined, mirrors: undefined, bodyBytesMax: undefined, match: undefined, captures: undefined, onResponse() {}, onEnd() {}, readBody: (_max, then) => then(content), replaceBody() {}, hold: () => true, takeAnswer() {} };
    handler(exchange, outcome);
  };
  const calls = 20_000;
  for (let i = 0; i < calls; i++) once();
  const rounds = Array.from({ length: 9 }, () => {
    const before = process.threadCpuUsage();
    for (let i = 0; i < calls; i++) once();
    const { user, system } = process.threadCpuUsage(before);
    return (user + system) / calls;
  });
  if (forwarded !== calls * 10) throw new Error(`of ${calls * 10} requests ${forwarded} were let through at once`);
  return median(rounds);
}

export async function run({ quick = false }: { quick?: boolean } = {}): Promise<void> {
  if (!(await inOwnNetwork("policies", quick ? ["--quick"] : []))) return;
  const chosen = process.env["BENCH_POLICIES"]?.split(",");
  const wanted = policies.filter(({ name }) => !chosen || chosen.some((part) => name.startsWith(part)));
  const rounds = Number(process.env["BENCH_ROUNDS"] ?? (quick ? 3 : 7));
  const seconds = Number(process.env["BENCH_SECONDS"] ?? (quick ? 0.5 : 1));
  await using ground = await startGround(1);
  const setup: Setup = { port: firstPort, upstream: ground.upstream, log: join(ground.folder, "wherry.log"), paths: [{ path: "/bare", filters: [] }, ...wanted.map(({ filters: own }, i) => ({ path: `/p${i}`, filters: own }))] };
  const worker = ground.start(ground.forGateways, process.execPath, [import.meta.filename, JSON.stringify(setup)]);
  const ours: Peer = { name: "Wherry", pids: () => family(worker.pid!).slice(1), url: (i) => `http://127.0.0.1:${firstPort}${i === "bare" ? "/bare" : `/p${i}`}` };
  await untilOpen(firstPort, "127.0.0.1", ours.name, ground.errors);
  const others = quick ? [] : await startPolicyPeers(ground, firstPort + 1, wanted, { publicKey: publicKey.export({ type: "spki", format: "pem" }) as string, issuer, audience, origin, users, schema });
  process.stdout.write(`Node ${process.versions.node}; ${rounds} rounds of ${seconds} s; load average ${loadavg().map((value) => value.toFixed(1)).join(" ")}\n`);

  const rows: string[][] = [];
  const marks: string[] = [];
  let warm = Math.ceil((quick ? 2 : 6) / seconds);
  for (const [i, policy] of wanted.entries()) {
    const sides = [ours, ...others].flatMap((peer) => {
      const url = peer.url(i);
      return url === undefined ? [] : [{ peer, url: peer.url("bare")!, us: [] as number[] }, { peer, url, us: [] as number[] }];
    });
    for (let round = -warm; round < rounds; round++) {
      for (let turn = 0; turn < sides.length; turn++) {
        const side = sides[(turn + Math.max(0, round)) % sides.length]!;
        const us = await costOf(ground, policy, side.peer, side.url, seconds);
        if (round >= 0) side.us.push(us);
      }
    }
    warm = 1;
    const code = policy.filters.some(({ type }) => type === "cache") ? 0 : codeOf(policy);
    const ownTimes = sides[1]!.us;
    for (let at = 0; at < sides.length; at += 2) {
      const [{ peer, us: bare }, { us: own }] = [sides[at]!, sides[at + 1]!];
      const byOurs = at === 0 ? undefined : median(own.map((us, round) => us / ownTimes[round]!));
      rows.push([at === 0 ? policy.name : "", peer.name, median(bare).toFixed(1), median(own).toFixed(1), median(own.map((us, round) => us - bare[round]!)).toFixed(1), at === 0 && code > 0 ? code.toFixed(2) : "", (median(own) / median(bare)).toFixed(2), byOurs?.toFixed(2) ?? ""]);
    }
    const nginx = sides.findLast(({ peer }) => peer.name.startsWith("nginx"));
    const { mark } = policy;
    // Whom it is compared with may have been left out.
    if (mark && (nginx || mark !== asNginx)) marks.push(`${policy.name}: ${mark.what}: ${mark.isMet({ code, own: median(ownTimes), bare: median(sides[0]!.us), toNginx: nginx && median(nginx.us.map((us, round) => us / ownTimes[round]!)) }) ? "met" : "MISSED"}`);
  }
  print(["policy", "gateway", "µs bare", "µs with it", "adds µs", "its code µs", "to bare", "by Wherry's"], rows);
  process.stdout.write(`${marks.join("\n")}\n`);
  process.stdout.write(`${marks.filter((line) => line.endsWith(": met")).length} of ${marks.length} marks met\n`);
}

async function costOf(ground: Ground, { name, headers = [], body, path = "/" }: Policy, peer: Peer, url: string, seconds: number): Promise<number> {
  const script = join(ground.folder, "body.lua");
  if (body !== undefined) writeFileSync(script, `wrk.method = "POST"; wrk.body = [==[${body}]==]`);
  const before = cpuSeconds(peer.pids());
  const [file, args] = ground.loadCommand(ground.wrk, ["-t1", "-c64", "-d60s", ...headers.flatMap((header) => ["-H", header]), ...(body === undefined ? [] : ["-s", script]), `${url}${path}`]);
  const running = promisify(execFile)(file, args, { env: ground.env });
  const timer = setTimeout(() => running.child.kill("SIGINT"), seconds * 1000);
  const { stdout } = await running.finally(() => clearTimeout(timer));
  const used = cpuSeconds(peer.pids()) - before;
  const count = Number(/(\d+) requests in/.exec(stdout)![1]);
  const wrong = /.*(?:Non-2xx|Socket errors).*/.exec(stdout);
  if (wrong) throw new Error(`${peer.name}, ${name}: ${wrong[0].trim()}`);
  return count === 0 ? costOf(ground, { name, headers, ...(body !== undefined && { body }), path, filters: [] }, peer, url, seconds * 2) : (used / count) * 1e6;
}

if (import.meta.main) await serve(JSON.parse(process.argv[2]!) as Setup);
