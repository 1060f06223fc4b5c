import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createHttpClient, type HttpClient } from "../../../src/api/http-client.ts";
import { freePort } from "../../scenarios/stack.ts";

/**
 * The real kube-apiserver on the real etcd, as the one that is right: built by `tools/build-oracle.mjs` into
 * `.cache/oracle`, started on loopback with a folder of its own. No controllers, as with `startApi`.
 */
export interface Oracle extends AsyncDisposable {
  client: HttpClient;
  url: string;
  /** File with the certificate that it signed for itself. */
  certificate: string;
  processes: { apiserver: number; etcd: number };
  /** Milliseconds from the start of kube-apiserver to its first ready answer. */
  startMs: number;
}

export const oracleFolder = process.env["WHERRY_ORACLE"] ?? join(import.meta.dirname, "..", "..", "..", ".cache", "oracle");
export const oraclePrograms = { apiserver: join(oracleFolder, "kube-apiserver"), etcd: join(oracleFolder, "etcd") };
export const hasOracle = (): boolean => Object.values(oraclePrograms).every((path) => existsSync(path));

/** `args`: more of kube-apiserver's own flags. */
export async function startOracle({ args = [] }: { args?: readonly string[] } = {}): Promise<Oracle> {
  const folder = mkdtempSync(join(tmpdir(), "wherry-oracle-"));
  const children: ChildProcess[] = [];
  const stop = () => end(children, folder);
  try {
    const port = await freePort();
    const etcd = await runEtcd(folder);
    children.push(etcd.child);
    const etcdUrl = etcd.url;
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048, privateKeyEncoding: { type: "pkcs8", format: "pem" }, publicKeyEncoding: { type: "spki", format: "pem" } });
    writeFileSync(join(folder, "sa.key"), privateKey, { mode: 0o600 });
    writeFileSync(join(folder, "sa.pub"), publicKey);
    writeFileSync(join(folder, "tokens.csv"), "oracle,kubernetes-admin,,system:masters\n", { mode: 0o600 });
    const began = performance.now();
    const apiserver = run(folder, oraclePrograms.apiserver, [
      "--etcd-servers", etcdUrl, "--cert-dir", join(folder, "pki"), "--bind-address", "127.0.0.1", "--secure-port", String(port), "--service-cluster-ip-range", "10.96.0.0/16",
      "--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", join(folder, "sa.pub"), "--service-account-signing-key-file", join(folder, "sa.key"),
      "--authorization-mode", "RBAC", "--token-auth-file", join(folder, "tokens.csv"), "--allow-privileged", ...args,
    ]);
    children.push(apiserver.child);
    const certificate = join(folder, "pki", "apiserver.crt");
    for (;;) {
      if (apiserver.child.exitCode !== null) throw new Error(`kube-apiserver ended:\n${apiserver.said()}`);
      if (existsSync(certificate)) {
        const client = createHttpClient({ url: `https://127.0.0.1:${port}`, ca: readFileSync(certificate, "utf8"), token: "oracle", userAgent: "differential" });
        const ready = await client.raw("GET", "/readyz").then(() => true, () => false);
        if (ready) return { client, url: `https://127.0.0.1:${port}`, certificate, processes: { apiserver: apiserver.child.pid!, etcd: etcd.child.pid! }, startMs: performance.now() - began, [Symbol.asyncDispose]: async () => (client.close(), stop()) };
        client.close();
      }
      if (performance.now() - began > 120_000) throw new Error(`kube-apiserver is not ready after two minutes:\n${apiserver.said()}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  } catch (error) {
    await stop();
    throw error;
  }
}

/** etcd alone: what the store is measured against. */
export async function startEtcd(): Promise<AsyncDisposable & { url: string; pid: number }> {
  const folder = mkdtempSync(join(tmpdir(), "wherry-etcd-"));
  const { child, url } = await runEtcd(folder);
  return { url, pid: child.pid!, [Symbol.asyncDispose]: () => end([child], folder) };
}

function run(folder: string, file: string, args: string[]): { child: ChildProcess; said(): string } {
  const child = spawn(file, args, { stdio: ["ignore", "ignore", "pipe"], env: { PATH: process.env["PATH"] ?? "", HOME: folder } });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4_000)));
  return { child, said: () => said };
}

async function runEtcd(folder: string): Promise<{ child: ChildProcess; url: string }> {
  const url = `http://127.0.0.1:${await freePort()}`;
  const peerUrl = `http://127.0.0.1:${await freePort()}`;
  const etcd = run(folder, oraclePrograms.etcd, ["--data-dir", join(folder, "etcd"), "--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl, "--initial-cluster", `default=${peerUrl}`]);
  await answers(`${url}/health`, etcd);
  return { child: etcd.child, url };
}

async function end(children: ChildProcess[], folder: string): Promise<void> {
  for (const child of children.reverse()) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }
  rmSync(folder, { recursive: true, force: true });
}

async function answers(url: string, { child, said }: { child: ChildProcess; said(): string }): Promise<void> {
  for (const began = performance.now(); ; ) {
    if (child.exitCode !== null || performance.now() - began > 30_000) throw new Error(`${url} does not answer:\n${said()}`);
    if (await fetch(url).then((response) => response.ok, () => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
