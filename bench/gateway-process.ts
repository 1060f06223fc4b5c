import { openSync, writeSync } from "node:fs";
import { createServer, request, Agent } from "node:http";
import type { HttpRoute } from "../src/api/traffic.ts";
import { bindHandle } from "../src/base/handles.ts";
import { systemRandom } from "../src/base/random.ts";
import { RouteTable } from "../src/policy/route-table.ts";
import { SessionNames } from "../src/policy/session-token.ts";
import { createUpstreamPolicy } from "../src/policy/upstream-policy.ts";
import { HttpPort } from "../src/proxy/edge/http-port.ts";
import { Engine } from "../src/proxy/http/engine.ts";

/** The gateways under test that are programs of ours; a process each: `node gateway-process.ts wherry|node PORT UPSTREAM LOG ROUTES`. */
const [which, portText, upstreamText, logFile, routesText] = process.argv.slice(2);
const [port, upstreamPort] = [Number(portText), Number(upstreamText)];

if (which === "wherry") {
  // Everything that a real one has: routes in the table, policy, limits, counters, access log.
  const log = openSync(logFile!, "a");
  const tools = { random: systemRandom, nowMs: () => performance.now(), setTimer: (ms: number, go: () => void) => ({ cancel: ((timer) => () => clearTimeout(timer))(setTimeout(go, ms).unref()) }) };
  const engine = new Engine({ accessLog: (lines) => void writeSync(log, lines) });
  const policy = createUpstreamPolicy({ id: "bench/web/80", namespace: "bench", service: "web", port: 80, protocol: "http1" }, { ...tools, sessions: new SessionNames("0".repeat(32)) });
  policy.update([{ ip: "127.0.0.1", port: upstreamPort, key: `127.0.0.1:${upstreamPort}` }]);
  engine.putUpstream({ id: "bench/web/80", connectMs: 3_000, idleMs: 60_000 }, policy);
  const routes = new RouteTable(tools);
  const route = (id: string, hostname: string, path: string): HttpRoute => ({
    id: `HTTPRoute/bench/${id}`,
    createdAt: 0,
    type: "http",
    attachments: [{ listener: "bench/gateway/http", hostnames: [hostname] }],
    rules: [{ name: "0", matches: [{ path: { type: "prefix", value: path } }], filters: [], backends: [{ upstream: "bench/web/80", weight: 1 }] }],
  });
  routes.put(route("all", "", "/"));
  for (let i = 0; i < Number(routesText); i++) routes.put(route(`r${i}`, `host-${i}.example`, `/service-${i}`));
  const listener = new HttpPort([{ id: "bench/gateway/http", address: "127.0.0.1", port, protocol: "HTTP" }], routes);
  const bound = bindHandle("127.0.0.1", port);
  if (!bound.handle) throw new Error(bound.code);
  bound.handle.onconnection = (status, client) => {
    if (status === 0) engine.accept(client, listener);
  };
  bound.handle.listen(1024);
} else {
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 1024 });
  createServer((incoming, outgoing) => {
    const headers = { ...incoming.headers, "x-forwarded-for": incoming.socket.remoteAddress };
    const asked = request({ host: "127.0.0.1", port: upstreamPort, method: incoming.method, path: incoming.url, headers, agent }, (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(outgoing);
    });
    asked.on("error", () => outgoing.destroy());
    incoming.pipe(asked);
  }).listen({ port, host: "127.0.0.1", backlog: 1024 });
}
