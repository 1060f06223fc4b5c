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

export async function startOracle(): Promise<Oracle> {
  const folder = mkdtempSync(join(tmpdir(), "wherry-oracle-"));
  const children: ChildProcess[] = [];
  const stop = async () => {
    for (const child of children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const [etcdPort, peerPort, port] = [await freePort(), await freePort(), await freePort()];
    const etcdUrl = `http://127.0.0.1:${etcdPort}`;
    const run = (file: string, args: string[]) => {
      const child = spawn(file, args, { stdio: ["ignore", "ignore", "pipe"], env: { PATH: process.env["PATH"] ?? "", HOME: folder } });
      let said = "";
      child.stderr!.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4_000)));
      children.push(child);
      return { child, said: () => said };
    };
    const etcd = run(oraclePrograms.etcd, ["--data-dir", join(folder, "etcd"), "--listen-client-urls", etcdUrl, "--advertise-client-urls", etcdUrl, "--listen-peer-urls", `http://127.0.0.1:${peerPort}`, "--initial-advertise-peer-urls", `http://127.0.0.1:${peerPort}`, "--initial-cluster", `default=http://127.0.0.1:${peerPort}`]);
    await answers(`${etcdUrl}/health`, etcd);
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048, privateKeyEncoding: { type: "pkcs8", format: "pem" }, publicKeyEncoding: { type: "spki", format: "pem" } });
    writeFileSync(join(folder, "sa.key"), privateKey, { mode: 0o600 });
    writeFileSync(join(folder, "sa.pub"), publicKey);
    writeFileSync(join(folder, "tokens.csv"), "oracle,admin,1,system:masters\n", { mode: 0o600 });
    const began = performance.now();
    const apiserver = run(oraclePrograms.apiserver, [
      "--etcd-servers", etcdUrl, "--cert-dir", join(folder, "pki"), "--bind-address", "127.0.0.1", "--secure-port", String(port), "--service-cluster-ip-range", "10.96.0.0/16",
      "--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", join(folder, "sa.pub"), "--service-account-signing-key-file", join(folder, "sa.key"),
      "--authorization-mode", "RBAC", "--token-auth-file", join(folder, "tokens.csv"), "--allow-privileged",
    ]);
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

async function answers(url: string, { child, said }: { child: ChildProcess; said(): string }): Promise<void> {
  for (const began = performance.now(); ; ) {
    if (child.exitCode !== null || performance.now() - began > 30_000) throw new Error(`${url} does not answer:\n${said()}`);
    if (await fetch(url).then((response) => response.ok, () => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
