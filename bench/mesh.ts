import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { silentLog } from "../src/base/log.ts";
import { serviceListenerId } from "../src/proxy/mesh/listener-id.ts";
import { createNetSupervisor } from "../src/proxy/supervisor.ts";
import { cpuSeconds, median, print } from "./measure.ts";

/**
 * What does it cost that a Service listener reads HTTP? CPU of `wherry-net` a request, and the client's p50 and p99, of one worker
 * with three Services before the same pods: one whose connections are passed on unread, one that says that it is HTTP, and one with
 * a route besides. Rounds alternate; ratios are medians of each round's own.
 */
const rounds = 7;
const roundMs = 600;
const request = Buffer.from("GET /users/7 HTTP/1.1\r\nHost: users.shop\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n");
const pods = 2;

/** Answers each request, told by its empty line, with as many bytes. */
function pod(bodyBytes: number): (socket: Socket) => void {
  const answer = Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${bodyBytes}\r\n\r\n${"x".repeat(bodyBytes)}`);
  return (socket) => {
    socket.setNoDelay(true).on("error", () => {}).on("data", (data: Buffer) => {
      for (let at = data.indexOf("\r\n\r\n"); at >= 0; at = data.indexOf("\r\n\r\n", at + 4)) socket.write(answer);
    });
  };
}

/** Requests by so many connections for a while; how long each took. */
async function load(ip: string, port: number, clients: number, fresh: boolean): Promise<number[]> {
  const end = performance.now() + roundMs;
  const took: number[] = [];
  await Promise.all(
    Array.from({ length: clients }, () => {
      return new Promise<void>((done, fail) => {
        const open = () => {
          const socket = connect({ port, host: ip, noDelay: true });
          let since = performance.now();
          let missing = -1;
          let head = "";
          socket.on("error", fail);
          socket.on("data", (data: Buffer) => {
            if (missing < 0) {
              head += data.toString("latin1");
              const body = head.indexOf("\r\n\r\n") + 4;
              if (body < 4) return;
              missing = Number(/content-length: (\d+)/i.exec(head)![1]) - (head.length - body);
            } else {
              missing -= data.length;
            }
            if (missing > 0) return;
            took.push(performance.now() - since);
            missing = -1;
            head = "";
            if (performance.now() >= end) {
              socket.destroy();
              done();
            } else if (fresh) {
              socket.destroy();
              open();
            } else {
              since = performance.now();
              socket.write(request);
            }
          });
          socket.write(request);
        };
        open();
      });
    }),
  );
  return took;
}

const loads = [
  { name: "small answers, 64 kept connections", bodyBytes: 14, clients: 64, fresh: false },
  { name: "small answers, connection after connection, 32 at a time", bodyBytes: 14, clients: 32, fresh: true },
  { name: "100 KB answers, 16 kept connections", bodyBytes: 100_000, clients: 16, fresh: false },
];

export async function run(): Promise<void> {
  const rows: string[][] = [];
  for (const { name, bodyBytes, clients, fresh } of loads) {
    const servers = await Promise.all(
      Array.from({ length: pods }, async () => {
        const server = createServer(pod(bodyBytes)).listen({ port: 0, host: "127.0.0.1", backlog: 1024 });
        await once(server, "listening");
        return server;
      }),
    );
    const net = createNetSupervisor({ network: { mode: "plain", enter: [], gatewayIP: "127.0.0.1", dnsIP: "127.96.250.10", apiServiceIP: "127.96.250.1" }, workers: 1, log: silentLog, private: true });
    await net.start();
    const endpoints = servers.map((server) => ({ ip: "127.0.0.1", port: (server.address() as { port: number }).port, ready: true, terminating: false }));
    const hops = [
      { name: "unread", ip: "127.96.250.80", appProtocol: undefined },
      { name: "HTTP", ip: "127.96.250.81", appProtocol: "http" },
      { name: "HTTP with a route", ip: "127.96.250.82", appProtocol: "http" },
    ];
    const port = 8074;
    net.publish({
      revision: 1,
      services: hops.map(({ ip, appProtocol }, index) => ({ namespace: "bench", name: `hop-${index}`, type: "ClusterIP", clusterIPs: [ip], headless: false, publishNotReadyAddresses: false, affinitySeconds: 0, hostnames: [], ports: [{ name: "", protocol: "TCP", port, ...(appProtocol && { appProtocol }), endpoints }] })),
    });
    net.publishTraffic({
      revision: 1,
      remove: {},
      put: {
        upstreams: [{ id: `bench/hop-2/${port}`, namespace: "bench", service: "hop-2", port, protocol: "http1" }],
        routes: [{ id: "HTTPRoute/bench/hop@services", type: "http", createdAt: 1, attachments: [{ listener: serviceListenerId("bench", "hop-2", port), hostnames: [""] }], rules: [{ name: "0", matches: [{ path: { type: "prefix", value: "/users" } }], filters: [], backends: [{ upstream: `bench/hop-2/${port}`, weight: 1 }] }] }],
      },
    });
    for (const { ip } of hops) await untilAnswers(ip, port);
    const costs = hops.map(() => [] as number[]);
    const times = hops.map(() => [] as number[][]);
    for (let round = -1; round < rounds; round++) {
      for (const [index, { ip }] of hops.entries()) {
        const before = cpuSeconds(net.pids());
        const took = await load(ip, port, clients, fresh);
        // The first round warms the machine code up.
        if (round < 0) continue;
        costs[index]!.push(((cpuSeconds(net.pids()) - before) / took.length) * 1e6);
        times[index]!.push(took.sort((a, b) => a - b));
      }
    }
    for (const [index, hop] of hops.entries()) {
      const ratio = median(costs[index]!.map((cost, round) => cost / costs[0]![round]!));
      const at = (share: number): string => median(times[index]!.map((took) => took[Math.floor(took.length * share)]!)).toFixed(2);
      rows.push([index === 0 ? name : "", hop.name, median(costs[index]!).toFixed(1), ratio.toFixed(2), at(0.5), at(0.99)]);
    }
    await net.stop(AbortSignal.timeout(2_000));
    for (const server of servers) server.close();
  }
  print(["load", "Service port", "µs CPU each", "ratio to unread", "p50 ms", "p99 ms"], rows);
}

async function untilAnswers(ip: string, port: number): Promise<void> {
  for (let i = 0; i < 500; i++) {
    const socket = connect(port, ip);
    const answered = await new Promise<boolean>((resolve) => {
      socket.once("error", () => resolve(false)).once("data", () => resolve(true));
      socket.write(request);
    });
    socket.destroy();
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`nobody answers at ${ip}:${port}`);
}
