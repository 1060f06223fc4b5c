import assert from "node:assert/strict";
import { get } from "node:http";
import { test } from "node:test";
import { text } from "node:stream/consumers";
import { eventually, gatewayTo, listen, nextAddress, port, snapshot, startSupervisor } from "../testing/network.ts";

test("each worker keeps its own, and a purge empties all of them, by name and by what the address begins with; what rules refuse is counted over all", async () => {
  await using net = await startSupervisor({ workers: 2 });
  let asked = 0;
  let gate = Promise.resolve();
  const answer = (text: string) => `HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: ${text.length}\r\nconnection: close\r\n\r\n${text}`;
  await using pod = await listen((socket) =>
    socket.on("data", () => {
      const text = String(++asked);
      void gate.then(() => socket.end(answer(text)));
    }),
  );
  const [ip, address] = [nextAddress(), nextAddress()];
  net.publish(snapshot(1, { name: "web", clusterIPs: [ip], ports: [port(80, [{ ip: "127.0.0.1", port: pod.port }])] }));
  net.publishTraffic({ revision: 1, put: gatewayTo(address, 80, [{ type: "requestRules", share: "catalogue/prod", rules: [{ name: "no", deny: { in: ["path"], pattern: "denied" } }, { name: "on trial", dryRun: true, deny: { in: ["path"], pattern: "tried" } }] }, { type: "cache", share: "catalogue/prod", name: "catalogue" }]), remove: {} });
  /** Each on a connection of its own, which meets either worker. */
  const ask = (path = "/products/1") => new Promise<string>((resolve, reject) => get({ host: address, port: 8080, path, agent: false, headers: { host: "shop.example" } }, (response) => resolve(text(response))).on("error", reject));
  /** Until both have asked the program once. */
  const known = async (answers: string[]) => {
    const found = new Set<string>();
    await eventually(async () => {
      const got = await ask();
      assert.ok(answers.includes(got), `${got} is neither of ${answers.join(" and ")}`);
      return found.add(got).size === 2;
    }, 20_000);
  };
  await eventually(() => ask());
  await known(["1", "2"]);
  assert.deepEqual([await net.purge("catalogue/dev", ""), await net.purge("catalogue", ""), await net.purge("catalogue/prod", "/orders"), await net.purge("catalogue/prod", "other.example/")], [0, 0, 0, 0]);
  await known(["1", "2"]);
  assert.equal(await net.purge("catalogue/prod", "shop.example/products"), 2);
  await known(["3", "4"]);
  assert.equal(await net.purge("catalogue/prod", "/products/"), 2);
  await known(["5", "6"]);
  assert.equal(await net.purge("catalogue/prod", ""), 2);
  assert.equal(await net.purge("catalogue/prod", ""), 0);

  // What both are fetching when it comes is told to whoever asked, and not kept.
  const held = Promise.withResolvers<void>();
  gate = held.promise;
  const before = asked;
  const waiting: Promise<string>[] = [];
  await eventually(async () => {
    waiting.push(ask());
    await new Promise((resolve) => setImmediate(resolve));
    return asked >= before + 2;
  }, 20_000);
  assert.equal(await net.purge("catalogue/prod", ""), 0);
  const old = Array.from({ length: asked - before }, (_, i) => String(before + 1 + i));
  held.resolve();
  const told = await Promise.all(waiting);
  assert.ok(told.every((text) => Number(text) > before) && old.some((text) => told.includes(text)), "they are answered");
  for (let i = 0; i < 20; i++) assert.ok(!old.includes(await ask()), "an old answer was kept");

  // What rules refuse is counted over both.
  for (let i = 0; i < 8; i++) assert.equal(await ask("/denied"), "refused by rule no\n");
  for (let i = 0; i < 3; i++) await ask(`/tried/${i}`);
  assert.deepEqual([await net.ruleCounts("catalogue/prod"), await net.ruleCounts("catalogue/dev")], [[{ name: "no", refused: 8, logged: 0 }, { name: "on trial", refused: 0, logged: 3 }], []]);
});
