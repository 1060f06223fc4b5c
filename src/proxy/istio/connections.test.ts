import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { load } from "js-yaml";
import type { KubeObject } from "../../api/meta.ts";
import { LoopbackAddresses } from "../gateway/addresses.ts";
import { Translator as GatewayTranslator } from "../gateway/translate.ts";
import { ObjectWorld as GatewayWorld } from "../gateway/world.ts";
import { eventually, listen, nextAddress, port, snapshot, startSupervisor } from "../testing/network.ts";
import { Translator } from "./translate.ts";
import { ObjectWorld } from "./world.ts";

/** The cases of connections.txt through Service listeners; callers and endpoints are told apart by their addresses. */
const net = await startSupervisor();
const closing: AsyncDisposable[] = [net];
after(async () => {
  for (const each of closing) await each[Symbol.asyncDispose]();
});

/** Answers the first bytes with its name. */
async function answering(name: string): Promise<{ name: string; ip: string; port: number }> {
  const ip = nextAddress();
  const server = await listen((socket) => void socket.once("data", () => socket.end(name)), ip);
  closing.push(server);
  return { name, ip, port: server.port };
}
const [d1, d2, s, n, h, v] = await Promise.all(["d1", "d2", "s", "n", "h", "v"].map(answering));
type Served = Awaited<ReturnType<typeof answering>>;

const services: Record<string, { ip: string; ports: { name?: string; port: number; appProtocol?: string; of: Served[] }[] }> = {
  db: { ip: nextAddress(), ports: [{ name: "tcp-db", port: 5432, appProtocol: "tcp", of: [d1!, d2!] }] },
  spare: { ip: nextAddress(), ports: [{ name: "tcp", port: 5432, appProtocol: "tcp", of: [s!] }] },
  auto: { ip: nextAddress(), ports: [{ port: 9000, of: [n!] }] },
  secure: { ip: nextAddress(), ports: [{ name: "https", port: 443, appProtocol: "https", of: [h!] }] },
  vault: { ip: nextAddress(), ports: [{ name: "tls", port: 443, appProtocol: "tls", of: [v!] }, { name: "tls-alt", port: 444, appProtocol: "tls", of: [v!] }] },
};
net.publish(snapshot(1, ...Object.entries(services).map(([name, { ip, ports }]) => ({ name, namespace: "shop", clusterIPs: [ip], ports: ports.map(({ port: number, appProtocol, of }) => port(number, of, appProtocol === undefined ? {} : { appProtocol })) }))));

const object = (kind: string, metadata: { name: string; namespace?: string; labels?: Record<string, string> }, more: object): KubeObject => ({ apiVersion: "v1", kind, metadata: { namespace: "shop", creationTimestamp: "2026-01-01T00:00:00Z", ...metadata }, ...more }) as unknown as KubeObject;
const callers = Object.fromEntries(["shop/a", "shop/b", "bank/c"].map((caller) => [caller, nextAddress()]));
const world = [
  ...Object.entries(services).map(([name, { ip, ports }]) => object("Service", { name }, { spec: { clusterIP: ip, ports: ports.map(({ name: portName, port: number }) => ({ name: portName, port: number })) } })),
  ...[{ pod: d1!, version: "v1" }, { pod: d2!, version: "v2" }].map(({ pod, version }) => object("Pod", { name: pod.name, labels: { version } }, { status: { podIP: pod.ip } })),
  ...Object.entries(callers).map(([caller, ip]) => object("Pod", { namespace: caller.split("/")[0]!, name: caller.split("/")[1]!, labels: { app: caller.split("/")[1]! } }, { status: { podIP: ip } })),
];
for (const [caller, ip] of Object.entries(callers)) {
  const [namespace, name] = caller.split("/") as [string, string];
  net.setPod!(ip, { namespace, name, serviceAccount: "default", labels: { app: name } });
}

/** What Node's own TLS says first. */
async function helloFor(servername: string): Promise<Buffer> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connectTls({ port: (server.address() as { port: number }).port, host: "127.0.0.1", servername }).on("error", () => {});
  const [socket] = (await once(server, "connection")) as [Socket];
  const [bytes] = (await once(socket, "data")) as [Buffer];
  for (const each of [client, socket]) each.destroy();
  server.close();
  return bytes;
}

function ask(localAddress: string, host: string, number: number, first: Buffer): Promise<string> {
  return new Promise((resolve) => {
    let heard = "";
    connect({ port: number, host, localAddress }).on("data", (piece: Buffer) => (heard += piece.toString())).on("error", () => {}).on("close", () => resolve(heard === "" ? "refused" : heard)).write(first);
  });
}
for (const { ip, ports } of Object.values(services)) for (const { port: number } of ports) await eventually(async () => (await ask("127.0.0.1", ip, number, Buffer.from("\0"))) !== "refused", 30_000);

function gatewayWorld(objects: readonly KubeObject[]): GatewayWorld {
  const made = new GatewayWorld();
  for (const each of objects) made.put(each);
  return made;
}

let before: { routes: string[]; upstreams: string[] } = { routes: [], upstreams: [] };
let revision = 0;
/** Replaces what stood before. */
async function stand(lines: readonly string[]): Promise<void> {
  const objects = lines.map((line) => {
    const [, kind, namespace = "shop", name, spec] = /^(\w+) (?:([\w-]+)\/)?(\S+) (.*)$/.exec(line) ?? assert.fail(line);
    return object(kind!, { namespace, name: name! }, { spec: load(spec!) as object });
  });
  const gateway = new GatewayTranslator(gatewayWorld([...world, ...objects]), new LoopbackAddresses());
  for (const { kind, metadata } of [...world, ...objects]) gateway.changed(kind!, `${metadata.namespace}/${metadata.name}`);
  const put = [new Translator(new ObjectWorld([...world, ...objects])).flush(), gateway.flush()].map(({ patch }) => patch?.put);
  const [routes, upstreams] = [put.flatMap((of) => of?.routes ?? []), put.flatMap((of) => of?.upstreams ?? [])];
  net.publishTraffic({ revision: ++revision, put: { routes, upstreams }, remove: before });
  before = { routes: routes.map(({ id }) => id), upstreams: upstreams.map(({ id }) => id) };
  await net.settled!();
}

for (const block of readFileSync(join(import.meta.dirname, "connections.txt"), "utf8").split(/^== /m).slice(1)) {
  const [title, ...lines] = block.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  test(title!, async () => {
    await stand(lines.filter((line) => !line.includes(" -> ")));
    for (const line of lines.filter((each) => each.includes(" -> "))) {
      const [, count = "1", caller, name, number, serverName, expected] = /^(?:(\d+)x )?(\S+) (\w+)(?::(\d+))?(?:\/(\S+))? -> (.*)$/.exec(line) ?? assert.fail(`not understood: ${line}`);
      const { ip, ports } = services[name!]!;
      const first = serverName === undefined ? Buffer.from("\0") : await helloFor(serverName);
      const answers = new Map<string, number>();
      for (let i = 0; i < Number(count); i++) {
        const answer = await ask(callers[caller!]!, ip, number === undefined ? ports[0]!.port : Number(number), first);
        answers.set(answer, (answers.get(answer) ?? 0) + 1);
      }
      const said = [...answers].sort(([a], [b]) => (a < b ? -1 : 1)).map(([who, often]) => (who === "refused" ? who : `${often} ${who}`)).join(", ");
      if (expected === "one") assert.deepEqual([...answers.values()], [Number(count)], line);
      else assert.equal(said, expected, line);
    }
  });
}
