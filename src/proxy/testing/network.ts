import { connect, createServer, type Server, type Socket } from "node:net";
import { once } from "node:events";
import type { NetSnapshot, NetworkNamespace, ServicePortSnapshot, ServiceSnapshot } from "../../api/network.ts";
import type { EdgeListener, HttpFilter, Route, Upstream } from "../../api/traffic.ts";
import { silentLog } from "../../base/log.ts";
import { createNetSupervisor, type NetSupervisor, type NetSupervisorOptions } from "../supervisor.ts";

/** Loopback addresses of this test process alone, so that test files may run side by side. */
const block = `127.96.${16 + (process.pid % 200)}`;
let lastHost = 1;
export const nextAddress = (): string => `${block}.${++lastHost}`;

export function plainNetwork(): NetworkNamespace {
  return { mode: "plain", enter: [], gatewayIP: "127.0.0.1", dnsIP: nextAddress(), apiServiceIP: nextAddress() };
}

export type TestSupervisor = NetSupervisor & AsyncDisposable & { network: NetworkNamespace };

export async function startSupervisor(options: Partial<NetSupervisorOptions> = {}): Promise<TestSupervisor> {
  const network = options.network ?? plainNetwork();
  const supervisor = createNetSupervisor({ network, workers: 1, log: silentLog, private: true, ...options });
  await supervisor.start();
  return Object.assign(supervisor, { network, [Symbol.asyncDispose]: () => supervisor.stop(AbortSignal.timeout(5_000)) });
}

/** A snapshot of Services, each with the fields a test cares about. */
export function snapshot(revision: number, ...services: (Partial<ServiceSnapshot> & { name: string })[]): NetSnapshot {
  return {
    revision,
    services: services.map((service) => ({ namespace: "default", type: "ClusterIP", clusterIPs: [], headless: false, publishNotReadyAddresses: false, affinitySeconds: 0, ports: [], hostnames: [], ...service })),
  };
}

export function port(number: number, endpoints: { ip: string; port: number; ready?: boolean; terminating?: boolean }[], rest: Partial<ServicePortSnapshot> = {}): ServicePortSnapshot {
  return { name: "", protocol: "TCP", port: number, endpoints: endpoints.map((endpoint) => ({ ready: true, terminating: false, ...endpoint })), ...rest };
}

/** A Gateway that listens at port 8080 of `address`, and passes everything to a port of Service "default/web". */
export function gatewayTo(address: string, servicePort: number, filters: HttpFilter[] = []): { listeners: EdgeListener[]; upstreams: Upstream[]; routes: Route[] } {
  const upstream = `default/web/${servicePort}`;
  return {
    listeners: [{ id: "l", address, port: 8080, protocol: "HTTP" }],
    upstreams: [{ id: upstream, namespace: "default", service: "web", port: servicePort, protocol: "http1" }],
    routes: [{ id: "HTTPRoute/default/web", type: "http", createdAt: 0, attachments: [{ listener: "l", hostnames: [""] }], rules: [{ name: "", matches: [{ path: { type: "prefix", value: "/" } }], filters, backends: [{ upstream, weight: 1 }] }] }],
  };
}

/** A TCP server on a free port; `serve` gets each connection. */
export async function listen(serve: (socket: Socket) => void, ip = "127.0.0.1"): Promise<Server & AsyncDisposable & { port: number }> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
    serve(socket);
  });
  server.listen(0, ip);
  await once(server, "listening");
  return Object.assign(server, {
    port: (server.address() as { port: number }).port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

/** Connects, sends, and returns everything until the end; rejects with the error's code. */
export function exchange(ip: string, port: number, text = ""): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(port, ip)
      .setEncoding("utf8")
      .on("data", (chunk: string) => (answer += chunk))
      .on("error", (error: NodeJS.ErrnoException) => reject(new Error(error.code)))
      .on("end", () => resolve(answer))
      .on("close", () => reject(new Error("closed")));
    socket.end(text);
  });
}

/** Resolves as soon as `attempt` gives a truthy value; gives up loudly. */
export async function eventually<T>(attempt: () => Promise<T> | T, timeoutMs = 5_000): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      const value = await attempt();
      if (value) return value;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    if (performance.now() > deadline) throw new Error("did not come true in time");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
