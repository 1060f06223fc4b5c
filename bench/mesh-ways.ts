import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { envoyArgs, envoyConf, envoyVersion } from "./envoy.ts";
import { common, type Ground, program, startGround, temporary, untilOpen, versionOf } from "./gateway-peers.ts";
import { directFeedPort } from "../src/base/direct-feed-port.ts";
import { family } from "./measure.ts";
import type { MeshService, MeshSetup } from "./mesh-process.ts";

/** A way to the same two pods. */
export interface Way {
  key: "direct" | "unread" | "http" | "route" | "judged" | "nginx" | "nginx-log" | "haproxy" | "envoy" | "envoy-log" | "before";
  name: string;
  ip: string;
  port: number;
  /** Whose processor time is the hop's; none has none. */
  pids(): number[];
}

export interface Ways extends AsyncDisposable {
  ground: Ground;
  ways: Way[];
  /** What a Node program of a pod is told by its environment. */
  mesh: { feed: string; services: string; ip: string };
}

/** Addresses of a cluster's Services; they are this network's own, and calls to them come from the client's address. */
const serviceNet = "10.96.0.0/16";
const dnsIP = "10.96.0.10";
const guardedDnsIP = "10.96.1.10";
const beforeDnsIP = "10.96.2.10";
const port = 8074;

/**
 * What stands beside the listener is one nginx, one HAProxy and one Envoy before the same pods, as a sidecar would: kept connections, the
 * Host and all fields as they came, no log, nothing counted, so as cheap as they can be had; and nginx as it logs by default, for
 * a Service whose requests are logged because it has a route.
 */
export async function startWays(): Promise<Ways> {
  const ground = await startGround(1);
  try {
    const { folder, conf, start, forGateways, nginx, nginxVersion, upstream, errors } = ground;
    const pods = [0, 1].map((more) => ({ ip: upstream.address, port: upstream.port + more }));
    const clientIP = upstream.address.replace(/\d+$/, "1");
    // Connection after connection would have no port left after some rounds.
    writeFileSync("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535");
    execFileSync(program("ip")!, ["route", "add", "local", serviceNet, "dev", "lo", "src", clientIP]);
    const ways: Way[] = [{ key: "direct", name: "direct", ip: upstream.address, port: upstream.port, pids: () => [] }];
    const clusterOf = (dns: string, from: string, services: (Pick<Way, "key" | "name"> & Omit<MeshService, "name" | "ip" | "port">)[]): void => {
      const setup: MeshSetup = { dnsIP: dns, gatewayIP: clientIP, clientIP, accessLog: join(folder, `${dns}.log`), pods, services: services.map((service, index) => ({ ...service, name: service.key, ip: dns.replace(/\d+$/, String(80 + index)), port })) };
      const child = start(forGateways, process.execPath, [join(from, "mesh-process.ts"), JSON.stringify(setup)]);
      // Whatever else `wherry` does is done in its other processes: what carries requests is below this one.
      const pids = () => family(child.pid!).slice(1);
      for (const [index, { key, name }] of services.entries()) ways.push({ key, name, ip: setup.services[index]!.ip, port, pids });
    };
    // As most clusters are, without any policy; and one with routes and policies.
    clusterOf(dnsIP, import.meta.dirname, [
      { key: "unread", name: "listener, passed on unread", appProtocol: "tcp" },
      { key: "http", name: "listener, HTTP", appProtocol: "http" },
    ]);
    clusterOf(guardedDnsIP, import.meta.dirname, [
      { key: "route", name: "listener, HTTP with a route, logged", appProtocol: "http", hasRoute: true },
      { key: "judged", name: "listener, HTTP, each request judged", appProtocol: "http", isJudged: true },
    ]);
    // Another state of the project, in turn with this one: what has a change brought?
    const before = process.env["BENCH_BEFORE"];
    if (before) clusterOf(beforeDnsIP, join(before, "bench"), [{ key: "before", name: "listener, HTTP, before", appProtocol: "http" }]);
    let hopPort = 18_191;
    const hop = (key: Way["key"], name: string, begin: (at: number) => { pid?: number | undefined }): void => {
      const at = hopPort++;
      const child = begin(at);
      ways.push({ key, name, ip: "127.0.0.1", port: at, pids: () => family(child.pid!) });
    };
    const nginxWith = (name: string, log: string) => (at: number) => start(forGateways, nginx, ["-c", conf(`${name}.conf`, nginxConf(folder, name, at, log, pods)), "-e", join(folder, `${name}.errors`)]);
    hop("nginx", nginxVersion, nginxWith("nginx", "off"));
    hop("nginx-log", `${nginxVersion}, logging`, nginxWith("nginx-log", `${folder}/nginx.log`));
    const haproxy = program("haproxy");
    if (haproxy) hop("haproxy", versionOf(haproxy, ["-v"], /HAProxy version [\d.]+/).replace(" version", ""), (at) => start(forGateways, haproxy, ["-db", "-f", conf("haproxy.cfg", haproxyConf(at, pods))]));
    else process.stdout.write("HAProxy is not here and not measured\n");
    // What Istio's sidecar is, without what Istio adds to it.
    const envoy = program("envoy");
    const envoyWith = (isLogged: boolean) => (at: number) => start(forGateways, envoy!, envoyArgs(conf(`envoy-${at}.json`, envoyConf({ folder, pods, listeners: [{ port: at, isLogged }] })), 1));
    if (envoy) {
      hop("envoy", envoyVersion(envoy), envoyWith(false));
      hop("envoy-log", `${envoyVersion(envoy)}, logging`, envoyWith(true));
    } else process.stdout.write("Envoy is not here and not measured\n");
    for (const way of ways) await untilOpen(way.port, way.ip, way.name, errors);
    return { ground, ways, mesh: { feed: `${dnsIP}:${directFeedPort}`, services: "10.96.", ip: clientIP }, [Symbol.asyncDispose]: () => ground[Symbol.asyncDispose]() };
  } catch (error) {
    await ground[Symbol.asyncDispose]();
    throw error;
  }
}

type Pods = readonly { ip: string; port: number }[];

const nginxConf = (folder: string, name: string, at: number, log: string, pods: Pods): string => `${common(folder, name, 1)} http { ${temporary(folder)} access_log ${log}; keepalive_requests 100000000; keepalive_timeout 600; client_max_body_size 0;
    upstream web { ${pods.map(({ ip, port }) => `server ${ip}:${port};`).join(" ")} keepalive 1024; keepalive_requests 100000000; }
    server { listen 127.0.0.1:${at} backlog=1024; location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; } } }`;

const haproxyConf = (at: number, pods: Pods): string => `global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout http-keep-alive 600s
  timeout client 600s
  timeout server 600s
  timeout connect 3s
  http-reuse always
frontend f
  bind 127.0.0.1:${at} backlog 1024
  default_backend b
backend b
  balance roundrobin
${pods.map(({ ip, port }, index) => `  server s${index} ${ip}:${port}`).join("\n")}
`;
