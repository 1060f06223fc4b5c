import { join } from "node:path";
import { versionOf } from "./gateway-peers.ts";

/** A filter of Envoy's HTTP chain. */
export interface EnvoyFilter {
  name: string;
  typed_config: { "@type": string; [field: string]: unknown };
}

export interface EnvoyListener {
  /** Of loopback. */
  port: number;
  /** A line a request in `folder`/envoy.log. */
  isLogged?: boolean;
  /** Path of the certificate, without ".crt". */
  certificate?: string;
  /** Taken off again; "/" unless said. */
  prefix?: string;
  filters?: readonly EnvoyFilter[];
  /** More of the one route that it has. */
  route?: object;
}

const typed = (type: string, fields: object = {}) => ({ "@type": `type.googleapis.com/envoy.extensions.${type}`, ...fields });
const address = (host: string, port: number) => ({ socket_address: { address: host, port_value: port } });

/** Envoy with these listeners before one cluster: what a chain does not have, a request does not pay for. */
export function envoyConf({ folder, pods, listeners }: { folder: string; pods: readonly { ip: string; port: number }[]; listeners: readonly EnvoyListener[] }): string {
  const many = 8192;
  return JSON.stringify({
    static_resources: {
      listeners: listeners.map(({ port, isLogged, certificate, prefix = "/", filters = [], route }) => ({
        address: address("127.0.0.1", port),
        filter_chains: [{
          ...(certificate !== undefined && { transport_socket: { name: "tls", typed_config: typed("transport_sockets.tls.v3.DownstreamTlsContext", { common_tls_context: { tls_certificates: [{ certificate_chain: { filename: `${certificate}.crt` }, private_key: { filename: `${certificate}.key` } }] } }) } }),
          filters: [{
            name: "http",
            typed_config: typed("filters.network.http_connection_manager.v3.HttpConnectionManager", {
              stat_prefix: `p${port}`,
              use_remote_address: true,
              ...(isLogged && { access_log: [{ name: "file", typed_config: typed("access_loggers.file.v3.FileAccessLog", { path: join(folder, "envoy.log") }) }] }),
              route_config: { virtual_hosts: [{ name: "all", domains: ["*"], routes: [{ match: { prefix }, route: { cluster: "web", ...(prefix !== "/" && { prefix_rewrite: "/" }) }, ...route }] }] },
              http_filters: [...filters, { name: "envoy.filters.http.router", typed_config: typed("filters.http.router.v3.Router") }],
            }),
          }],
        }],
      })),
      clusters: [{ name: "web", type: "STATIC", circuit_breakers: { thresholds: [{ max_connections: many, max_pending_requests: many, max_requests: many }] }, load_assignment: { cluster_name: "web", endpoints: [{ lb_endpoints: pods.map(({ ip, port }) => ({ endpoint: { address: address(ip, port) } })) }] } }],
    },
  });
}

export const envoyArgs = (conf: string, workers: number): string[] => ["--concurrency", String(workers), "--disable-hot-restart", "--log-level", "error", "-c", conf];
export const envoyVersion = (file: string): string => `Envoy ${versionOf(file, ["--version"], /\d+\.\d+\.\d+(?=\/)/)}`;
