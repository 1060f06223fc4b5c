import type { Upstream } from "../../api/traffic.ts";
import { parseDuration } from "../gateway/duration.ts";
import type { Refusal } from "./effect.ts";

export interface BackendConnectionSpec {
  timeout?: { tcp?: { connectTimeout?: string }; http?: { connectionIdleTimeout?: string; maxConnectionDuration?: string } };
  tcpKeepalive?: { idleTime?: string; interval?: string; probes?: number };
  proxyProtocol?: { version: "V1" | "V2" };
}

/** What a BackendTrafficPolicy says of connections to endpoints, whatever is asked over them. */
export function connectionOf(spec: object, refused: Refusal[]): Partial<Upstream> {
  const { timeout, tcpKeepalive, proxyProtocol } = spec as BackendConnectionSpec;
  for (const name of ["interval", "probes"] as const) if (tcpKeepalive?.[name] !== undefined) refused.push({ field: `tcpKeepalive.${name}`, why: "is not honoured: ten probes are sent, a second apart" });
  const { connectionIdleTimeout, maxConnectionDuration } = timeout?.http ?? {};
  return {
    ...(timeout?.tcp?.connectTimeout && { connectMs: parseDuration(timeout.tcp.connectTimeout) }),
    ...(connectionIdleTimeout && { idleMs: parseDuration(connectionIdleTimeout) }),
    ...(maxConnectionDuration && { connectionAgeMs: parseDuration(maxConnectionDuration) }),
    ...(tcpKeepalive && { keepAliveSeconds: Math.max(1, Math.round(parseDuration(tcpKeepalive.idleTime ?? "7200s") / 1000)) }),
    ...(proxyProtocol && { proxyProtocol: proxyProtocol.version === "V1" ? "v1" : "v2" }),
  };
}

/** One connection of HTTP/2 has the requests of many clients. */
export const needsOneClient = "BackendTrafficPolicy: proxyProtocol is not honoured of a Service port that speaks HTTP/2: a connection has the requests of many clients; X-Forwarded-For says whose each is";
