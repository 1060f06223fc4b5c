import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { directFeedPort, type NetSnapshot } from "../../api/network.ts";
import { limits } from "../../base/limits.ts";
import { eventually, nextAddress, port, snapshot, startSupervisor, type TestSupervisor } from "../testing/network.ts";

/** One program's end of the feed. */
async function program(net: TestSupervisor) {
  const socket = await eventually(async () => {
    const socket = connect(directFeedPort, net.network.dnsIP);
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
