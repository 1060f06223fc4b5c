import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { dump } from "js-yaml";
import type { KubeObject } from "../../../src/api/meta.ts";

/** Envoy Gateway's translator and Envoy itself, where they have been built or fetched. */
const cache = join(import.meta.dirname, "../../../.cache");
const translator = join(cache, "policy-judge/egctl");
const program = join(cache, "policy-peers/envoy/_bin/envoy");
export const missing: string | undefined = existsSync(translator) ? (existsSync(program) ? undefined : "Envoy: run tools/policy-peers.sh") : "egctl: policy-statuses.test.ts builds it";

type Tree = { [field: string]: Tree } & { [index: number]: Tree };
interface Dump {
  xds?: Record<string, { configs: Record<string, unknown>[] }>;
}

/** Envoy with what its gateway makes of these objects; each Gateway is served at an address of its own. */
export interface Envoy extends AsyncDisposable {
  /** By "NAMESPACE/NAME" of a Gateway. */
  addressOf(gateway: string): string;
  port: number;
  /** What its access log says of the request before. */
  log(): string;
}

/** `portOf`: of the program that stands for a Service's cluster address. */
export async function startEnvoy(objects: readonly KubeObject[], portOf: (clusterIP: string) => number): Promise<Envoy> {
  const folder = mkdtempSync(join(tmpdir(), "wherry-envoy-"));
  const children: ChildProcess[] = [];
  const end = async (): Promise<void> => {
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const manifests = join(folder, "objects.yaml");
    writeFileSync(manifests, objects.map((object) => dump(object, { noRefs: true })).join("---\n"));
    const { stdout } = await promisify(execFile)(translator, ["x", "translate", "--from", "gateway-api", "--to", "xds", "-o", "json", "-f", manifests], { maxBuffer: 1 << 28, env: { HOME: folder } });
    const { xds = {} } = JSON.parse(stdout) as Dump;
    const port = 10_080;
    // Loopback addresses of this process alone, so that tests may run side by side.
    const addresses = new Map(Object.keys(xds).map((gateway, i) => [gateway, `127.97.${process.pid % 250}.${i + 1}`]));
    const log = join(folder, "access.log");
    writeFileSync(log, "");
    const config = join(folder, "envoy.json");
    writeFileSync(config, JSON.stringify(bootstrapOf(xds, (gateway) => ({ address: addresses.get(gateway)!, port }), portOf, log)));
    if (process.env["KEEP_XDS"]) writeFileSync(process.env["KEEP_XDS"], readFileSync(config));
    const child = spawn(program, ["-c", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"], { stdio: ["ignore", "ignore", "pipe"], env: {} });
    children.push(child);
    let told = "";
    child.stderr!.on("data", (text: Buffer) => (told += text.toString()));
    const ended = once(child, "exit").then(() => Promise.reject(new Error(`Envoy ended: ${told.slice(0, 4000)}`)));
    ended.catch(() => {});
    await Promise.race([ended, Promise.all([...addresses.values()].map((address) => listening(address, port, () => child.exitCode !== null)))]);
    return { addressOf: (gateway) => addresses.get(gateway)!, port, log: () => readFileSync(log, "utf8").trim().split("\n").at(-1)!, [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw error;
  }
}

async function listening(address: string, port: number, isOver: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const socket = connect(port, address);
    const isThere = await new Promise<boolean>((resolve) => socket.on("connect", () => resolve(true)).on("error", () => resolve(false)));
    socket.destroy();
    if (isThere || isOver()) return;
    if (performance.now() > deadline) throw new Error(`Envoy does not listen at ${address}:${port}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What a control plane would tell, as a file that says it from the start. */
function bootstrapOf(xds: NonNullable<Dump["xds"]>, addressOf: (gateway: string) => { address: string; port: number }, portOf: (clusterIP: string) => number, log: string): object {
  const listeners: Tree[] = [];
  const clusters = new Map<string, Tree>();
  const secrets = new Map<string, Tree>();
  let layeredRuntime: unknown;
  for (const [gateway, { configs }] of Object.entries(xds)) {
    const of = (type: string): Tree => (configs.find((config) => String(config["@type"]).endsWith(type)) ?? {}) as Tree;
    const listOf = (type: string, list: string): Tree[] => (of(type)[list] ?? []) as unknown as Tree[];
    layeredRuntime = of(".BootstrapConfigDump")["bootstrap"]!["layeredRuntime"];
    const routes = new Map(listOf(".RoutesConfigDump", "dynamicRouteConfigs").map(({ routeConfig }) => [String(routeConfig!["name"]), plain(routeConfig!)]));
    const endpoints = new Map(listOf(".EndpointsConfigDump", "dynamicEndpointConfigs").map(({ endpointConfig }) => [String(endpointConfig!["clusterName"]), endpointConfig!]));
    for (const { secret } of listOf(".SecretsConfigDump", "dynamicActiveSecrets")) secrets.set(String(secret!["name"]), secret!);
    for (const { activeState } of listOf(".ListenersConfigDump", "dynamicListeners")) {
      const listener = activeState!["listener"]!;
      if (String(listener["name"]).startsWith("envoy-gateway-proxy-ready")) continue;
      const { address, port } = addressOf(gateway);
      change(listener, (node) => {
        const rds = node["rds"];
        if (rds) {
          (node as Record<string, unknown>)["routeConfig"] = routes.get(String(rds["routeConfigName"]));
          delete node["rds"];
        }
        if ((node["path"] as unknown) === "/dev/stdout") (node as Record<string, unknown>)["path"] = log;
      });
      listeners.push({ ...listener, address: { socketAddress: { address, portValue: port } } } as unknown as Tree);
    }
    for (const { cluster } of listOf(".ClustersConfigDump", "dynamicActiveClusters")) {
      const name = String(cluster!["name"]);
      if (cluster!["edsClusterConfig"]) {
        const assignment = endpoints.get(String(cluster!["edsClusterConfig"]["serviceName"] ?? name));
        if (assignment) change(assignment, (node) => at(node, portOf));
        delete cluster!["edsClusterConfig"];
        Object.assign(cluster!, { type: "STATIC", loadAssignment: { ...(assignment && plain(assignment)), clusterName: name } });
      }
      clusters.set(name, cluster!);
    }
  }
  const all = { listeners, clusters: [...clusters.values()], secrets: [...secrets.values()] };
  // Told apart by their name alone when they are not fetched.
  change(all as unknown as Tree, (node) => node["sdsConfig"] && delete node["sdsConfig"]);
  return { node: { id: "judge", cluster: "judge", locality: { zone: "none" } }, layeredRuntime, staticResources: { listeners: listeners.map(plain), clusters: all.clusters.map(plain), secrets: all.secrets.map(plain) } };
}

/** A resource says its type where it is told; a file has it from the place. */
const plain = ({ "@type": _type, ...rest }: Tree): Tree => rest as Tree;

function at(node: Tree, portOf: (clusterIP: string) => number): void {
  const socket = node["socketAddress"] as unknown as { address: string; portValue: number } | undefined;
  if (!socket) return;
  socket.portValue = portOf(socket.address);
  socket.address = "127.0.0.1";
}

function change(node: Tree, visit: (node: Tree) => void): void {
  if (typeof node !== "object" || node === null) return;
  if (!Array.isArray(node)) visit(node);
  for (const inner of Object.values(node)) change(inner, visit);
}
