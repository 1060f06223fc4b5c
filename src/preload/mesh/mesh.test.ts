import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { directFeedPort } from "../../api/network.ts";
import { serviceListenerId } from "../../proxy/mesh/listener-id.ts";
import { eventually, nextAddress, port, snapshot, startSupervisor, type TestSupervisor } from "../../proxy/testing/network.ts";
// @ts-expect-error a build tool without types
import { bundlePreload } from "../../../tools/bundle-preload.mjs";

const preload = (await bundlePreload()) as string;
const folder = mkdtempSync(join(tmpdir(), "wherry-preload-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A program that knows nothing of a mesh. Asked by messages, it answers with what came back, and from which port: an endpoint's own if no hop was between. */
const body = `
const agent = new http.Agent({ keepAlive: true });
const byHttp = (url, headers = {}) => new Promise((resolve, reject) => {
  const request = http.get(url, { agent, headers }, (response) => {
    const { remotePort } = response.socket;
    let text = "";
    response.setEncoding("utf8").on("data", (data) => (text += data)).on("end", () => resolve({ ...JSON.parse(text), remotePort }));
  }).on("error", reject);
  request.end();
});
const byFetch = async (url, headers = {}) => (await fetch(url, { headers })).json();
const bySocket = (url) => new Promise((resolve, reject) => {
  const { hostname, port } = new URL(url);
  const socket = net.connect(Number(port), hostname, () => socket.write("GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n"));
  let text = "", remotePort;
  socket.on("connect", () => (remotePort = socket.remotePort)).on("data", (data) => (text += data)).on("error", reject);
  socket.on("end", () => resolve({ ...JSON.parse(text.slice(text.indexOf("{"), text.lastIndexOf("}") + 1)), remotePort }));
});
const byHttp2 = (url, headers = {}) => new Promise((resolve, reject) => {
  const session = http2.connect(url).on("error", reject);
  const stream = session.request({ ":path": "/", ...headers });
  let text = "";
  stream.setEncoding("utf8").on("data", (data) => (text += data)).on("error", reject).on("end", () => {
    const { remotePort } = session.socket;
    session.close();
    resolve({ ...JSON.parse(text), remotePort });
  });
  stream.end();
});
const ways = { http: byHttp, fetch: byFetch, net: bySocket, http2: byHttp2 };
const server = http.createServer(async (request, response) => {
  const { searchParams } = new URL(request.url, "http://x");
  const headers = searchParams.get("own") ? { traceparent: searchParams.get("own") } : {};
  await new Promise((resolve) => setImmediate(resolve));
  response.end(JSON.stringify(await ways[searchParams.get("by")](searchParams.get("to"), headers)));
});
server.listen(0, "127.0.0.1", () => process.send({ port: server.address().port, listen: http.Agent.prototype.addRequest.length }));
process.on("message", async ({ by, url, times }) => {
  try {
    const answers = [];
    for (let i = 0; i < times; i++) answers.push(await ways[by](url));
    process.send({ answers });
  } catch (error) {
    process.send({ error: String(error.stack) + String(error.cause) });
  }
});
process.on("disconnect", () => process.exit());
`;
const modules = ["http", "http2", "net"];
const forms = {
  "CommonJS": { file: "program.cjs", text: `${modules.map((name) => `const ${name} = require("node:${name}");`).join("\n")}${body}` },
  "ESM": { file: "program.mjs", text: `${modules.map((name) => `import ${name} from "node:${name}";`).join("\n")}${body}` },
};
for (const { file, text } of Object.values(forms)) writeFileSync(join(folder, file), text);

interface Answer {
  name: string;
  host: string;
  traceparent?: string;
  tracestate?: string;
  remotePort: number;
}

/** A pod behind the Services: says who it is and what it was asked with. */
async function backend(name: string, keepsConnections = true): Promise<{ http: http.Server; http2: http2.Http2Server; port: number; port2: number }> {
  const answer = (request: http.IncomingMessage | http2.Http2ServerRequest, response: http.ServerResponse | http2.Http2ServerResponse) => {
    const { host, traceparent, tracestate } = request.headers;
    (response as http.ServerResponse).end(JSON.stringify({ name, host, traceparent, tracestate }));
  };
  const one = http.createServer((request, response) => {
    if (!keepsConnections) response.setHeader("connection", "close");
    answer(request, response);
  });
  const two = http2.createServer(answer);
  await Promise.all([one, two].map((server) => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))));
  return { http: one, http2: two, port: (one.address() as AddressInfo).port, port2: (two.address() as AddressInfo).port };
}

let net: TestSupervisor;
let backends: Awaited<ReturnType<typeof backend>>[];
const webIP = nextAddress();
const webPort = 7000;
let revision = 0;

function publish(chosen: readonly { port: number; port2: number }[]): void {
  net.publish(snapshot(++revision, { namespace: "shop", name: "web", clusterIPs: [webIP], ports: [
    port(webPort, chosen.map(({ port }) => ({ ip: "127.0.0.1", port }))),
    port(7001, chosen.map(({ port2 }) => ({ ip: "127.0.0.1", port: port2 })), { name: "grpc", appProtocol: "grpc" }),
  ] }));
}
before(async () => {
  net = await startSupervisor();
  backends = await Promise.all(["one", "two", "three"].map((name) => backend(name)));
});
after(async () => {
  for (const { http, http2 } of backends) {
    http.closeAllConnections();
    http.close();
    http2.close();
  }
  await net.stop(AbortSignal.timeout(5_000));
});

class Program {
  readonly #child: ChildProcess;
  readonly started: Promise<{ port: number; listen: number }>;
  constructor(node: string, file: string) {
    const { dnsIP } = net.network;
    const low = 53 < Number(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8")) && process.getuid?.() !== 0;
    const settings = { podIP: "127.0.0.1", dns: { address: dnsIP, port: low ? 40_053 : 53 }, searches: ["shop.svc.cluster.local", "svc.cluster.local"], ndots: 5, serviceNetwork: "127.96.", privilegedPortsBelow: 0, privilegedPortOffset: 40_000, hosts: {} };
    this.#child = fork(join(folder, file), {
      execPath: node,
      execArgv: ["--require", preload],
      env: { PATH: process.env["PATH"], WHERRY_POD: JSON.stringify(settings), WHERRY_MESH: JSON.stringify({ feed: `${dnsIP}:${directFeedPort}`, services: "127.96.", ip: "127.0.0.1" }) },
    });
    this.started = this.#next() as Promise<{ port: number; listen: number }>;
  }
  #next(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const ended = (code: unknown, signal: unknown) => reject(new Error(`the program ended: ${code ?? signal}`));
      this.#child.once("exit", ended).once("message", (message) => {
        this.#child.off("exit", ended);
        resolve(message);
      });
    });
  }
  async ask(by: string, url: string, times: number): Promise<Answer[]> {
    const next = this.#next();
    this.#child.send({ by, url, times });
    const { answers, error } = (await next) as { answers?: Answer[]; error?: string };
    if (!answers) throw new Error(error);
    return answers;
  }
  /** Once it has heard of the way. */
  async direct(by: string, url: string): Promise<void> {
    await eventually(async () => {
      const [answer] = await this.ask(by, url, 1);
      return answer!.remotePort !== Number(new URL(url).port);
    }, 30_000);
  }
  end(): Promise<void> {
    if (this.#child.exitCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      this.#child.once("exit", () => resolve());
      this.#child.disconnect();
    });
  }
}

const counts = (answers: readonly Answer[]): Record<string, number> => {
  const found: Record<string, number> = {};
  for (const { name } of answers) found[name] = (found[name] ?? 0) + 1;
  return found;
};
const even = { one: 10, two: 10, three: 10 };
const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const olderNode = "/usr/bin/node";
const runs = [
  { what: `CommonJS, Node ${process.versions.node}`, node: process.execPath, file: forms.CommonJS.file },
  { what: "ESM, the machine's Node", node: existsSync(olderNode) ? olderNode : process.execPath, file: forms.ESM.file },
];
for (const { what, node, file } of runs) {
  test(`calls go to the pods, each in its turn, and keep host and trace (${what})`, { timeout: 120_000 }, async (t) => {
    publish(backends);
    await eventually(() => new Promise((resolve) => http.get(`http://${webIP}:${webPort}/`, { agent: false }, (response) => resolve(response.resume().statusCode === 200)).on("error", () => resolve(false))), 30_000);
    const program = new Program(node, file);
    const { port: own, listen } = await program.started;
    assert.equal(listen, 4, "functions keep their arity");
    try {
      for (const host of [webIP, "web", "web.shop"]) {
        const url = `http://${host}:${webPort}/`;
        await t.test(`http by ${host === webIP ? "address" : host}`, async () => {
          await program.direct("http", url);
          const answers = await program.ask("http", url, 30);
          assert.deepEqual(counts(answers), even);
          assert.deepEqual([...new Set(answers.map(({ host }) => host))], [`${host}:${webPort}`]);
          assert.deepEqual([...new Set(answers.map(({ remotePort }) => remotePort))].toSorted(), backends.map(({ port }) => port).toSorted());
        });
        await t.test(`fetch by ${host === webIP ? "address" : host}`, async () => {
          await program.ask("fetch", url, 1);
          const answers = await program.ask("fetch", url, 30);
          assert.deepEqual(counts(answers), even);
          assert.deepEqual([...new Set(answers.map(({ host }) => host))], [`${host}:${webPort}`]);
        });
      }
      await t.test("net: each connection", async () => {
        const url = `http://web:${webPort}/`;
        await program.direct("net", url);
        assert.deepEqual(counts(await program.ask("net", url, 30)), even);
      });
      await t.test("what the listener balances by the request stays with it", async () => {
        for (const { remotePort } of await program.ask("http2", "http://web:7001/", 6)) assert.equal(remotePort, 7001);
      });
      await t.test("a trace goes on, with a span of its own; one's own stays; it ends with its request", async () => {
        const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
        const through = (by: string, headers: http.OutgoingHttpHeaders, mine = "") => new Promise<Answer>((resolve, reject) => {
          http.get(`http://127.0.0.1:${own}/?by=${by}&own=${mine}&to=${encodeURIComponent(`http://web:${by === "http2" ? 7001 : webPort}/`)}`, { agent, headers }, (response) => {
            let text = "";
            response.setEncoding("utf8").on("data", (data: string) => (text += data)).on("end", () => resolve(JSON.parse(text) as Answer));
          }).on("error", reject);
        });
        for (const by of ["http", "fetch", "http2"]) {
          const answer = await through(by, { traceparent, tracestate: "a=1,b=2" });
          assert.match(answer.traceparent ?? "", /^00-0af7651916cd43dd8448eb211c80319c-(?!b7ad6b7169203331)[0-9a-f]{16}-01$/, by);
          assert.equal(answer.tracestate, "a=1,b=2");
          const mine = "00-11111111111111111111111111111111-2222222222222222-00";
          assert.equal((await through(by, { traceparent }, mine)).traceparent, mine);
          assert.equal((await through(by, {})).traceparent, undefined, "an earlier request of the same connection had one");
          assert.equal((await through(by, { traceparent: traceparent.replace("00-", "ff-") })).traceparent, undefined);
        }
        agent.destroy();
      });
      await t.test("a pod that refuses is answered for by another; who leaves gets nothing", async () => {
        const url = `http://web:${webPort}/`;
        const gone = await backend("gone", false);
        publish([...backends, gone]);
        await eventually(async () => counts(await program.ask("http", url, 8))["gone"] === 2, 30_000);
        gone.http.closeAllConnections();
        await new Promise((resolve) => gone.http.close(resolve));
        gone.http2.close();
        for (const by of ["http", "fetch", "net"]) {
          const answers = await program.ask(by, url, 40);
          assert.equal(counts(answers)["gone"], undefined, by);
          assert.equal(answers.length, 40);
        }
        publish(backends.slice(1));
        await eventually(async () => counts(await program.ask("http", url, 8))["one"] === undefined && counts(await program.ask("fetch", url, 8))["one"] === undefined, 30_000);
        publish(backends);
        await eventually(async () => (await program.ask("http", url, 30)).every(({ remotePort }) => remotePort !== webPort), 30_000);
      });
      await t.test("nobody gets past a route; a killed worker's ways are forgotten", async () => {
        const url = `http://web:${webPort}/`;
        const id = "HTTPRoute/shop/web@services";
        net.publishTraffic({ revision: ++revision, remove: {}, put: {
          upstreams: [{ id: "shop/web/7000", namespace: "shop", service: "web", port: webPort, protocol: "http1" }],
          routes: [{ id, type: "http", createdAt: 1, attachments: [{ listener: serviceListenerId("shop", "web", webPort), hostnames: [""] }], rules: [{ name: "0", matches: [{ path: { type: "prefix", value: "/" } }], filters: [], backends: [{ upstream: "shop/web/7000", weight: 1 }] }] }],
        } });
        await eventually(async () => (await program.ask("http", url, 6)).every(({ remotePort }) => remotePort === webPort), 30_000);
        assert.ok((await program.ask("net", url, 6)).every(({ remotePort }) => remotePort === webPort));
        net.publishTraffic({ revision: ++revision, put: {}, remove: { routes: [id], upstreams: ["shop/web/7000"] } });
        await program.direct("http", url);
        const [pid] = net.pids();
        process.kill(pid!, "SIGKILL");
        await eventually(() => net.pids()[0] !== undefined && net.pids()[0] !== pid, 30_000);
        const answers = await program.ask("http", url, 30);
        assert.equal(answers.length, 30);
        await program.direct("http", url);
      });
    } finally {
      await program.end();
    }
  });
}

test("without a data plane the program runs as ever; who speaks no HTTP/2 does not load it", async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const program = `const http = require("http"); const server = http.createServer((_, response) => response.end("up")).listen(0, "127.0.0.1", () => http.get({ port: server.address().port, host: "127.0.0.1" }, (response) => { response.resume().on("end", () => { process.send(process.moduleLoadList.includes("NativeModule http2") ? "node:http2 is loaded" : "done"); server.close(); process.disconnect(); }); }));`;
  writeFileSync(join(folder, "alone.cjs"), program);
  const child = fork(join(folder, "alone.cjs"), { execArgv: ["--require", preload], env: { PATH: process.env["PATH"], WHERRY_MESH: JSON.stringify({ feed: `${nextAddress()}:${directFeedPort}`, services: "127.96.", ip: "" }) } });
  let said = "";
  child.on("message", (message) => (said = String(message))).on("exit", (code) => resolve(`${said} ${code}`));
  assert.equal(await promise, "done 0");
});
