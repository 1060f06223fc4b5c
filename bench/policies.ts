import { type ChildProcess, execFile } from "node:child_process";
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
import { common, type Ground, inOwnNetwork, program, startGround, temporary, untilOpen, versionOf } from "./gateway-peers.ts";
import { cpuSeconds, family, median, print } from "./measure.ts";

/**
 * What does a policy cost a request? Each alone and the common stack before the bare proxy that gets the same request, and beside
 * nginx (limit_req, auth_request, proxy_cache) and Caddy (forward_auth) with the same work; a line in a log each. Processor time of
 * the gateway by whole requests over loopback; what a policy costs is the middle of each round's own difference, since machines have
 * slow minutes. A difference of two times of 40 µs says nothing of one microsecond on such a machine: the marks for a policy alone are
 * judged by what its own code takes, measured in this process with the parser's own heads. A policy more is a line of `policies`. `--quick`: fewer rounds. BENCH_POLICIES="rate limit,cache hit" chooses,
 * BENCH_ROUNDS and BENCH_SECONDS too.
 */
const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
const part = (value: object | Buffer): string => (Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value))).toString("base64url");
function token(): string {
  const signed = `${part({ alg: "ES256", typ: "JWT", kid: "bench" })}.${part({ iss: "https://users.example", aud: "shop", sub: "alice", exp: 4_102_444_800, scope: "orders:write" })}`;
  return `${signed}.${part(createSign("sha256").update(signed).sign({ key: privateKey, dsaEncoding: "ieee-p1363" }))}`;
}
const jwks = JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "bench", alg: "ES256", use: "sig" }] });
const apiKey = "0123456789abcdef0123456789abcdef";
const order = JSON.stringify({ customer: "alice", items: Array.from({ length: 10 }, (_, i) => ({ product: `product-${i}`, quantity: i + 1, price: 9.95, note: "as always, please" })) }).padEnd(1024);
const schema = { type: "object", required: ["customer", "items"], additionalProperties: false, properties: { customer: { type: "string", minLength: 1 }, items: { type: "array", minItems: 1, items: { type: "object", required: ["product", "quantity"], properties: { product: { type: "string", pattern: "^[a-z0-9-]+$" }, quantity: { type: "integer", minimum: 1 }, price: { type: "number" }, note: { type: "string" } } } } } };

const filters = {
  jwt: { type: "jwt", providers: [{ name: "users", issuer: "https://users.example", audiences: ["shop"], jwks }] },
  limit: { type: "rateLimit", requests: 1_000_000, periodMs: 1_000, burst: 1_000_000, by: "client" },
  cors: { type: "cors", origins: ["https://shop.example"], methods: ["GET", "POST"], headers: ["authorization"], exposeHeaders: [], maxAgeSeconds: 600, credentials: true },
  validate: { type: "validate", body: { content: { "application/json": schema }, required: true } },
  cache: { type: "cache", ttlSeconds: 86_400 },
} satisfies Record<string, HttpFilter>;

interface Policy {
  name: string;
  filters: readonly HttpFilter[];
  /** The request; GET without more unless said. */
  headers?: readonly string[];
  body?: string;
  /** Path of the upstream; "/" unless said. */
  path?: string;
  /** What nginx does for the same, in its location. */
  nginx?: string;
  caddy?: string;
  mark?: { what: string; isMet(figures: Figures): boolean };
}
interface Figures {
  /** Microseconds of processor time a request, of it what the policy adds, and of the bare proxy for the same request. */
  own: number;
  added: number;
  bare: number;
  /** Of its own code. */
  code: number;
  /** nginx's for the same, by this one's. */
  toNginx: number | undefined;
}
const bearer = [`Authorization: Bearer ${token()}`];
const browser = [...bearer, "Origin: https://shop.example"];
const json = ["Content-Type: application/json"];
const atMost = (us: number) => ({ what: `its code ≤ ${us} µs`, isMet: ({ code }: Figures) => code <= us });
const asNginx = { what: "≥ 1.0× nginx's", isMet: ({ toNginx }: Figures) => (toNginx ?? 0) >= 1 };

const policies: readonly Policy[] = [
  { name: "rate limit", filters: [filters.limit], nginx: "limit_req zone=limit burst=100000 nodelay;", mark: atMost(1) },
  { name: "JWT, key cached", filters: [filters.jwt], headers: bearer, nginx: "auth_request /allowed;", caddy: "forward_auth", mark: atMost(12) },
  { name: "API key", filters: [{ type: "apiKey", keys: [{ client: "alice", sha256: createHash("sha256").update(apiKey).digest("hex") }], from: [{ in: "header", name: "x-api-key" }] }], headers: [`X-Api-Key: ${apiKey}`] },
  { name: "basic", filters: [{ type: "basic", users: [{ name: "alice", sha1: createHash("sha1").update("secret").digest("base64") }] }], headers: [`Authorization: Basic ${Buffer.from("alice:secret").toString("base64")}`] },
  { name: "CORS", filters: [filters.cors], headers: browser },
  { name: "headers set and removed", filters: [{ type: "requestHeaders", set: [{ name: "x-env", value: "bench" }], remove: ["x-debug"] }, { type: "responseHeaders", add: [{ name: "x-by", value: "bench" }] }] },
  { name: "validation of 1 KB", filters: [filters.validate], headers: json, body: order, mark: atMost(10) },
  { name: "cache hit, 14 B", filters: [filters.cache], nginx: "proxy_cache kept; proxy_cache_valid 200 1d;", mark: asNginx },
  { name: "cache hit, 100 KB", filters: [filters.cache], path: "/files/100k", nginx: "proxy_cache kept; proxy_cache_valid 200 1d;", mark: asNginx },
  { name: "JWT + limit + CORS + validation", filters: [filters.jwt, filters.limit, filters.cors, filters.validate], headers: [...browser, ...json], body: order, mark: { what: "≤ 2× the bare proxy", isMet: ({ own, bare }) => own <= 2 * bare } },
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
const slug = (i: number): string => `/p${i}`;

function nginxConf({ folder, upstream }: Ground, port: number, wanted: readonly Policy[]): string {
  const proxied = `proxy_pass http://web/; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id;`;
  return `${common(folder, "policies", 1)} http { ${temporary(folder)} access_log ${folder}/policies.log; keepalive_requests 100000000; limit_req_zone $binary_remote_addr zone=limit:1m rate=1000000r/s; proxy_cache_path ${folder}/kept keys_zone=kept:8m;
    upstream web { server ${upstream.address}:${upstream.port}; keepalive 1024; keepalive_requests 100000000; }
    upstream allowing { server 127.0.0.1:${port + 1}; keepalive 1024; keepalive_requests 100000000; }
    server { listen 127.0.0.1:${port} backlog=1024;
    location = /allowed { internal; proxy_pass http://allowing; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass_request_body off; proxy_set_header Content-Length ""; }
    location /bare/ { ${proxied} }
    ${wanted.map(({ nginx }, i) => (nginx === undefined ? "" : `location ${slug(i)}/ { ${nginx} ${proxied} }`)).join("\n    ")} } }`;
}
/** Who says yes to auth_request: another process, which does not count. */
const allowing = ({ folder }: Ground, port: number): string => `${common(folder, "allowing", 1)} http { ${temporary(folder)} access_log off; keepalive_requests 100000000; server { listen 127.0.0.1:${port}; location / { return 204; } } }`;
const caddyConf = ({ folder, upstream }: Ground, port: number, allowed: number, wanted: readonly Policy[]): string => {
  const proxied = `reverse_proxy ${upstream.address}:${upstream.port} {\n transport http {\n keepalive_idle_conns_per_host 1024\n }\n }`;
  const all = wanted.flatMap(({ caddy }, i) => (caddy === undefined ? [] : [`handle_path ${slug(i)}/* {\n forward_auth 127.0.0.1:${allowed} {\n uri /\n }\n ${proxied}\n}`]));
  return `{\n admin off\n auto_https off\n}\nhttp://:${port} {\n bind 127.0.0.1\n log {\n output file ${folder}/caddy-policies.log\n }\n handle_path /bare/* {\n ${proxied}\n }\n ${all.join("\n")}\n}\n`;
};

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

interface Peer {
  name: string;
  port: number;
  pids(): number[];
}

export async function run({ quick = false }: { quick?: boolean } = {}): Promise<void> {
  if (!(await inOwnNetwork("policies", quick ? ["--quick"] : []))) return;
  const chosen = process.env["BENCH_POLICIES"]?.split(",");
  const wanted = policies.filter(({ name }) => !chosen || chosen.some((part) => name.startsWith(part)));
  const rounds = Number(process.env["BENCH_ROUNDS"] ?? (quick ? 3 : 7));
  const seconds = Number(process.env["BENCH_SECONDS"] ?? (quick ? 0.5 : 1));
  await using ground = await startGround(1);
  const started = (name: string, port: number, child: ChildProcess, pids: (pid: number) => number[] = family): Peer => ({ name, port, pids: () => pids(child.pid!) });
  const setup: Setup = { port: firstPort, upstream: ground.upstream, log: join(ground.folder, "wherry.log"), paths: [{ path: "/bare", filters: [] }, ...wanted.map(({ filters: own }, i) => ({ path: slug(i), filters: own }))] };
  const ours = started("Wherry", firstPort, ground.start(ground.forGateways, process.execPath, [import.meta.filename, JSON.stringify(setup)]), (pid) => family(pid).slice(1));
  ground.start("0", ground.nginx, ["-c", ground.conf("allowing.conf", allowing(ground, firstPort + 2)), "-e", join(ground.folder, "allowing.errors")]);
  const nginx = started(ground.nginxVersion, firstPort + 1, ground.start(ground.forGateways, ground.nginx, ["-c", ground.conf("policies.conf", nginxConf(ground, firstPort + 1, wanted)), "-e", join(ground.folder, "policies.errors")]));
  const file = quick ? undefined : program("caddy");
  const caddy = file === undefined ? undefined : started(`Caddy ${versionOf(file, ["version"], /[\d.]+/)}`, firstPort + 3, ground.start(ground.forGateways, file, ["run", "--config", ground.conf("policies.caddy", caddyConf(ground, firstPort + 3, firstPort + 2, wanted)), "--adapter", "caddyfile"], { GOMAXPROCS: "1" }));
  for (const peer of [ours, nginx, ...(caddy ? [caddy] : [])]) await untilOpen(peer.port, "127.0.0.1", peer.name, ground.errors);
  process.stdout.write(`Node ${process.versions.node}; ${rounds} rounds of ${seconds} s; load average ${loadavg().map((value) => value.toFixed(1)).join(" ")}\n`);

  const rows: string[][] = [];
  const marks: string[] = [];
  let warm = Math.ceil((quick ? 2 : 6) / seconds);
  for (const [i, policy] of wanted.entries()) {
    const sides: { peer: Peer; path: string; us: number[] }[] = [
      { peer: ours, path: "/bare", us: [] },
      { peer: ours, path: slug(i), us: [] },
      ...(policy.nginx === undefined ? [] : [{ peer: nginx, path: "/bare", us: [] }, { peer: nginx, path: slug(i), us: [] }]),
      ...(policy.caddy === undefined || !caddy ? [] : [{ peer: caddy, path: "/bare", us: [] }, { peer: caddy, path: slug(i), us: [] }]),
    ];
    for (let round = -warm; round < rounds; round++) {
      for (let turn = 0; turn < sides.length; turn++) {
        const side = sides[(turn + Math.max(0, round)) % sides.length]!;
        const us = await costOf(ground, policy, side.peer, side.path, seconds);
        if (round >= 0) side.us.push(us);
      }
    }
    warm = 1;
    const code = policy.filters.some(({ type }) => type === "cache") ? 0 : codeOf(policy);
    const figuresOf = (at: number, other?: number[]): Figures => {
      const [bare, own] = [sides[at]!.us, sides[at + 1]!.us];
      return { code, own: median(own), bare: median(bare), added: median(own.map((us, round) => us - bare[round]!)), toNginx: other && median(own.map((us, round) => other[round]! / us)) };
    };
    for (let at = 0; at < sides.length; at += 2) {
      const figures = figuresOf(at, at === 0 && policy.nginx !== undefined ? sides[3]!.us : undefined);
      const { mark } = policy;
      const verdict = at === 0 && mark ? `${mark.what}: ${mark.isMet(figures) ? "met" : "MISSED"}` : "";
      if (verdict !== "") marks.push(`${policy.name}: ${verdict}`);
      rows.push([at === 0 ? policy.name : "", sides[at]!.peer.name, figures.bare.toFixed(1), figures.own.toFixed(1), figures.added.toFixed(1), at === 0 && code > 0 ? code.toFixed(2) : "", (figures.own / figures.bare).toFixed(2), figures.toNginx?.toFixed(2) ?? "", verdict]);
    }
  }
  print(["policy", "gateway", "µs bare", "µs with it", "adds µs", "its code µs", "to bare", "nginx's by ours", "mark"], rows);
  process.stdout.write(`${marks.filter((line) => line.endsWith(": met")).length} of ${marks.length} marks met\n`);
}

async function costOf(ground: Ground, { name, headers = [], body, path = "/" }: Policy, peer: Peer, prefix: string, seconds: number): Promise<number> {
  const script = join(ground.folder, "body.lua");
  if (body !== undefined) writeFileSync(script, `wrk.method = "POST"; wrk.body = [==[${body}]==]`);
  const before = cpuSeconds(peer.pids());
  const [file, args] = ground.loadCommand(ground.wrk, ["-t1", "-c64", "-d60s", ...headers.flatMap((header) => ["-H", header]), ...(body === undefined ? [] : ["-s", script]), `http://127.0.0.1:${peer.port}${prefix}${path}`]);
  const running = promisify(execFile)(file, args, { env: ground.env });
  const timer = setTimeout(() => running.child.kill("SIGINT"), seconds * 1000);
  const { stdout } = await running.finally(() => clearTimeout(timer));
  const used = cpuSeconds(peer.pids()) - before;
  const count = Number(/(\d+) requests in/.exec(stdout)![1]);
  const wrong = /.*(?:Non-2xx|Socket errors).*/.exec(stdout);
  if (wrong) throw new Error(`${peer.name}, ${name}: ${wrong[0].trim()}`);
  return count === 0 ? costOf(ground, { name, headers, ...(body !== undefined && { body }), path, filters: [] }, peer, prefix, seconds * 2) : (used / count) * 1e6;
}

if (import.meta.main) await serve(JSON.parse(process.argv[2]!) as Setup);
