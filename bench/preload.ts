import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { directFeedPort } from "../src/api/network.ts";
import { silentLog } from "../src/base/log.ts";
import { createNetSupervisor } from "../src/proxy/supervisor.ts";
// @ts-expect-error a build tool without types
import { bundlePreload } from "../tools/bundle-preload.mjs";
import { median, print } from "./measure.ts";

/**
 * What does the preload of Node pods cost, and what does it spare? One program with node:http, fetch or sockets, to a Service of one
 * pod: by the pod's own address without a preload, by the ClusterIP with it, and by the ClusterIP without it. CPU of the program alone,
 * and what it waits. Rounds alternate; ratios are medians of each round's own.
 */
const rounds = 25;
const roundMs = 300;
/** Kept connections, but of `net`, which makes one each. */
const loads = [{ by: "http", clients: 1 }, { by: "http", clients: 32 }, { by: "fetch", clients: 1 }, { by: "fetch", clients: 32 }, { by: "net", clients: 1 }];
const address = "127.96.251.80";
const port = 8074;

export async function run(): Promise<void> {
  const preload = (await bundlePreload()) as string;
  const pod = createServer((_, response) => response.end("hello, world\n")).listen(0, "127.0.0.1");
  await once(pod, "listening");
  const own = (pod.address() as AddressInfo).port;
  const dnsIP = "127.96.251.10";
  const net = createNetSupervisor({ network: { mode: "plain", enter: [], gatewayIP: "127.0.0.1", dnsIP, apiServiceIP: "127.96.251.1" }, workers: 1, log: silentLog, private: true });
  await net.start();
  net.publish({ revision: 1, services: [{ namespace: "bench", name: "pod", type: "ClusterIP", clusterIPs: [address], headless: false, publishNotReadyAddresses: false, affinitySeconds: 0, hostnames: [], ports: [{ name: "", protocol: "TCP", port, endpoints: [{ ip: "127.0.0.1", port: own, ready: true, terminating: false }] }] }] });
  const WHERRY_MESH = JSON.stringify({ feed: `${dnsIP}:${directFeedPort}`, services: "127.96.", ip: "127.0.0.1" });
  const start = async (meshed: boolean): Promise<ChildProcess> => {
    const child = fork(join(import.meta.dirname, "preload-client.cjs"), { execArgv: meshed ? ["--require", preload] : [], env: { PATH: process.env["PATH"], ...(meshed && { WHERRY_MESH }) } });
    await once(child, "message");
    return child;
  };
  const ways = [
    { name: "by the pod's address", child: await start(false), url: `http://127.0.0.1:${own}/` },
    { name: "preload", child: await start(true), url: `http://${address}:${port}/` },
    { name: "Service listener", child: await start(false), url: `http://${address}:${port}/` },
  ];
  const rows: string[][] = [];
  for (const { by, clients } of loads) {
    const costs = ways.map(() => [] as number[]);
    const p50 = ways.map(() => [] as number[]);
    const p99 = ways.map(() => [] as number[]);
    // The first two rounds warm the machine code up.
    for (let round = -2; round < rounds; round++) {
      for (const [index, { child, url }] of ways.entries()) {
        child.send({ url, clients, ms: roundMs, by });
        const [{ took, cpuMicros }] = (await once(child, "message")) as [{ took: number[]; cpuMicros: number }];
        if (round < 0) continue;
        took.sort((a, b) => a - b);
        costs[index]!.push(cpuMicros / took.length);
        p50[index]!.push(took[Math.floor(took.length * 0.5)]!);
        p99[index]!.push(took[Math.floor(took.length * 0.99)]!);
      }
    }
    for (const [index, { name }] of ways.entries()) {
      const ratio = median(costs[index]!.map((cost, round) => cost / costs[0]![round]!));
      const later = median(p99[index]!.map((time, round) => time - p99[0]![round]!));
      rows.push([index === 0 ? `${by}, ${clients} at a time` : "", name, median(costs[index]!).toFixed(1), ratio.toFixed(3), median(p50[index]!).toFixed(3), median(p99[index]!).toFixed(3), later.toFixed(3)]);
    }
  }
  print(["requests", "way", "µs CPU of the client each", "ratio", "p50 ms", "p99 ms", "p99 more"], rows);
  for (const { child } of ways) child.disconnect();
  await net.stop(AbortSignal.timeout(2_000));
  pod.closeAllConnections();
  pod.close();
}
