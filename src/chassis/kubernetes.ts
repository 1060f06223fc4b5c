import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createHttpClient, type HttpClient } from "../api/http-client.ts";
import { type Clock, systemClock } from "../base/clock.ts";

export type { HttpClient as KubernetesClient } from "../api/http-client.ts";

/**
 * The API server of whatever cluster this program runs in or is pointed at, found as client-go finds it: in a pod by the files
 * of its service account, elsewhere by a kubeconfig (KUBECONFIG, else ~/.kube/config).
 */
export interface Cluster {
  client: HttpClient;
  /** Of the pod, or of the kubeconfig's context. */
  namespace: string;
}

export interface ClusterOptions {
  env?: NodeJS.ProcessEnv;
  /** Where the service account's files are. */
  folder?: string;
  /** A file that is used whatever the environment says. */
  kubeconfig?: string;
  /** Told to the server: "orders/2.1". */
  userAgent?: string;
  clock?: Clock;
}

const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";
/** The kubelet renews a token when four fifths of its life are over, and both are valid then. */
const tokenMs = 60_000;

/** @throws Error no cluster is told of, or its files cannot be read */
export async function findCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const { env = process.env, folder = accountFolder } = options;
  if (options.kubeconfig === undefined && env["KUBERNETES_SERVICE_HOST"] && existsSync(join(folder, "token"))) return inCluster(folder, options);
  return ofKubeconfig(options);
}

function inCluster(folder: string, { env = process.env, userAgent = "wherry-chassis", clock = systemClock }: ClusterOptions): Cluster {
  const host = env["KUBERNETES_SERVICE_HOST"]!;
  const url = `https://${host.includes(":") ? `[${host}]` : host}:${env["KUBERNETES_SERVICE_PORT"] || 443}`;
  const read = (name: string) => readFileSync(join(folder, name), "utf8").trim();
  let token = read("token");
  let readAt = clock.monotonicMs();
  const current = () => {
    if (clock.monotonicMs() - readAt >= tokenMs) {
      readAt = clock.monotonicMs();
      try {
        token = read("token");
      } catch {
        // being replaced: the one that is known is good for a while
      }
    }
    return token;
  };
  return { client: createHttpClient({ url, ca: read("ca.crt"), token: current, userAgent }), namespace: read("namespace") };
}

interface Kubeconfig {
  "current-context"?: string;
  contexts?: { name: string; context: { cluster: string; user: string; namespace?: string } }[];
  clusters?: { name: string; cluster: Record<string, unknown> }[];
  users?: { name: string; user: Record<string, unknown> }[];
}

async function ofKubeconfig({ env = process.env, kubeconfig, userAgent = "wherry-chassis" }: ClusterOptions): Promise<Cluster> {
  const file = kubeconfig ?? (env["KUBECONFIG"]?.split(":").find((path) => path !== "" && existsSync(path)) || join(homedir(), ".kube", "config"));
  if (!existsSync(file)) throw new Error(`no cluster: this is no pod, and there is no ${file}`);
  const yaml = await import("js-yaml");
  const config = yaml.load(readFileSync(file, "utf8")) as Kubeconfig;
  const name = config["current-context"];
  const context = config.contexts?.find((one) => one.name === name)?.context;
  const cluster = config.clusters?.find((one) => one.name === context?.cluster)?.cluster;
  const user = config.users?.find((one) => one.name === context?.user)?.user ?? {};
  const server = cluster?.["server"];
  if (!context || !cluster || typeof server !== "string") throw new Error(`${file}: the context "${name}" names no cluster`);
  // A program that has to be run for a token, and what else nobody here would do.
  for (const [part, fields, known] of [["cluster", cluster, ["server", "certificate-authority", "certificate-authority-data"]], ["user", user, ["client-certificate", "client-certificate-data", "client-key", "client-key-data", "token", "tokenFile"]]] as const) for (const field of Object.keys(fields)) if (!(known as readonly string[]).includes(field)) throw new Error(`${file}: ${part} "${part === "user" ? context.user : context.cluster}": ${field} is not supported`);
  const content = (of: Record<string, unknown>, field: string): string | undefined => {
    const data = of[`${field}-data`];
    if (typeof data === "string") return Buffer.from(data, "base64").toString();
    const path = of[field];
    return typeof path === "string" ? readFileSync(resolve(dirname(file), path), "utf8") : undefined;
  };
  const [ca, cert, key] = [content(cluster, "certificate-authority"), content(user, "client-certificate"), content(user, "client-key")];
  const tokenFile = user["tokenFile"];
  const token = typeof tokenFile === "string" ? () => readFileSync(resolve(dirname(file), tokenFile), "utf8").trim() : (user["token"] as string | undefined);
  return { client: createHttpClient({ url: server, userAgent, ...(ca !== undefined && { ca }), ...(cert !== undefined && { cert }), ...(key !== undefined && { key }), ...(token !== undefined && { token }) }), namespace: context.namespace ?? "default" };
}
