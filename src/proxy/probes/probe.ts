import { isIPv4 } from "node:net";
import type { ProbeRequest, ProbeResult } from "../../api/network.ts";
import { probeTcp } from "./tcp.ts";

/** One probe, from the gateway's address, with kubelet's words. Never rejects. */
export async function probe(request: ProbeRequest): Promise<ProbeResult> {
  // kubelet would ask the node's resolver; a worker has none, and nothing else may stand in for the answer.
  if (!isIPv4(request.ip)) return { success: false, output: `dial tcp: lookup ${request.ip}: no such host` };
  switch (request.type) {
    case "tcp":
      return await probeTcp(request);
    case "http":
      return await (await import("./http.ts")).probeHttp(request);
    case "grpc":
      return await (await import("./grpc.ts")).probeGrpc(request);
  }
}
