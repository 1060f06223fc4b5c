import { openSync, readFileSync, writeSync } from "node:fs";
import { Agent, createServer as createHttpServer, request, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { HttpRoute } from "../src/api/traffic.ts";
import { silentLog } from "../src/base/log.ts";
import { createNetSupervisor } from "../src/proxy/supervisor.ts";

/**
 * The gateways under test that are programs of ours, a process each: `node gateway-process.ts wherry|node PORT TLSPORT UPSTREAM
 * UPSTREAMPORT LOG CERTIFICATE [WORKERS ROUTES]`. Wherry's are the very processes that `wherry up` has.
 */
const [which, portText, tlsPortText, upstreamIp, upstreamPortText, logFile, certificateFile, workersText, routesText] = process.argv.slice(2);
const [port, tlsPort, upstreamPort] = [Number(portText), Number(tlsPortText), Number(upstreamPortText)];
const pem = { certificate: readFileSync(`${certificateFile}.crt`, "utf8"), key: readFileSync(`${certificateFile}.key`, "utf8") };

if (which === "wherry") {
  const network = { mode: "plain" as const, enter: [], gatewayIP: "127.0.0.1", dnsIP: "127.96.1.1", apiServiceIP: "127.96.1.2" };
  const supervisor = createNetSupervisor({ network, workers: Number(workersText), log: silentLog, accessLog: logFile! });
  await supervisor.start();
  const endpoints = [{ ip: upstreamIp!, port: upstreamPort, ready: true, terminating: false }];
  supervisor.publish({
    revision: 1,
    services: [{ namespace: "bench", name: "web", type: "ClusterIP", clusterIPs: [], headless: false, publishNotReadyAddresses: false, affinitySeconds: 0, hostnames: [], ports: [{ name: "", protocol: "TCP", port: 80, endpoints }] }],
  });
  const route = (id: string, hostname: string, path: string): HttpRoute => ({
    id: `HTTPRoute/bench/${id}`,
    createdAt: 0,
    type: "http",
    attachments: ["http", "https"].map((listener) => ({ listener: `bench/gateway/${listener}`, hostnames: [hostname] })),
    rules: [{ name: "0", matches: [{ path: { type: "prefix", value: path } }], filters: [], backends: [{ upstream: "bench/web/80", weight: 1 }] }],
  });
  supervisor.publishTraffic({
    revision: 1,
    put: {
      listeners: [
        { id: "bench/gateway/http", address: "127.0.0.1", port, protocol: "HTTP" },
        { id: "bench/gateway/https", address: "127.0.0.1", port: tlsPort, protocol: "HTTPS", tls: { mode: "terminate", certificates: [pem] } },
      ],
      upstreams: [{ id: "bench/web/80", namespace: "bench", service: "web", port: 80, protocol: "http1" }],
      routes: [route("all", "", "/"), ...Array.from({ length: Number(routesText) }, (_, i) => route(`r${i}`, `host-${i}.example`, `/service-${i}`))],
    },
    remove: {},
  });
  process.once("SIGTERM", () => void supervisor.stop(AbortSignal.timeout(1_000)).then(() => process.exit(0)));
} else {
  // What one writes in an afternoon, with what the others have too: kept connections, forwarded headers, a log.
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 1024 });
  const log = openSync(logFile!, "a");
  let lines = "";
  setInterval(() => {
    if (lines !== "") writeSync(log, lines);
    lines = "";
  }, 100).unref();
  const serve = (scheme: string) => (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const began = performance.now();
    const client = incoming.socket.remoteAddress;
    const headers = { ...incoming.headers, "x-forwarded-for": client, "x-forwarded-proto": scheme, "x-forwarded-host": incoming.headers.host };
    const asked = request({ host: upstreamIp, port: upstreamPort, method: incoming.method, path: incoming.url, headers, agent }, (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(outgoing);
      answer.on("end", () => (lines += `${JSON.stringify({ time: new Date().toISOString(), method: incoming.method, host: incoming.headers.host, path: incoming.url, status: answer.statusCode, ms: performance.now() - began, client })}\n`));
    });
    asked.on("error", () => outgoing.destroy());
    incoming.pipe(asked);
  };
  createHttpServer(serve("http")).listen({ port, host: "127.0.0.1", backlog: 1024 });
  createHttpsServer({ cert: pem.certificate, key: pem.key }, serve("https")).listen({ port: tlsPort, host: "127.0.0.1", backlog: 1024 });
}
