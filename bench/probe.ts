import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import type { NetworkNamespace } from "../src/api/network.ts";
import { silentLog } from "../src/base/log.ts";
import { createNetSupervisor } from "../src/proxy/supervisor.ts";
import { print, spread } from "./measure.ts";

/**
 * How long from a program's answer to a probe until the Service's listener follows? The agent's way (probe result,
 * `setReady`) beside the way over a new snapshot, which is what everything without that short cut would wait for.
 * Mark: median ≤ 5 ms.
 */
export async function run(): Promise<void> {
  const network: NetworkNamespace = { mode: "plain", enter: [], gatewayIP: "127.0.0.1", dnsIP: "127.96.250.10", apiServiceIP: "127.96.250.1" };
  const net = createNetSupervisor({ network, workers: 1, log: silentLog, private: true });
  await net.start();
  let healthy = false;
  let answeredAt = 0;
  const pod = createServer((_request, response) => {
    response.writeHead(healthy ? 200 : 503).end(() => (answeredAt = performance.now()));
  }).listen(0, "127.0.0.1");
  await once(pod, "listening");
  const { port } = pod.address() as { port: number };
  const [ip, servicePort] = ["127.96.250.80", 8070];
  let revision = 0;
  const publish = (ready: boolean) =>
    net.publish({
      revision: ++revision,
      services: [{ namespace: "bench", name: "pod", type: "ClusterIP", clusterIPs: [ip], headless: false, publishNotReadyAddresses: false, affinitySeconds: 0, hostnames: [], ports: [{ name: "", protocol: "TCP", port: servicePort, endpoints: [{ ip: "127.0.0.1", port, ready, terminating: false }] }] }],
    });
  const isOpen = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(servicePort, ip);
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
  const until = async (open: boolean) => {
    while ((await isOpen()) !== open);
    return performance.now();
  };
  const rounds = { open: [] as number[], close: [] as number[], snapshotOpen: [] as number[], snapshotClose: [] as number[] };
  const probeUntil = async (success: boolean) => {
    healthy = success;
    const result = await net.probe({ type: "http", ip: "127.0.0.1", port, timeoutMs: 1_000, scheme: "HTTP", path: "/", headers: [] });
    if (result.success !== success) throw new Error(result.output);
  };
  publish(false);
  for (let round = 0; round < 200; round++) {
    for (const open of [true, false]) {
      await probeUntil(open);
      net.setReady("127.0.0.1", open);
      (open ? rounds.open : rounds.close).push((await until(open)) - answeredAt);
    }
    net.setReady("127.0.0.1", undefined);
    for (const open of [true, false]) {
      await probeUntil(open);
      publish(open);
      (open ? rounds.snapshotOpen : rounds.snapshotClose).push((await until(open)) - answeredAt);
    }
  }
  await net.stop(AbortSignal.timeout(2_000));
  pod.close();
  print(
    ["from the program's answer until the listener", "ms, median (range)"],
    [
      ["opens, by the probe's result", spread(rounds.open, 2)],
      ["opens, by a new snapshot", spread(rounds.snapshotOpen, 2)],
      ["closes, by the probe's result", spread(rounds.close, 2)],
      ["closes, by a new snapshot", spread(rounds.snapshotClose, 2)],
    ],
  );
}
