import { randomInt } from "../../base/random.ts";
import type { FieldError } from "../../api/field.ts";
import { invalid } from "../../api/field.ts";
import { initFamilies } from "../../api/kinds/core/service/families.ts";
import { fillFromOld, normalizeClusterIPs } from "../../api/kinds/core/service/lifecycle.ts";
import { internalError, invalidError } from "../../api/status.ts";
import type { Service } from "../../api/types.ts";
import type { ApiOptions } from "../api.ts";
import type { AdmissionStep } from "../rest/context.ts";

/** The first 16 bits of every ClusterIP: "10.96.", and in plain mode "127.96.". */
export const defaultServiceNetwork = "10.96.";
// The first addresses are the API's and the DNS's own, asked for by name.
const addressesFrom = 256;
const addressesTo = 65_000;
const nodePorts = { from: 30_000, to: 32_767 };

/**
 * Gives Services their ClusterIP and node ports. What is taken is read off the Services that exist (plus what was
 * promised a moment ago), so a restart needs no ledger. Source: pkg/registry/core/service/storage/alloc.go.
 */
export function serviceAddresses({ store, random, clock, serviceNetwork: network = defaultServiceNetwork }: Pick<ApiOptions, "store" | "random" | "clock" | "serviceNetwork">): AdmissionStep {
  /** Promised to writes that are not visible yet: value → until when. */
  const promised = new Map<string, number>();

  const services = (except?: string) => store.range("/core/services/").map((entry) => entry.object as unknown as Service).filter(({ metadata }) => metadata.uid !== except);
  const isPromised = (key: string) => (promised.get(key) ?? 0) > clock.now();
  const promise = (key: string) => {
    if (promised.size > 1000) for (const [other, until] of promised) if (until <= clock.now()) promised.delete(other);
    promised.set(key, clock.now() + 10_000);
  };

  return {
    name: "ServiceAddresses",
    allocate({ operation, kind, subresource, object, old, dryRun }) {
      if (kind.group !== "" || kind.resource !== "services" || subresource !== undefined || !object || operation === "DELETE") return;
      const service = object as unknown as Service;
      const spec = (service.spec ??= {});
      const before = old as unknown as Service | undefined;
      const others = services(before?.metadata.uid);
      const errors: FieldError[] = [];
      // A replacement that says nothing keeps what it has.
      if (before?.spec) fillFromOld(spec, before.spec);
      normalizeClusterIPs(spec, before?.spec);
      const unfit = initFamilies(spec, before?.spec);
      if (unfit.length > 0) throw invalidError(kind, service.metadata.name ?? "", unfit);
      if (spec.type === "ExternalName") return;
      const taken = new Set(others.flatMap((other) => other.spec?.clusterIPs ?? []));
      if (!spec.clusterIP) spec.clusterIP = freeAddress(taken);
      else if (spec.clusterIP !== "None" && spec.clusterIP !== before?.spec?.clusterIP) {
        if (!spec.clusterIP.startsWith(network)) errors.push(invalid("spec.clusterIPs", spec.clusterIPs ?? [spec.clusterIP], `failed to allocate IP ${spec.clusterIP}: the provided IP (${spec.clusterIP}) is not in the valid range. The range of valid IPs is ${network}0.0/16`));
        else if (taken.has(spec.clusterIP)) errors.push(invalid("spec.clusterIPs", spec.clusterIPs ?? [spec.clusterIP], `failed to allocate IP ${spec.clusterIP}: provided IP is already allocated`));
      }
      spec.clusterIPs = [spec.clusterIP];

      const wantsNodePorts = spec.type === "NodePort" || (spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false);
      const takenPorts = new Set(others.flatMap((other) => (other.spec?.ports ?? []).flatMap(({ nodePort, protocol }) => (nodePort ? [`${protocol}/${nodePort}`] : []))));
      for (const [index, port] of (spec.ports ?? []).entries()) {
        const was = before?.spec?.ports?.find((candidate) => candidate.port === port.port && candidate.protocol === port.protocol)?.nodePort;
        if (!wantsNodePorts) {
          if (spec.type === "ClusterIP" && port.nodePort !== undefined && port.nodePort === was) delete port.nodePort;
          continue;
        }
        port.nodePort ||= was ?? freePort(takenPorts, port.protocol ?? "TCP");
        const key = `${port.protocol}/${port.nodePort}`;
        if (dryRun) {
          takenPorts.add(key);
          continue;
        }
        if (port.nodePort < nodePorts.from || port.nodePort > nodePorts.to) errors.push(invalid(`spec.ports[${index}].nodePort`, port.nodePort, `provided port is not in the valid range. The range of valid ports is ${nodePorts.from}-${nodePorts.to}`));
        else if (takenPorts.has(key)) errors.push(invalid(`spec.ports[${index}].nodePort`, port.nodePort, "provided port is already allocated"));
        takenPorts.add(key);
        promise(key);
      }
      if (errors.length > 0) throw invalidError(kind, service.metadata.name ?? "", errors);
      promise(spec.clusterIP);
    },
    release({ kind, object, operation }) {
      if (kind.group !== "" || kind.resource !== "services" || operation !== "CREATE") return;
      const { spec } = object as unknown as Service;
      if (spec?.clusterIP) promised.delete(spec.clusterIP);
      for (const { protocol, nodePort } of spec?.ports ?? []) if (nodePort) promised.delete(`${protocol}/${nodePort}`);
    },
  };

  function freeAddress(taken: ReadonlySet<string>): string {
    const span = addressesTo - addressesFrom;
    const start = randomInt(random, span);
    for (let offset = 0; offset < span; offset++) {
      const number = addressesFrom + ((start + offset) % span);
      const address = `${network}${number >> 8}.${number & 255}`;
      if ((number & 255) !== 0 && (number & 255) !== 255 && !taken.has(address) && !isPromised(address)) return address;
    }
    throw internalError("failed to allocate a serviceIP: range is full");
  }

  function freePort(taken: ReadonlySet<string>, protocol: string): number {
    const span = nodePorts.to - nodePorts.from + 1;
    const start = randomInt(random, span);
    for (let offset = 0; offset < span; offset++) {
      const port = nodePorts.from + ((start + offset) % span);
      if (!taken.has(`${protocol}/${port}`) && !isPromised(`${protocol}/${port}`)) return port;
    }
    throw internalError("failed to allocate a nodePort: range is full");
  }
}
