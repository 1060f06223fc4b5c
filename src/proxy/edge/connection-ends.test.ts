import assert from "node:assert/strict";
import { test } from "node:test";
import type { ListenerManners } from "../../api/traffic.ts";
import { until } from "../http/testing/gateway.ts";
import { startEdge } from "./testing/edge-world.ts";

const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

test("a connection that is one too many is told so a while later, and at once where nothing is said", async () => {
  for (const closeDelayMs of [undefined, 3_600_000]) {
    const world = await startEdge({ limits: { connectionsMax: 1, ...(closeDelayMs !== undefined && { closeDelayMs }) } });
    try {
      const first = await world.open();
      first.send(request);
      assert.equal((await first.answer()).status, 200);
      // It may be reset before it has begun.
      const second = await world.open().catch(() => undefined);
      // Not `once`, which an error ends.
      const end = second && new Promise((resolve) => second.socket.on("error", () => {}).on("close", resolve));
      await until(() => world.engine.counters.connectionsRefused === 1);
      if (closeDelayMs === undefined) await end;
      else assert.equal(second!.socket.destroyed, false);
      first.send(request);
      assert.equal((await first.answer()).status, 200, "those that are there are not disturbed");
      // Who waits for its end does not hold up anybody else's.
      world.engine.close();
      await end;
    } finally {
      await world[Symbol.asyncDispose]();
    }
  }
});

test("a connection that has served its time ends idle, and is not asked first; in use it ends with its answer", async () => {
  let answer: (() => void) | undefined;
  await using world = await startEdge({ limits: { connectionMs: 20, endsAtOnce: 1 } }, { program: (_request, response) => void (answer = () => response.end("ok")) });
  const idle = await world.open();
  await idle.until(() => false);
  assert.ok(idle.ended);
  const busy = await world.open();
  busy.send(request);
  await until(() => answer !== undefined);
  const since = performance.now();
  await until(() => performance.now() - since > 20);
  answer!();
  assert.equal((await busy.answer()).header("connection"), "close");
});

/** The manners, the Host that is said, the one that goes on. */
const hosts: [manners: ListenerManners, said: string, goesOn: string][] = [
  [{ healthPath: "/h" }, "a.example.", "a.example."],
  [{ cutsHostDot: true }, "a.example.", "a.example"],
  [{ cutsHostDot: true }, "a.example.:8443", "a.example:8443"],
  [{ cutsHostDot: true }, "a.example", "a.example"],
];
for (const [manners, said, goesOn] of hosts) {
  test(`the dot behind a host: ${said} goes on as ${goesOn}`, async () => {
    await using world = await startEdge({ manners });
    const client = await world.open();
    client.send(`GET / HTTP/1.1\r\nHost: ${said}\r\n\r\n`);
    assert.equal((await client.answer()).status, 200);
    assert.equal(world.asked[0]!.headers.host, goesOn);
  });
}

test("what is left of a limit is told, or is not", async () => {
  for (const hidesLimits of [false, true]) {
    await using world = await startEdge({ manners: { hidesLimits, healthPath: "/h" } }, { filters: [{ type: "quota", rules: [{ id: `told/${hidesLimits}`, limit: 1, unit: "year", hasHeaders: true }] }] });
    const client = await world.open();
    for (const status of [200, 429]) {
      client.send(request);
      const answer = await client.answer();
      assert.deepEqual([answer.status, answer.header("x-ratelimit-remaining"), answer.header("x-ratelimit-limit") !== undefined], [status, hidesLimits ? undefined : "0", !hidesLimits]);
    }
  }
});

/** What is ignored, what is asked for, and whether the connection is upgraded. */
const upgrades: [ignored: ListenerManners["ignoredUpgrades"], asked: string, isUpgraded: boolean][] = [
  [undefined, "websocket", true],
  [[{ type: "prefix", value: "tls/" }], "TLS/1.3", false],
  [[{ type: "prefix", value: "tls/" }], "websocket", true],
  [[{ type: "regex", value: "tls/.*|web.*" }], "WebSocket", false],
];
for (const [ignoredUpgrades, asked, isUpgraded] of upgrades) {
  test(`an upgrade to ${asked} is ${isUpgraded ? "passed on" : "ignored"}`, async () => {
    await using world = await startEdge({ manners: { ...(ignoredUpgrades && { ignoredUpgrades }), healthPath: "/h" } }, { filters: isUpgraded ? [] : [{ type: "upgrades", protocols: [] }] });
    const client = await world.open();
    client.send(`GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${asked}\r\n\r\n`);
    assert.equal((await client.answer()).status, 200);
    assert.equal(world.asked[0]!.headers.upgrade, isUpgraded ? asked : undefined);
  });
}
