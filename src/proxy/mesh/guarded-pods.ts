import type { Guard } from "../../api/guard.ts";
import type { GuardedPod, NetSnapshot, PodIdentity } from "../../api/network.ts";
import { isFor, keepsOff } from "./guards.ts";

/** From here on ports are a pod's own connections', unless a Service says that one is listened at. */
const ephemeralFrom = 32_768;

/** Whom nobody may reach past those who ask who calls, by address. */
export function guardedPods(guards: readonly Guard[], pods: ReadonlyMap<string, PodIdentity>, { services }: NetSnapshot): GuardedPod[] {
  const keeping = guards.filter(keepsOff);
  const guarded = [...pods].filter(([, pod]) => keeping.some((guard) => isFor(guard, pod))).map(([ip]) => ip);
  if (guarded.length === 0) return [];
  const ports = new Map(guarded.map((ip): [string, Set<number>] => [ip, new Set()]));
  for (const { protocol, endpoints } of services.flatMap((service) => service.ports)) {
    if (protocol === "TCP") for (const { ip, port } of endpoints) if (port >= ephemeralFrom) ports.get(ip)?.add(port);
  }
  return [...ports].map(([ip, numbers]): GuardedPod => ({ ip, ports: [...numbers].sort((a, b) => a - b) })).sort((a, b) => (a.ip < b.ip ? -1 : 1));
}
