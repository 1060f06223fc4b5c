import assert from "node:assert/strict";
import { once } from "node:events";
import { globSync, readFileSync } from "node:fs";
import { connect as connectHttp2, type ClientHttp2Stream, type OutgoingHttpHeaders } from "node:http2";
import { connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { connect as connectTls } from "node:tls";
import type { EdgeListener, HttpFilter, HttpRoute, Upstream } from "../../api/traffic.ts";
import { bindHandle } from "../../base/handles.ts";
import { silentLog } from "../../base/log.ts";
import { systemRandom } from "../../base/random.ts";
import { flags } from "../../policy/flags.ts";
import { dial } from "../dial.ts";
import { Engine } from "../http/engine.ts";
import { certificateFor } from "../http/testing/certificates.ts";
import { ServiceTable } from "../service-table.ts";
import { Connections } from "../tcp-service.ts";
import { port, snapshot } from "../testing/network.ts";
import { until } from "../http/testing/gateway.ts";
import { Edge } from "./edge.ts";

/**
 * Each place where the gateway answers by itself, or ends an answer, says why: a flag and a reason in the access log. The sources are
 * searched for such places: a new one needs a line here that makes it speak.
 */
interface Line {
  status: number;
  flag?: string;
  reason?: string;
}
interface World {
  edge: Edge;
  port: number;
  lines: Line[];
  /** Sockets of the program, which waits until somebody answers on them. */
  asked: Socket[];
  programPort: number;
  open(): Promise<Socket>;
  /** Sends, and reads until the connection ends or this is in what came. */
  ask(request: string, enough?: string): Promise<string>;
  call(headers: OutgoingHttpHeaders, body?: boolean): ClientHttp2Stream;
  expire(): void;
}
interface Setup {
  listener?: Partial<EdgeListener>;
  filters?: HttpFilter[];
  rule?: Partial<HttpRoute["rules"][number]>;
  upstream?: Partial<Upstream>;
  hostnames?: string[];
  noEndpoint?: boolean;
  endpointPort?: number;
}

async function run(setup: Setup, provoke: (world: World) => Promise<unknown>): Promise<Line[]> {
  const asked: Socket[] = [];
  const sockets: { destroy(): void }[] = [];
  const program = createServer((socket) => {
    sockets.push(socket.on("error", () => {}));
    socket.on("data", () => asked.push(socket));
  }).listen(0, "127.0.0.1");
  await once(program, "listening");
  const programPort = (program.address() as { port: number }).port;
  const lines: Line[] = [];
  const engine = new Engine({ accessLog: (text) => lines.push(...text.toString().trim().split("\n").map((line) => JSON.parse(line) as Line)) });
  const bound = bindHandle("127.0.0.1", 0);
  const { handle } = bound;
  if (!handle) throw new Error(bound.code);
  const table = new ServiceTable(snapshot(1, { name: "web", clusterIPs: [], ports: [port(80, setup.noEndpoint ? [] : [{ ip: "127.0.0.1", port: setup.endpointPort ?? programPort }])] }), systemRandom);
  const edge = new Edge(
    { table, dial, connections: new Connections(10, dial), random: systemRandom, log: silentLog, engine },
    {
      revision: 1,
      listeners: [{ id: "l", address: "127.0.0.1", port: bound.port, protocol: "HTTP", ...setup.listener }],
      upstreams: [{ id: "default/web/80", namespace: "default", service: "web", port: 80, protocol: "http1", ...setup.upstream }],
      routes: [{ id: "HTTPRoute/default/web", type: "http", createdAt: 0, attachments: [{ listener: "l", hostnames: setup.hostnames ?? [""] }], rules: [{ name: "", matches: [{ path: { type: "prefix", value: "/" } }], filters: setup.filters ?? [], backends: [{ upstream: "default/web/80", weight: 1 }], ...setup.rule }] }],
    },
  );
  handle.onconnection = (status, client) => void (status === 0 && edge.accept(client, "127.0.0.1", bound.port));
  handle.listen(16);
  const open = async (): Promise<Socket> => {
    const socket = connect(bound.port, "127.0.0.1");
    sockets.push(socket.on("error", () => {}));
    await once(socket, "connect");
    return socket;
  };
  try {
    await provoke({
      edge,
      port: bound.port,
      lines,
      asked,
      programPort,
      open,
      async ask(request, enough) {
        const socket = await open();
        socket.write(request);
        return await readUntil(socket, enough);
      },
      call(headers, body = false) {
        const session = connectHttp2(`http://127.0.0.1:${bound.port}`);
        sockets.push(session.on("error", () => {}));
        return session.request({ ":path": "/", ":authority": "a", ...headers }, { endStream: !body }).on("error", () => {});
      },
      expire: () => engine.sweeper.tick(performance.now() + 1e9),
    });
  } finally {
    for (const socket of sockets) socket.destroy();
    edge.close();
    await until(() => engine.counters.requestsRunning === 0);
    edge.close();
    handle.close();
    await new Promise((resolve) => program.close(resolve));
  }
  return lines;
}
async function readUntil(socket: Socket, enough = "\r\n\r\n"): Promise<string> {
  let came = "";
  for await (const data of socket) if ((came += String(data)).includes(enough)) break;
  return came;
}

const get = (path = "/", more = ""): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
const askGet = (world: World) => world.ask(get());
const post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
/** Asks, and when the program has the request, this happens. */
const whenAsked = (then: (world: World, client: Socket) => unknown, request = get()) => async (world: World) => {
  const client = await world.open();
  client.write(request);
  await until(() => world.asked.length > 0);
  await then(world, client);
};
const answerThen = (text: string, then: (socket: Socket) => void = () => {}) => whenAsked(async ({ asked: [socket], edge }) => (socket!.write(text), then(socket!), await ended(edge)));
const ended = ({ engine }: Edge): Promise<void> => until(() => engine.counters.requestsRunning === 0);
const tls = certificateFor(["a.example", "b.example"]);
const secured = (host: string) => async ({ port: number, edge }: World) => {
  edge.apply({ revision: 2, put: { listeners: ["a", "b"].map((name) => ({ id: name, address: "127.0.0.1", port: number, protocol: "HTTPS" as const, hostname: `${name}.example`, tls: { mode: "terminate" as const, certificates: [{ certificate: tls.cert, key: tls.key }] } })) }, remove: { listeners: ["l"] } });
  const socket = connectTls({ port: number, host: "127.0.0.1", servername: "a.example", rejectUnauthorized: false });
  await once(socket, "secureConnect");
  socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  await once(socket, "data");
  socket.destroy();
};
const listening = { requests: 1, periodMs: 60_000, burst: 0, by: "route" } as const;
const nobody = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port: number } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return number;
};
const twice = async (world: World) => {
  await whenAsked(() => {})(world);
  await askGet(world);
};
const failFirst = async (world: World) => {
  const client = await world.open();
  client.write(get());
  await until(() => world.asked.length > 0);
  world.asked[0]!.write("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
  await readUntil(client);
  await askGet(world);
};
const headBegun = async (world: World) => {
  const client = await world.open();
  client.write("GET / HT");
  // It has come when another's request has been answered.
  await world.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
  world.expire();
  await readUntil(client);
};
const takesNothing = async (world: World, stream: Socket | ClientHttp2Stream) => {
  await until(() => world.asked.length > 0);
  const [socket] = world.asked;
  socket!.write("HTTP/1.1 200 OK\r\n\r\n");
  const piece = Buffer.alloc(1024 * 1024);
  for (let i = 0; i < 64; i++) socket!.write(piece);
  stream.pause();
  // When nothing more goes, all buffers on the way are full.
  for (let before = -1; before !== socket!.bytesWritten - socket!.writableLength; ) {
    before = socket!.bytesWritten - socket!.writableLength;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  world.expire();
};

/** FILE FLAG, below `src`; how often it stands there; what sets up and provokes; what the reasons are. */
const places: [place: string, ...lines: [setup: Setup, provoke: (world: World) => Promise<unknown>, reason: RegExp, flag?: string][]][] = [
  ["policy/filters/body-limit.ts BL", [{ filters: [{ type: "bodyLimit", bytes: 4 }] }, (world) => world.ask(post), /larger than 4 bytes/]],
  [
    "policy/filters/cache.ts CH CH UT UT",
    [{ filters: [{ type: "cache" }] }, async (world) => (await whenAsked(({ asked: [socket], edge }) => (socket!.write("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 0\r\n\r\n"), ended(edge)))(world), await askGet(world)), /^kept$/, "CH"],
    [{ filters: [{ type: "cache" }] }, (world) => world.ask(get("/", "Cache-Control: only-if-cached\r\n")), /only what is kept/, "UT"],
    [{ filters: [{ type: "cache" }] }, async (world) => (await whenAsked(({ asked: [socket], edge }) => (socket!.write("HTTP/1.1 200 OK\r\nCache-Control: no-cache\r\nETag: \"1\"\r\nContent-Length: 0\r\n\r\n"), ended(edge)))(world), await world.ask(get("/", "Cache-Control: only-if-cached\r\n"))), /too old/, "UT"],
  ],
  [
    "policy/filters/admission.ts AC",
    // So steep that chance has no part in it.
    [{ filters: [{ type: "admission", windowMs: 30_000, successPercent: 100, aggression: 1e12, minPerSecond: 0, rejectionPercentMax: 100 }] }, async (world) => (await answerThen("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")(world), await askGet(world)), /^0 of 1 requests succeeded/],
  ],
  ["policy/filters/concurrency.ts CL", [{ filters: [{ type: "concurrency", max: 1, by: "route" }] }, twice, /^1 requests at once/]],
  ["policy/filters/cors.ts DR", [{ filters: [{ type: "cors", origins: ["*"], methods: ["GET"], headers: [], exposeHeaders: [], maxAgeSeconds: 1, credentials: false }] }, (world) => world.ask("OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: http://x\r\nAccess-Control-Request-Method: GET\r\n\r\n"), /^CORS preflight/]],
  ["policy/filters/fault.ts FI", [{ filters: [{ type: "fault", abort: { status: 418, perMillion: 1_000_000 } }] }, askGet, /^fault injected/]],
  ["policy/filters/rate-limit.ts RL", [{ filters: [{ type: "rateLimit", ...listening }] }, twice, /^rate limit/]],
  ["policy/filters/redirect.ts DR", [{ filters: [{ type: "redirect", scheme: "https", status: 301 }] }, askGet, /^redirected to/]],
  ["policy/filters/respond.ts DR DR", [{ filters: [{ type: "respond", status: 200, body: "hi" }] }, askGet, /^fixed answer/], [{ filters: [{ type: "respond", status: 200, headers: [{ name: "etag", value: '"1"' }], body: "hi" }] }, (world) => world.ask(get("/", 'If-None-Match: "1"\r\n')), /^fixed answer/]],
  ["policy/filters/rewrite.ts DPE", [{ filters: [{ type: "rewrite", hostnameFrom: { header: "x-host" } }] }, (world) => world.ask(get("/", "X-Host: a/b\r\n")), /is no host name/]],
  ["policy/filters/upgrades.ts AD", [{ filters: [{ type: "upgrades", protocols: [] }] }, (world) => world.ask(get("/", "Connection: upgrade\r\nUpgrade: websocket\r\n")), /upgraded to websocket/]],
  ["policy/grpc-web.ts DPE", [{ listener: { manners: { grpcWeb: true } } }, (world) => world.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web-text\r\nContent-Length: 3\r\n\r\n***"), /is not base64/]],
  ["policy/filters/source-ranges.ts AD", [{ filters: [{ type: "sourceRanges", allow: ["10.0.0.0/8"] }] }, askGet, /^access denied to 127\.0\.0\.1/]],
  [
    "policy/rule.ts NC NC NC",
    [{ rule: { backends: [] } }, askGet, /no backend/],
    [{ rule: { backends: [{ upstream: "default/web/80", weight: 0 }] } }, askGet, /weight 0/],
    [{ rule: { backends: [{ error: { status: 500, reason: "no such Service" }, weight: 1 }] } }, askGet, /no such Service/],
  ],
  [
    "policy/upstream-policy.ts NC UH UH UO UO UO UO",
    [{ upstream: { error: { status: 502, reason: "no authority" } } }, askGet, /no authority/, "NC"],
    [{ noEndpoint: true }, askGet, /has no endpoint$/, "UH"],
    [{ upstream: { breaker: { requestsMax: 1 } } }, twice, /1 requests under way/, "UO"],
    [{ upstream: { breaker: { circuit: { consecutiveFailures: 1, openMs: 60_000 } } } }, failFirst, /circuit is open/, "UO"],
    // A further try that may not be made: what it would have been made for is told.
    [{ upstream: { breaker: { retriesMax: 0 } }, rule: { retry: { attempts: 2, backoffMs: 0, statuses: [], on: ["connect"] } }, endpointPort: -1 }, askGet, /does not accept connections/, "UF"],
    [{ upstream: { retryBudget: { percent: 0, minPerSecond: 0 } }, rule: { retry: { attempts: 2, backoffMs: 0, statuses: [], on: ["connect"] } }, endpointPort: -1 }, askGet, /does not accept connections/, "UF"],
  ],
  [
    "proxy/edge/http-port.ts NC NR NR",
    [{ listener: { refusal: "a policy: spec.x is not honoured" } }, askGet, /^a policy/, "NC"],
    [{ listener: { hostname: "b.example" } }, askGet, /no listener has this host name/, "NR"],
    [{ hostnames: ["b.example"] }, askGet, /no route has this host name/, "NR"],
    [{ rule: { matches: [{ path: { type: "exact", value: "/x" } }] } }, askGet, /no route matches/, "NR"],
  ],
  ["proxy/edge/https-listener.ts MD NR", [{}, secured("b.example"), /another listener's/, "MD"], [{}, secured("c.example"), /no listener has this host name/, "NR"]],
  [
    "proxy/http/client-connection.ts DC DC DC DPE DPE SI SI SI UT",
    [{}, whenAsked(({ edge }, client) => (client.end(), ended(edge))), /closed its connection/, "DC"],
    [{}, whenAsked(({ edge }, client) => (client.resetAndDestroy(), ended(edge))), /connection broke/, "DC"],
    [{}, whenAsked(({ edge }) => edge.close()), /the gateway stops/, "DC"],
    [{}, (world) => world.ask("GET / HTTP/9\r\n\r\n"), /not HTTP\/1/, "DPE"],
    [{}, (world) => world.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx"), /chunk/, "DPE"],
    [{}, async (world) => takesNothing(world, await world.open().then((client) => (client.write(get()), client))), /does not take the answer/, "SI"],
    [{}, whenAsked(async (world, client) => (world.expire(), await readUntil(client)), post), /body came too slowly/, "SI"],
    [{}, headBegun, /head came too slowly/, "SI"],
    [{}, whenAsked(async (world, client) => (world.expire(), await readUntil(client))), /nothing came from the upstream/, "UT"],
  ],
  [
    // OM: http/answer-path.test.ts, where a filter reads whole bodies. DC: http/engine.test.ts.
    "proxy/http/exchange.ts BL DC NC OM OM SI UC UC UF UO UPE UPE UPE URX UT UT UT",
    [{ listener: { limits: { receiveMs: 1 } } }, (world) => world.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe"), /not received within 1 ms/, "SI"],
    [{ listener: { limits: { bodyBytesMax: 4 } } }, (world) => world.ask(post), /larger than 4 bytes/, "BL"],
    [{}, async (world) => (world.edge.engine.removeUpstream("default/web/80"), await askGet(world)), /leads to no upstream/, "NC"],
    [{}, answerThen("", (socket) => socket.destroy()), /before an answer/, "UC"],
    [{}, answerThen("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", (socket) => socket.destroy()), /within its answer/, "UC"],
    [{ endpointPort: -1 }, askGet, /does not accept connections/, "UF"],
    [{ upstream: { breaker: { connectionsMax: 0, pendingMax: 0 } } }, askGet, /waiting for a connection/, "UO"],
    [{}, answerThen("SSH-2.0\r\n"), /status line/, "UPE"],
    [{}, answerThen("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1_000)), /interim answers/, "UPE"],
    [{}, answerThen("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx"), /chunk/, "UPE"],
    [{ rule: { timeouts: { backendMs: 5 } } }, askGet, /did not answer within 5 ms/, "UT"],
    [{ rule: { timeouts: { requestMs: 5 } } }, askGet, /no answer within 5 ms/, "UT"],
    [{ rule: { timeouts: { requestMs: 300 } } }, answerThen("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), /did not end within 300 ms/, "UT"],
    // Thrown away for another try, which finds nobody.
    [
      { rule: { retry: { attempts: 1, backoffMs: 0, statuses: [503] } } },
      whenAsked(async ({ asked: [socket], edge }, client) => {
        const table = edge.engine.pool("default/web/80")!;
        table.policy.update([]);
        socket!.write("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
        await readUntil(client);
      }),
      /answered 503/,
      "URX",
    ],
  ],
  [
    "proxy/http/http2.ts DC DPE SI SI UT",
    [{}, async (world) => ((await until2(world, world.call({}))).close(8), await ended(world.edge)), /reset its stream/, "DC"],
    [{}, async (world) => await once(world.call({ ":path": "/../x" }), "response"), /no normal form/, "DPE"],
    [{}, async (world) => takesNothing(world, world.call({})), /does not take the answer/, "SI"],
    [{}, async (world) => await expired(world, world.call({ ":method": "POST" }, true)), /body came too slowly/, "SI"],
    [{}, async (world) => await expired(world, world.call({})), /nothing came from the upstream/, "UT"],
  ],
  [
    "proxy/http/manners.ts AD DPE DPE DR DR UH",
    [{ listener: { manners: { client: { type: "header", name: "x-client", required: true } } } }, askGet, /address is not said/, "AD"],
    [{ listener: { manners: { underscores: "refuse" } } }, (world) => world.ask(get("/", "A_B: c\r\n")), /underscore/, "DPE"],
    [{ listener: { manners: { escapedSlashes: "refuse" } } }, (world) => world.ask(get("/a%2Fb")), /encoded slash/, "DPE"],
    [{ listener: { manners: { escapedSlashes: "redirect" } } }, (world) => world.ask(get("/a%2Fb")), /encoded slash/, "DR"],
    [{ listener: { manners: { healthPath: "/" } } }, askGet, /listener's health/, "DR"],
    [
      { listener: { manners: { healthPath: "/health" } } },
      async (world) => {
        const client = await world.open();
        client.write("GET /health HT");
        // It has come when another's request has been answered.
        await world.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
        const signal = new AbortController();
        void world.edge.engine.drain(signal.signal);
        client.write("TP/1.1\r\nHost: a\r\n\r\n");
        await readUntil(client);
        signal.abort();
      },
      /the worker ends/,
      "UH",
    ],
  ],
  [
    "proxy/http/own-answer.ts DR DR DR LD MD",
    [{}, (world) => world.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), /asks the gateway/, "DR"],
    [{}, (world) => world.ask("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"), /Max-Forwards/, "DR"],
    [{}, (world) => world.ask("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"), /TRACE/, "DR"],
    [{}, (world) => world.ask(get("/", "Via: 1.1 wherry\r\n".repeat(10))), /10 times/, "LD"],
    [{}, (world) => world.ask(get("https://a/")), /https/, "MD"],
  ],
];
async function until2(world: World, stream: ClientHttp2Stream): Promise<ClientHttp2Stream> {
  await until(() => world.asked.length > 0);
  return stream;
}
async function expired(world: World, stream: ClientHttp2Stream): Promise<void> {
  const response = once(stream, "response");
  await until2(world, stream);
  world.expire();
  await response;
}
/** The front door has no log, and its answers say what is wrong in their body. */
const withoutLog = ["proxy/front-door.ts NR", "proxy/service-policy.ts UH", "proxy/service-routed.ts UH"];
/** A compressor fails when there is no memory for it, and else never. */
const unprovoked = ["policy/filters/compress.ts UPE"];
/** Whoever guards pods: each of these, in the log, in test/conformance/mesh/authorisation.txt and in mesh/mutual-tls.txt. */
const guarding = ["proxy/mesh/judge.ts JWT NI NI PD PD", "proxy/mesh/tls-door.ts NI"];

/** Who asks, how much, and what is in it: each answer is a line of policy/cases, and is given for real in http/{jwt,ext-auth,oidc,content-filters}.test.ts. */
const byCases = [
  "policy/filters/api-key.ts NA",
  "policy/filters/authorise.ts PD",
  "policy/filters/authorizer.ts UAEX",
  "policy/filters/basic.ts NA",
  "policy/filters/csrf.ts XO",
  "policy/filters/ext-auth.ts UAEX UAEX UAEX",
  "policy/filters/jwt.ts JWT",
  // By its own test.
  "policy/filters/bandwidth.ts OM",
  // By proxy/product/cases/documents, for real.
  "policy/filters/mock.ts DR TF TF",
  "policy/filters/request-parameters.ts TF TF",
  "policy/filters/oidc.ts DR DR OIDC OIDC OIDC OIDC OIDC OIDC OIDC",
  "policy/filters/plans.ts OM PD RL",
  "policy/filters/quota.ts OM RL",
  "policy/filters/request-rules.ts RB",
  "policy/filters/request-template.ts TF TF TF TF",
  "policy/filters/response-template.ts OM TF TF TF TF TF",
  "policy/filters/validate.ts RV RV RV",
];

test("every place where the gateway answers by itself is known here, and every flag is somebody's", () => {
  const root = new URL("../../", import.meta.url).pathname;
  const found = new Map<string, string[]>();
  for (const file of globSync("{proxy,policy}/**/*.ts", { cwd: root })) {
    // The last ones name flags of others.
    if (/\.test\.ts$|\/testing\/|policy\/(flags|retry|local-answer)\.ts$|\/(gateway-responses|any-of)\.ts$/.test(file)) continue;
    const names = [...readFileSync(`${root}${file}`, "utf8").matchAll(/"([A-Z]{2,4})"/g)].map(([, name]) => name!).filter((name) => Object.hasOwn(flags, name));
    if (names.length > 0) found.set(file, names.sort());
  }
  assert.deepEqual([...found].map(([file, names]) => [file, ...names].join(" ")).sort(), [...places.map(([place]) => place), ...withoutLog, ...byCases, ...guarding, ...unprovoked].sort(), "a new place needs a line in this file");
  const used = new Set([...found.values()].flat());
  assert.deepEqual(Object.keys(flags).filter((flag) => !used.has(flag)), []);
});

test("whatever answers a client goes by one of these", () => {
  const root = new URL("../http/", import.meta.url).pathname;
  const writers = globSync("*.ts", { cwd: root }).filter((file) => !file.endsWith(".test.ts")).flatMap((file) => [...readFileSync(`${root}${file}`, "utf8").matchAll(/composeLocal\(|\.writeHead\((\w+\.?\w*)/g)].map(([text, what]) => `${file} ${what ?? text}`));
  assert.deepEqual(writers.sort(), ["client-connection.ts composeLocal(", "client-connection.ts composeLocal(", "compose.ts composeLocal(", "http2.ts 200", "http2.ts answer.status", "http2.ts head.status", "http2.ts status", "http2.ts status"]);
});

for (const [place, ...lines] of places) {
  const [file, ...names] = place.split(" ");
  for (const [setup, provoke, reason, flag = names[0]!] of lines) {
    test(`${file}: ${flag}, ${reason.source}`, { timeout: 30_000 }, async () => {
      const spoken = await run({ ...setup, ...(setup.endpointPort === -1 && { endpointPort: await nobody() }) }, provoke);
      assert.ok(spoken.some((line) => line.flag === flag && reason.test(line.reason ?? "")), JSON.stringify(spoken));
    });
  }
}
