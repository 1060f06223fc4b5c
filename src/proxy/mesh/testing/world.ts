import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { once } from "node:events";
import { connect, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { load } from "js-yaml";
import type { Guard } from "../../../api/guard.ts";
import type { MeshAccount, MeshIdentity } from "../../../api/mesh-identity.ts";
import type { KubeObject } from "../../../api/meta.ts";
import { compileGuard } from "../../istio/guards.ts";
import { Report } from "../../istio/report.ts";
import { eventually, listen, nextAddress, port, snapshot, startSupervisor, type TestSupervisor } from "../../testing/network.ts";
import { TestAuthority } from "./authority.ts";

/** Longer than any machine takes. */
export const patienceMs = 30_000;
export const number = 7000;

/** Services of namespace shop before programs of this process, and callers at addresses of their own. Each Service has an account of its name. */
export class MeshWorld implements AsyncDisposable {
  readonly authority = new TestAuthority();
  readonly services = { web: nextAddress(), grpc: nextAddress(), auto: nextAddress(), db: nextAddress(), secure: nextAddress() };
  /** How often a program has got what it could not understand. */
  unread = 0;
  /** Accounts for which a certificate was asked, in this order. */
  readonly issued: string[] = [];
  issue: (account: MeshAccount) => Promise<MeshIdentity> = async (account) => this.authority.identity(account);
  readonly #folder = mkdtempSync(join(tmpdir(), "wherry-tls-"));
  readonly logFile = join(this.#folder, "gateway.log");
  readonly #callers = new Map<string, string>([["host", nextAddress()]]);
  readonly #stop: (() => unknown)[] = [];
  net!: TestSupervisor;
  #revision = 0;
  #before: string[] = [];
  #read = 0;
  ports!: Record<string, number>;

  static async start(): Promise<MeshWorld> {
    const world = new MeshWorld();
    await world.#start();
    return world;
  }
  async #start(): Promise<void> {
    this.net = await startSupervisor({
      judges: true,
      accessLog: this.logFile,
      silentMs: patienceMs,
      issue: (account) => {
        this.issued.push(`${account.namespace}/${account.serviceAccount}`);
        return this.issue(account);
      },
    });
    const pods = { web: nextAddress(), grpc: nextAddress(), auto: nextAddress(), db: nextAddress(), secure: nextAddress() };
    const answer = (asked: Pick<IncomingMessage, "url" | "httpVersion" | "headers"> & { resume(): unknown }, answered: Pick<ServerResponse, "end">) => {
      asked.resume();
      answered.end(JSON.stringify({ url: asked.url, httpVersion: asked.httpVersion, ...asked.headers }));
    };
    const http = () => createHttpServer(answer).on("clientError", (_error, socket) => (this.unread++, socket.destroy()));
    const own = this.authority.certificate(["https://own.example"]);
    const servers = { web: http(), auto: http(), grpc: createHttp2Server((asked, answered) => answer(asked, answered as never)), secure: createTlsServer({ cert: own.cert, key: own.key }, (socket) => void socket.on("error", () => {}).end("own")) };
    for (const [name, server] of Object.entries(servers) as [keyof typeof servers, Server][]) {
      server.listen(0, pods[name]);
      await once(server, "listening");
      this.#stop.push(() => (server.close(), "closeAllConnections" in server && (server.closeAllConnections as () => void)()));
    }
    const db = await listen((socket) => {
      socket.on("data", (bytes) => {
        if (bytes[0] !== 22) return void socket.write(bytes);
        this.unread++;
        socket.destroy();
      });
      socket.on("end", () => socket.end());
    }, pods.db);
    this.#stop.push(() => db[Symbol.asyncDispose]());
    const portOf = (server: { address(): unknown }) => (server.address() as { port: number }).port;
    this.ports = { web: portOf(servers.web), grpc: portOf(servers.grpc), auto: portOf(servers.auto), secure: portOf(servers.secure), db: db.port };
    for (const [app, ip] of Object.entries(pods)) this.net.setPod!(ip, { namespace: "shop", name: app, serviceAccount: app, labels: { app } });
    const service = (name: keyof typeof pods, appProtocol?: string) => ({ name, namespace: "shop", clusterIPs: [this.services[name]], ports: [port(number, [{ ip: pods[name], port: this.ports[name]! }], appProtocol === undefined ? {} : { appProtocol })] });
    this.net.publish(snapshot(1, service("web", "http"), service("grpc", "kubernetes.io/h2c"), service("auto"), service("db", "tcp"), service("secure", "https")));
    for (const ip of Object.values(this.services)) await eventually(() => isOpen(ip), patienceMs);
  }

  addressOf(caller: string): string {
    let address = this.#callers.get(caller);
    if (address === undefined) {
      this.#callers.set(caller, (address = nextAddress()));
      const [namespace, serviceAccount] = caller.split("/") as [string, string];
      this.net.setPod!(address, { namespace, name: serviceAccount, serviceAccount });
    }
    return address;
  }

  /** In force when it resolves, and nothing else is. */
  async guard(...lines: string[]): Promise<void> {
    const guards = lines.map((line) => this.#guardOf(line));
    this.net.publishTraffic({ revision: ++this.#revision, put: { guards }, remove: { guards: this.#before.filter((id) => !guards.some((guard) => guard.id === id)) } });
    this.#before = guards.map(({ id }) => id);
    await this.settled();
  }
  /** The worker has done what it was told. A busy one is not waited for for longer than half a second: then it is asked again. */
  async settled(): Promise<void> {
    for (;;) {
      const from = performance.now();
      await this.net.settled!();
      if (performance.now() - from < 400) return;
    }
  }
  #guardOf(line: string): Guard {
    const [, kind, namespace = "shop", name, spec] = /^(\w+) (?:([\w-]+)\/)?(\S+) (.*)$/.exec(line) ?? [];
    const text = spec!.replace("WEB", `"${this.ports["web"]}"`).replace("DB", `"${this.ports["db"]}"`);
    const object = { kind, metadata: { name, namespace, creationTimestamp: "2026-01-01T00:00:00Z" }, spec: load(text) } as unknown as KubeObject;
    return compileGuard(object, new Report(), true)!;
  }

  /** The line about the request with that path. */
  loggedOf(path: string): Promise<{ flag?: string; reason?: string; peer?: string }> {
    return eventually(() => {
      const found = readFileSync(this.logFile, "utf8").split("\n").slice(0, -1).find((line) => line.includes(`"path":"${path}"`));
      return found === undefined ? undefined : (JSON.parse(found) as { flag?: string });
    }, patienceMs).then((line) => line!);
  }
  /** The next line that was not yet asked for. */
  logged(): Promise<{ flag?: string; reason?: string; peer?: string }> {
    return eventually(() => {
      const lines = readFileSync(this.logFile, "utf8").split("\n").slice(0, -1);
      return lines.length > this.#read ? (JSON.parse(lines[this.#read++]!) as { flag?: string }) : undefined;
    }, patienceMs).then((line) => line!);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.net.stop(AbortSignal.timeout(5_000));
    for (const stop of this.#stop) await stop();
    rmSync(this.#folder, { recursive: true });
  }
}

const isOpen = (ip: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(number, ip).on("error", () => resolve(false)).on("connect", () => (socket.destroy(), resolve(true)));
  });
