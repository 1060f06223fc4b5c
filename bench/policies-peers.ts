import { existsSync } from "node:fs";
import { join } from "node:path";
import { type EnvoyFilter, envoyArgs, envoyConf, envoyVersion } from "./envoy.ts";
import { common, type Ground, policyPeers, program, temporary, untilOpen, versionOf } from "./gateway-peers.ts";
import { family } from "./measure.ts";

/**
 * Who does the same work as Wherry's policies: nginx and Caddy (`tools/gateway-peers.sh`), Envoy, and what people build of Express'
 * and Fastify's plugins (`tools/policy-peers.sh`). Each has one processor, one worker, kept connections to the same upstream and a line
 * a request in a file. A peer does what it can do by itself, at "/pN/" for the policy N, or leaves it out.
 */
export interface Peer {
  name: string;
  pids(): number[];
  /** Where the policy `i` is; "bare": the same without any. undefined: it has no such thing. */
  url(i: number | "bare"): string | undefined;
}

/** What a policy is to the peers. */
export interface PeerPolicy {
  /** In nginx's location. */
  nginx?: string;
  /** By Caddy's forward_auth. */
  caddy?: true;
  /** Envoy's filters, in order, and what its route says beside. */
  envoy?: { filters: readonly EnvoyFilter[]; route?: object };
  /** Of bench/policies-node.cjs. */
  node?: readonly NodePart[];
}
export type NodePart = "jwt" | "limit" | "cors" | "validate" | "basic";
/** What the policies of programs need to know. */
export interface Knowledge {
  publicKey: string;
  issuer: string;
  audience: string;
  origin: string;
  users: Record<string, string>;
  schema: object;
}

const slug = (i: number | "bare"): string => (i === "bare" ? "/bare" : `/p${i}`);
const missing = (name: string): undefined => void process.stdout.write(`${name} is not here and not measured\n`);

export async function startPolicyPeers(ground: Ground, firstPort: number, policies: readonly PeerPolicy[], knowledge: Knowledge): Promise<Peer[]> {
  const { folder, conf, forGateways, start, errors } = ground;
  const allowed = firstPort;
  const ports = { nginx: firstPort + 1, caddy: firstPort + 2, express: firstPort + 3, fastify: firstPort + 4, envoy: firstPort + 10 };
  start("0", ground.nginx, ["-c", conf("allowing.conf", allowing(ground, allowed)), "-e", join(folder, "allowing.errors")]);
  await untilOpen(allowed, "127.0.0.1", "who allows", errors);
  const byPath = (name: string, port: number, pid: number, has: (policy: PeerPolicy) => boolean): Peer => ({ name, pids: () => family(pid), url: (i) => (i === "bare" || has(policies[i]!) ? `http://127.0.0.1:${port}${slug(i)}` : undefined) });
  const peers: Peer[] = [];

  const nginx = start(forGateways, ground.nginx, ["-c", conf("policies.conf", nginxConf(ground, ports.nginx, allowed, policies)), "-e", join(folder, "policies.errors")]);
  peers.push(byPath(ground.nginxVersion, ports.nginx, nginx.pid!, (policy) => policy.nginx !== undefined));
  const caddyFile = program("caddy") ?? missing("Caddy");
  if (caddyFile) {
    const caddy = start(forGateways, caddyFile, ["run", "--config", conf("policies.caddy", caddyConf(ground, ports.caddy, allowed, policies)), "--adapter", "caddyfile"], { GOMAXPROCS: "1" });
    peers.push(byPath(`Caddy ${versionOf(caddyFile, ["version"], /[\d.]+/)}`, ports.caddy, caddy.pid!, (policy) => policy.caddy === true));
  }
  const envoyFile = program("envoy") ?? missing("Envoy");
  if (envoyFile) {
    const portOf = (i: number | "bare"): number => ports.envoy + (i === "bare" ? 0 : 1 + i);
    const listeners = [{ port: portOf("bare"), isLogged: true, prefix: `${slug("bare")}/` }, ...policies.flatMap(({ envoy }, i) => (envoy ? [{ port: portOf(i), isLogged: true, prefix: `${slug(i)}/`, ...envoy }] : []))];
    const envoy = start(forGateways, envoyFile, envoyArgs(conf("envoy.json", envoyConf({ folder, pods: [{ ip: ground.upstream.address, port: ground.upstream.port }], listeners })), 1));
    peers.push({ name: envoyVersion(envoyFile), pids: () => family(envoy.pid!), url: (i) => (i === "bare" || policies[i]!.envoy ? `http://127.0.0.1:${portOf(i)}${slug(i)}` : undefined) });
  }
  for (const framework of ["express", "fastify"] as const) {
    if (!existsSync(join(policyPeers, "node_modules", framework))) {
      missing(framework);
      continue;
    }
    const config = { folder: policyPeers, port: ports[framework], upstream: `http://${ground.upstream.address}:${ground.upstream.port}`, log: join(folder, `${framework}.log`), ...knowledge, paths: [{ path: slug("bare"), parts: [] }, ...policies.flatMap(({ node }, i) => (node ? [{ path: slug(i), parts: node }] : []))] };
    const child = start(forGateways, process.execPath, [join(import.meta.dirname, "policies-node.cjs"), framework, conf(`${framework}.json`, JSON.stringify(config))], { NODE_ENV: "production" });
    peers.push(byPath(framework === "express" ? "Express" : "Fastify", ports[framework], child.pid!, (policy) => policy.node !== undefined));
  }
  for (const peer of peers) await untilOpen(Number(new URL(peer.url("bare")!).port), "127.0.0.1", peer.name, errors);
  return peers;
}

function nginxConf({ folder, upstream }: Ground, port: number, allowed: number, policies: readonly PeerPolicy[]): string {
  const proxied = `proxy_pass http://web/; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id;`;
  return `${common(folder, "policies", 1)} http { ${temporary(folder)} access_log ${folder}/policies.log; keepalive_requests 100000000; limit_req_zone $binary_remote_addr zone=limit:1m rate=1000000r/s; proxy_cache_path ${folder}/kept keys_zone=kept:8m;
    upstream web { server ${upstream.address}:${upstream.port}; keepalive 1024; keepalive_requests 100000000; }
    upstream allowing { server 127.0.0.1:${allowed}; keepalive 1024; keepalive_requests 100000000; }
    server { listen 127.0.0.1:${port} backlog=1024;
    location = /allowed { internal; proxy_pass http://allowing; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass_request_body off; proxy_set_header Content-Length ""; }
    location /bare/ { ${proxied} }
    ${policies.map(({ nginx }, i) => (nginx === undefined ? "" : `location ${slug(i)}/ { ${nginx} ${proxied} }`)).join("\n    ")} } }`;
}

/** Who says yes to auth_request and forward_auth: another process, which does not count. */
const allowing = ({ folder }: Ground, port: number): string => `${common(folder, "allowing", 1)} http { ${temporary(folder)} access_log off; keepalive_requests 100000000; server { listen 127.0.0.1:${port}; location / { return 204; } } }`;

function caddyConf({ folder, upstream }: Ground, port: number, allowed: number, policies: readonly PeerPolicy[]): string {
  const proxied = `reverse_proxy ${upstream.address}:${upstream.port} {\n transport http {\n keepalive_idle_conns_per_host 1024\n }\n }`;
  const all = policies.flatMap(({ caddy }, i) => (caddy === undefined ? [] : [`handle_path ${slug(i)}/* {\n forward_auth 127.0.0.1:${allowed} {\n uri /\n }\n ${proxied}\n}`]));
  return `{\n admin off\n auto_https off\n}\nhttp://:${port} {\n bind 127.0.0.1\n log {\n output file ${folder}/caddy-policies.log\n }\n handle_path /bare/* {\n ${proxied}\n }\n ${all.join("\n")}\n}\n`;
}
