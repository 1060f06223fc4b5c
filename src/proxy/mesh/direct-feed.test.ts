import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { directFeedPort, type NetSnapshot } from "../../api/network.ts";
import type { Guard } from "../../api/guard.ts";
import { limits } from "../../base/limits.ts";
import { seededRandom } from "../../base/random.ts";
import { isFor } from "./guards.ts";
import { serviceListenerId } from "./listener-id.ts";
import { eventually, nextAddress, port, snapshot, startSupervisor, type TestSupervisor } from "../testing/network.ts";

/** One program's end of the feed; `localAddress` is its pod's. */
async function program(net: TestSupervisor, localAddress?: string) {
  const socket = await eventually(async () => {
    const socket = connect({ port: directFeedPort, host: net.network.dnsIP, ...(localAddress !== undefined && { localAddress }) });
    await once(socket, "connect");
    return socket;
  }, 20_000);
  const told: { way: string; address?: string; http?: boolean; endpoints: string[] }[] = [];
  let rest = "";
  socket.setEncoding("utf8").on("error", () => {});
  socket.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) told.push(JSON.parse(line));
  });
  return { socket, told, say: (question: object | string) => socket.write(`${typeof question === "string" ? question : JSON.stringify(question)}\n`), last: (way: string) => told.findLast((answer) => answer.way === way) };
}

test("what a program is told: of the Services it asks for, as its DNS finds them, at once and at each change", async () => {
  await using net = await startSupervisor();
  const [web, sticky, spread] = [nextAddress(), nextAddress(), nextAddress()];
  const pods = (...numbers: number[]) => numbers.map((number) => ({ ip: "127.0.0.1", port: number }));
  const world = (revision: number, ...numbers: number[]): NetSnapshot =>
    snapshot(
      revision,
      { namespace: "shop", name: "web", clusterIPs: [web], ports: [port(80, pods(...numbers)), port(81, pods(9001), { name: "http", appProtocol: "http" }), port(82, pods(9001), { protocol: "UDP" }), port(83, [{ ip: "192.0.2.7", port: 5432 }])] },
      { namespace: "shop", name: "sticky", clusterIPs: [sticky], affinitySeconds: 60, ports: [port(80, pods(9001))] },
      { namespace: "shop", name: "spread", headless: true, ports: [port(80, pods(9001))] },
      { namespace: "other", name: "web", clusterIPs: [spread], ports: [port(80, pods(9009))] },
    );
  net.publish(world(1, 9001, 9002));
  const one = await program(net);
  const names = (name: string) => [`${name}.shop.svc.cluster.local`, `${name}.svc.cluster.local`, `${name}.cluster.local`, name];
  const asked: [want: string, list: string[] | undefined, answer: object][] = [
    [`${web}:80`, undefined, { address: `${web}:80`, http: false, endpoints: ["127.0.0.1:9001", "127.0.0.1:9002"] }],
    ["web:80", names("web"), { address: `${web}:80`, http: false, endpoints: ["127.0.0.1:9001", "127.0.0.1:9002"] }],
    ["web.other:80", names("web.other"), { address: `${spread}:80`, http: false, endpoints: ["127.0.0.1:9009"] }],
    ["web:81", names("web"), { address: `${web}:81`, http: true, endpoints: ["127.0.0.1:9001"] }],
    ["web:82", names("web"), { endpoints: [] }],
    ["web:83", names("web"), { endpoints: [] }],
    ["web:99", names("web"), { endpoints: [] }],
    ["sticky:80", names("sticky"), { endpoints: [] }],
    ["spread:80", names("spread"), { endpoints: [] }],
    ["pod-1.web.shop:80", ["pod-1.web.shop.svc.cluster.local"], { endpoints: [] }],
    ["nobody:80", names("nobody"), { endpoints: [] }],
  ];
  // The snapshot reaches the worker after the listener is there.
  await eventually(() => {
    one.say({ want: `${web}:80` });
    return (one.last(`${web}:80`)?.endpoints.length ?? 0) > 0;
  }, 20_000);
  for (const [want, list, answer] of asked) {
    one.say({ want, ...(list && { names: list }) });
    assert.deepEqual(await eventually(() => one.last(want), 20_000), { way: want, ...answer }, want);
  }
  const before = one.told.length;
  net.publish(world(2, 9002));
  await eventually(() => one.told.length === before + 2, 20_000);
  assert.deepEqual(one.told.slice(before).map(({ way, endpoints }) => [way, endpoints]).toSorted(), [[`${web}:80`, ["127.0.0.1:9002"]], ["web:80", ["127.0.0.1:9002"]]].toSorted(), "of what has changed alone");
  net.setReady("127.0.0.1", false);
  await eventually(() => one.last("web:80")?.endpoints.length === 0, 20_000);
  one.socket.destroy();
});

test("who says what we do not understand, or too much, is left", async () => {
  await using net = await startSupervisor();
  for (const nonsense of ["GET / HTTP/1.1", "null", "{}{}", JSON.stringify({ want: 7 }), JSON.stringify({ want: "a:1", names: [7] }), JSON.stringify({ hello: {} }), "x".repeat(40_000)]) {
    const one = await program(net);
    const closed = once(one.socket, "close");
    one.say(nonsense);
    await closed;
    assert.deepEqual(one.told, []);
  }
  const many = await program(net);
  for (let i = 0; i <= limits.directWaysMax; i++) many.say({ want: `s${i}:80`, names: [`s${i}.shop.svc.cluster.local`] });
  await eventually(() => many.told.length === limits.directWaysMax + 1, 20_000);
  many.socket.destroy();
});

test("ways are closed for whom a policy or a route stands between, before that is in force; for nobody else, and they come back", { timeout: 120_000 }, async (t) => {
  const seed = Number(process.env["SEED"] ?? 20_251);
  t.diagnostic(`SEED=${seed}`);
  const random = seededRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random.next() * list.length)]!;
  const maybe = (share: number): boolean => random.next() < share;
  await using net = await startSupervisor({ judges: true });
  const pods = Array.from({ length: 5 }, (_, index) => ({ ip: nextAddress(), identity: { namespace: pick(["shop", "bank"]), name: `p${index}`, serviceAccount: "default", labels: { app: `p${index}`, tier: pick(["front", "back"]) } } }));
  const callers = ["shop", "bank"].map((namespace) => ({ ip: nextAddress(), identity: { namespace, name: "caller", serviceAccount: "default", labels: {} } }));
  for (const { ip, identity } of [...pods, ...callers]) net.setPod!(ip, identity);
  // Some pods are behind two Services.
  const services = [[0], [1, 2], [2, 3], [4]].map((members, index) => ({ name: `s${index}`, ip: nextAddress(), pods: members.map((member) => pods[member]!) }));
  net.publish(snapshot(1, ...services.map(({ name, ip, pods }) => ({ namespace: "shop", name, clusterIPs: [ip], ports: [port(80, pods.map(({ ip }) => ({ ip, port: 8080 })), { appProtocol: "http" })] }))));

  const guards = new Map<string, Guard>();
  /** By id: which Service, and for callers of which namespace alone. */
  const routes = new Map<string, { service: string; consumer: string | undefined }>();
  const newGuard = (id: string): Guard => {
    const where = pick<Partial<Guard>>([{}, { namespace: pick(["shop", "bank"]) }, { namespace: pick(["shop", "bank"]), labels: { tier: pick(["front", "back"]) } }, { labels: { app: pick(pods).identity.labels.app } }, { services: [`shop/${pick(services).name}`] }]);
    const authorisation = { name: id, action: pick(["ALLOW", "DENY", "AUDIT"] as const), rules: maybe(0.5) ? [{}] : [], isDryRun: maybe(0.2) };
    return { id, createdAt: 1, ...where, ...pick([{ authorisation }, { authorisation }, { tokens: [{ issuer: "me" }] }, { peer: { mode: "STRICT" as const } }]) };
  };
  const isOpen = (service: (typeof services)[number], caller: (typeof callers)[number]): boolean => {
    // A policy that is only tried or recorded is asked as well. Who must only be known is.
    const asks = [...guards.values()].filter(({ authorisation, tokens }) => authorisation ?? tokens);
    const isGuarded = asks.some((guard) => guard.services?.includes(`shop/${service.name}`) ?? service.pods.some(({ identity }) => isFor(guard, identity)));
    const isRouted = [...routes.values()].some((route) => route.service === service.name && (route.consumer ?? caller.identity.namespace) === caller.identity.namespace);
    return !isGuarded && !isRouted;
  };
  const programs = await Promise.all(callers.map(({ ip }) => program(net, ip)));
  const told = (index: number, ip: string): boolean => (programs[index]!.last(`${ip}:80`)?.endpoints.length ?? 0) > 0;
  for (const { say } of programs) for (const { ip } of services) say({ want: `${ip}:80` });
  await eventually(() => callers.every((_, index) => services.every(({ ip }) => told(index, ip))), 30_000);
  net.publishTraffic({ revision: 2, put: { upstreams: services.map(({ name }) => ({ id: `shop/${name}/80`, namespace: "shop", service: name, port: 80, protocol: "http1" as const })) }, remove: {} });

  let [opened, closed] = [0, 0];
  for (let step = 1; step <= 60; step++) {
    const revision = step + 2;
    if (maybe(0.6)) {
      const id = `g${Math.floor(random.next() * 4)}`;
      if (guards.has(id) && maybe(0.6)) {
        guards.delete(id);
        net.publishTraffic({ revision, put: {}, remove: { guards: [id] } });
      } else {
        guards.set(id, newGuard(id));
        net.publishTraffic({ revision, put: { guards: [guards.get(id)!] }, remove: {} });
      }
    } else {
      const id = `HTTPRoute/shop/r${Math.floor(random.next() * 3)}@services`;
      if (routes.delete(id) && maybe(0.7)) {
        net.publishTraffic({ revision, put: {}, remove: { routes: [id] } });
      } else {
        const route = { service: pick(services).name, consumer: maybe(0.5) ? pick(callers).identity.namespace : undefined };
        routes.set(id, route);
        net.publishTraffic({ revision, remove: {}, put: { routes: [{ id, type: "http", createdAt: 1, attachments: [{ listener: serviceListenerId("shop", route.service, 80, route.consumer), hostnames: [""] }], rules: [{ name: "0", matches: [{ path: { type: "prefix", value: "/" } }], filters: [], backends: [{ upstream: `shop/${route.service}/80`, weight: 1 }] }] }] } });
      }
    }
    await net.settled!();
    // What was told before this answer has arrived before it.
    const marker = `192.0.2.1:${step}`;
    for (const { say } of programs) say({ want: marker });
    await eventually(() => programs.every(({ last }) => last(marker)), 30_000);
    const state = (): string => `step ${step} of SEED=${seed}: ${JSON.stringify([...guards.values()])} ${JSON.stringify([...routes.values()])}`;
    for (const [index, caller] of callers.entries()) {
      for (const service of services) {
        if (isOpen(service, caller)) {
          await eventually(() => told(index, service.ip), 30_000).catch(() => assert.fail(`${caller.identity.namespace} has no way to ${service.name}; ${state()}`));
          opened++;
        } else {
          assert.equal(told(index, service.ip), false, `${caller.identity.namespace} goes past what guards ${service.name}; ${state()}`);
          closed++;
        }
      }
    }
  }
  assert.ok(opened > 50 && closed > 50, `${opened} open, ${closed} closed`);
  for (const { socket } of programs) socket.destroy();
});
