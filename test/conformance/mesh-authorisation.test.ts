import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, request, type Server } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { load } from "js-yaml";
import type { Guard } from "../../src/api/guard.ts";
import type { KubeObject } from "../../src/api/meta.ts";
import type { NetSnapshot } from "../../src/api/network.ts";
import { compileGuard } from "../../src/proxy/istio/guards.ts";
import { compileTelemetry } from "../../src/proxy/istio/telemetry.ts";
import type { Telemetry } from "../../src/api/istio/kinds.ts";
import { Report } from "../../src/proxy/istio/report.ts";
import { eventually, listen, nextAddress, port, snapshot, startSupervisor } from "../../src/proxy/testing/network.ts";

/** The cases of mesh/authorisation.txt through Service listeners; see mesh/README.md. Callers are told apart by their addresses. */
const folder = mkdtempSync(join(tmpdir(), "wherry-mesh-"));
const accessLog = join(folder, "gateway.log");
const net = await startSupervisor({ judges: true, accessLog });
after(async () => {
  await net.stop(AbortSignal.timeout(5_000));
  for (const server of [web, auto]) server.close().closeAllConnections();
  await Promise.all([db, chat].map((server) => server[Symbol.asyncDispose]()));
  rmSync(folder, { recursive: true });
});

const issuer = generateKeyPairSync("ec", { namedCurve: "P-256" });
const keySet = JSON.stringify({ keys: [issuer.publicKey.export({ format: "jwk" })] });
const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
function tokenOf(claims: object): string {
  const signed = `${encoded({ alg: "ES256" })}.${encoded({ iss: "me", exp: Math.floor(Date.now() / 1000) + 3600, ...claims })}`;
  return `${signed}.${sign("sha256", Buffer.from(signed), { key: issuer.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

/** Says what it was asked. */
async function serve(ip: string): Promise<Server> {
  const server = createServer((asked, answer) => {
    asked.resume();
    answer.statusCode = Number(asked.headers["x-status"] ?? 200);
    answer.end(asked.url === "/keys" ? keySet : JSON.stringify({ url: asked.url, ...asked.headers }));
  }).listen(0, ip);
  server.on("upgrade", (_, socket: Socket) => void socket.on("error", () => {}).pipe(socket).write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
  await once(server, "listening");
  return server;
}
const portOf = (server: Server): number => (server.address() as { port: number }).port;
const pods = { web: nextAddress(), auto: nextAddress(), db: nextAddress(), chat: nextAddress() };
const [web, auto] = [await serve(pods.web), await serve(pods.auto)];
const db = await listen((socket) => socket.end("hello"), pods.db);
const chat = await listen((socket) => void socket.on("error", () => {}).pipe(socket), pods.chat);

const services = { web: nextAddress(), auto: nextAddress(), db: nextAddress(), chat: nextAddress() };
for (const [app, ip] of Object.entries(pods)) net.setPod!(ip, { namespace: "shop", name: app, serviceAccount: app, labels: { app } });
const world: NetSnapshot = snapshot(
  1,
  { name: "web", namespace: "shop", clusterIPs: [services.web], ports: [port(7000, [{ ip: pods.web, port: portOf(web) }], { appProtocol: "http" })] },
  { name: "auto", namespace: "shop", clusterIPs: [services.auto], ports: [port(7000, [{ ip: pods.auto, port: portOf(auto) }])] },
  { name: "db", namespace: "shop", clusterIPs: [services.db], ports: [port(7000, [{ ip: pods.db, port: db.port }], { appProtocol: "tcp" })] },
  { name: "chat", namespace: "shop", clusterIPs: [services.chat], ports: [port(7000, [{ ip: pods.chat, port: chat.port }], { appProtocol: "tcp" })] },
);
net.publish(world);
for (const ip of Object.values(services)) {
  await eventually(() => new Promise<boolean>((resolve) => {
    const socket = connect(7000, ip).on("connect", () => resolve(true)).on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  }), 30_000);
}

const callers = new Map<string, string>([["nobody", nextAddress()]]);
function addressOf(caller: string): string {
  let address = callers.get(caller);
  if (address === undefined) {
    callers.set(caller, (address = nextAddress()));
    const [namespace, serviceAccount] = caller.split("/") as [string, string];
    net.setPod!(address, { namespace, name: serviceAccount, serviceAccount });
  }
  return address;
}

let revision = 0;
let before: string[] = [];
async function publish(guards: Guard[]): Promise<void> {
  net.publishTraffic({ revision: ++revision, put: { guards }, remove: { guards: before.filter((id) => !guards.some((guard) => guard.id === id)) } });
  before = guards.map(({ id }) => id);
  await net.settled!();
}

/** Lines that were not yet asked for. */
let read = 0;
interface Line {
  flag?: string;
  policy?: string;
  reason?: string;
  path?: string;
}
function logged(): Promise<Line> {
  return eventually(() => {
    const lines = readFileSync(accessLog, "utf8").split("\n").slice(0, -1);
    return lines.length > read ? (JSON.parse(lines[read++]!) as Line) : undefined;
  }, 30_000).then((line) => line!);
}

function guardOf(line: string): Guard {
  const [, kind, dryRun, namespace = "shop", name, spec] = /^(\w+)(\/dry-run)? (?:([\w-]+)\/)?(\S+) (.*)$/.exec(line) ?? assert.fail(line);
  const read = JSON.parse(JSON.stringify(load(spec!)).replaceAll('"KEYS"', JSON.stringify(keySet))) as object;
  const object = { kind, metadata: { name, namespace, creationTimestamp: "2026-01-01T00:00:00Z", ...(dryRun && { annotations: { "istio.io/dry-run": "true" } }) }, spec: read } as unknown as KubeObject;
  return (kind === "Telemetry" ? compileTelemetry(object as Telemetry, new Report(), true) : compileGuard(object, new Report(), true)) ?? assert.fail(`stands before nobody: ${line}`);
}

function askHttp(method: string, ip: string, localAddress: string, path: string, headers: Record<string, string>): Promise<{ status: number | "reset"; body: string }> {
  return new Promise((resolve) => {
    const asked = request({ method, host: ip, port: 7000, path, headers, localAddress, agent: false }, (answer) => {
      let body = "";
      answer.setEncoding("utf8").on("data", (piece: string) => (body += piece));
      answer.on("end", () => resolve({ status: answer.statusCode!, body }));
    });
    asked.on("error", () => resolve({ status: "reset", body: "" })).end();
  });
}
/** "open" when the server was heard. Who says nothing waits for the server; what is said is no HTTP. */
function askTcp(ip: string, localAddress: string): Promise<string> {
  return new Promise((resolve) => {
    let heard = "";
    connect({ port: 7000, host: ip, localAddress }).on("data", (piece: Buffer) => (heard += piece.toString())).on("error", () => resolve("reset")).on("close", () => resolve(heard === "hello" ? "open" : "reset")).write("\0\0");
  });
}

/** A connection that lasts, once it has been answered. */
interface Kept {
  socket: Socket;
  /** What it answers next; "ended". */
  says(text: string): Promise<string>;
}
async function keep(ip: string, localAddress: string, upgrades: boolean): Promise<Kept> {
  const socket = connect({ port: 7000, host: ip, localAddress });
  let answer: (heard: string) => void = () => {};
  socket.on("data", (piece: Buffer) => answer(piece.toString())).on("error", () => {}).on("close", () => answer("ended"));
  const says = (text: string) =>
    new Promise<string>((resolve) => {
      if (socket.destroyed) return resolve("ended");
      answer = resolve;
      socket.write(text);
    });
  const first = await says(upgrades ? "GET / HTTP/1.1\r\nHost: web.shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" : "one");
  assert.match(first, upgrades ? /^HTTP\/1\.1 101 / : /^one$/);
  return { socket, says };
}

for (const block of readFileSync(join(import.meta.dirname, "mesh", "authorisation.txt"), "utf8").split(/^== /m).slice(1)) {
  const [title, ...all] = block.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  test(title!, async () => {
    const kept = new Map<string, Kept>();
    for (const phase of all.join("\n").split(/^-- then$/m)) await run(phase.split("\n").filter(Boolean), kept);
    for (const { socket } of kept.values()) socket.destroy();
  });

  async function run(lines: string[], kept: Map<string, Kept>): Promise<void> {
    const calls = lines.filter((line) => line.includes(" -> "));
    await publish(lines.filter((line) => !line.includes(" -> ")).map(guardOf));
    for (const line of calls) {
      const [call, expected] = line.split(" -> ") as [string, string];
      const [, verb, who, callee = "", caller = ""] = /^(KEEP|KEPT) ((?:TCP|WebSocket) (\w+) from (\S+))$/.exec(call) ?? [];
      if (verb === "KEEP") {
        const address = addressOf(caller);
        await net.settled!();
        kept.set(who!, await keep(services[callee as keyof typeof services], address, who!.startsWith("WebSocket")));
        assert.equal(expected, "open", line);
        continue;
      }
      if (verb === "KEPT") {
        const became = await kept.get(who!)!.says("two");
        if (became === "two") assert.equal("open", expected, line);
        else {
          // Lines before it may be of those that a block has left at its end.
          let said = await logged();
          while (!said.reason?.startsWith("it was let in before the policies changed: ")) said = await logged();
          assert.equal(`${became} ${said.flag}`, expected, line);
        }
        continue;
      }
      const [, method, service, path = "/", from, fields = ""] = /^(\S+) (\w+)(\/\S*)? from (\S+)(?: \[(.*)\])?$/.exec(call) ?? assert.fail(`not understood: ${line}`);
      const ip = services[service as keyof typeof services];
      const localAddress = addressOf(from!);
      await net.settled!();
      if (method === "TCP") {
        const became = await askTcp(ip, localAddress);
        assert.equal(became === "open" ? became : `${became} ${(await logged()).flag}`, expected, line);
        continue;
      }
      const { token, ...headers } = Object.fromEntries(fields.split("; ").filter(Boolean).map((field): [string, string] => [field.slice(0, field.indexOf(":")), field.slice(field.indexOf(":") + 1).trim()])) as Record<string, string>;
      if (token !== undefined) headers["authorization"] = `Bearer ${tokenOf(load(token) as object)}`;
      const { status, body } = await askHttp(method!, ip, localAddress, path, { host: "web.shop", ...headers });
      // Lines come in order: one that should not be there is met by whoever looks next.
      if (expected.endsWith(" logged")) assert.equal((await logged()).path, path, line);
      const [, wantedStatus, flag, name, value] = /^(\d+|reset)(?: logged)?(?: ([A-Z]+))?(?: ([\w-]+): (.*))?$/.exec(expected) ?? assert.fail(`not understood: ${line}`);
      assert.equal(String(status), wantedStatus, line);
      if (flag !== undefined) assert.equal((await logged()).flag, flag, line);
      if (flag === "PD" && status !== "reset") assert.equal(body, "RBAC: access denied", line);
      if (name === "policy") assert.equal((await logged()).policy, value, line);
      else if (name !== undefined) assert.equal(String((JSON.parse(body) as Record<string, unknown>)[name]), value, line);
    }
  }
}

test("keys of a Service of the cluster, whoever guards it", async () => {
  await publish([
    guardOf("AuthorizationPolicy web {selector: {matchLabels: {app: web}}}"),
    guardOf('RequestAuthentication jwt {selector: {matchLabels: {app: auto}}, jwtRules: [{issuer: me, jwksUri: "http://web.shop.svc.cluster.local:7000/keys"}]}'),
  ]);
  const status = async (claims: object) => (await askHttp("GET", services.auto, addressOf("nobody"), "/", { host: "auto", authorization: `Bearer ${tokenOf(claims)}` })).status;
  await eventually(async () => (await status({ sub: "ann" })) === 200, 30_000);
  assert.equal(await status({ sub: "ann", iss: "you" }), 401);
});

test("programs of this machine, at the front door, are nobody", async () => {
  const { url } = net.hostAddresses().find(({ service }) => service === "web") ?? assert.fail("web has no address on the machine");
  const { host, port: number } = new URL(url);
  const status = () =>
    new Promise<number>((resolve, reject) => {
      request({ host: "127.0.0.1", port: number, headers: { host }, agent: false }, (answer) => resolve(answer.resume().statusCode!)).on("error", reject).end();
    });
  await publish([]);
  assert.equal(await status(), 200);
  await publish([guardOf("PeerAuthentication default {mtls: {mode: STRICT}}")]);
  assert.equal(await status(), 403);
  await publish([guardOf("AuthorizationPolicy p {rules: [{from: [{source: {namespaces: [shop]}}]}]}")]);
  assert.equal(await status(), 403);
  await publish([guardOf("AuthorizationPolicy p {rules: [{to: [{operation: {methods: [GET]}}]}]}")]);
  assert.equal(await status(), 200);
});

test("where an address proves nothing, nothing is heeded", async () => {
  const plain = await startSupervisor();
  try {
    const ip = nextAddress();
    plain.setPod!(pods.web, { namespace: "shop", name: "web", serviceAccount: "web", labels: { app: "web" } });
    plain.publish(snapshot(1, { name: "web", namespace: "shop", clusterIPs: [ip], ports: [port(7000, [{ ip: pods.web, port: portOf(web) }], { appProtocol: "http" })] }));
    plain.publishTraffic({ revision: 1, put: { guards: [guardOf("AuthorizationPolicy none {}")] }, remove: {} });
    let told = 0;
    plain.onGuarded!(() => told++);
    await plain.settled!();
    const { status } = await eventually(async () => {
      const answer = await askHttp("GET", ip, "127.0.0.1", "/", { host: "web.shop" });
      return answer.status === "reset" ? undefined : answer;
    }, 30_000).then((answer) => answer!);
    assert.deepEqual([status, told], [200, 0]);
  } finally {
    await plain.stop(AbortSignal.timeout(5_000));
  }
});
