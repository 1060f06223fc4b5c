import assert from "node:assert/strict";
import { test } from "node:test";
import { text } from "node:stream/consumers";
import { startGateway, startProgram, until } from "./testing/gateway.ts";
import { onceAsked, startScript } from "./testing/script.ts";

const get = (path = "/", more = "") => `GET ${path} HTTP/1.1\r\nHost: web.example\r\n${more}\r\n`;

test("a kept connection that turns out to be closed is replaced, for what is safe to repeat", async () => {
  // Each connection answers once, and breaks when it is asked again.
  await using program = await startScript((socket, connection) => {
    let asked = 0;
    onceAsked(socket, () => (asked++ === 0 ? socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${connection}`) : socket.destroy()));
  });
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  const bodies = [];
  for (let i = 0; i < 3; i++) {
    client.send(get());
    bodies.push((await client.answer()).body);
  }
  assert.deepEqual(bodies, ["0", "1", "2"]);
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
  assert.equal((await client.answer()).status, 503, "nobody knows whether it was done");
  assert.deepEqual(gateway.policy.results.map(({ type }) => type), ["answered", "answered", "answered", "local"]);
});

test("an endpoint that does not accept is followed by the next, a POST too; without any the client is told", async () => {
  await using program = await startProgram((request, response) => void text(request).then((body) => response.end(body)));
  const gone = await startScript(() => {});
  const deadPort = gone.port;
  await gone[Symbol.asyncDispose]();
  await using gateway = startGateway([deadPort, program.port]);
  const client = await gateway.open();
  for (let i = 0; i < 4; i++) {
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert.equal((await client.answer()).body, "hi");
  }
  gateway.policy.update([{ ip: "127.0.0.1", port: deadPort, key: `127.0.0.1:${deadPort}` }]);
  gateway.engine.leave("127.0.0.1");
  client.send(get());
  const answer = await client.answer();
  assert.deepEqual([answer.status, answer.body], [503, `127.0.0.1:${deadPort}: it does not accept connections\n`]);
  gateway.policy.update([]);
  client.send(get());
  assert.deepEqual((await client.answer()).body, "nobody is there\n");
});

test("retries: by status, by time, as often as the rule says, never what is not safe", async () => {
  let asked = 0;
  await using program = await startProgram((request, response) => {
    asked++;
    if (request.url === "/slow") return;
    response.statusCode = asked < 3 ? 503 : 200;
    response.end(String(asked));
  });
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  const ask = async (method: string, path: string) => {
    asked = 0;
    client.send(`${method} ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi`);
    const { status } = await client.answer();
    return [status, asked];
  };
  gateway.routed.retry = { attempts: 3, backoffMs: 1, statuses: [503] };
  assert.deepEqual(await ask("PUT", "/"), [200, 3]);
  assert.deepEqual(await ask("POST", "/"), [503, 1]);
  gateway.routed.retry = { attempts: 1, backoffMs: 1, statuses: [503] };
  assert.deepEqual(await ask("GET", "/"), [503, 2]);
  gateway.routed.retry = { attempts: 3, backoffMs: 1, statuses: [503], unsafe: true };
  assert.deepEqual(await ask("POST", "/"), [200, 3]);
  gateway.routed.timeouts = { backendMs: 20 };
  gateway.routed.retry = { attempts: 2, backoffMs: 1, statuses: [] };
  // A program that is slow to read may not hear of a try before it is over: tries are counted where they begin.
  let tries = 0;
  const pick = gateway.policy.pick.bind(gateway.policy);
  gateway.policy.pick = (...how) => (tries++, pick(...how));
  assert.equal((await ask("GET", "/slow"))[0], 504);
  assert.equal(tries, 3);
  gateway.routed.timeouts = { requestMs: 30 };
  assert.equal((await ask("GET", "/slow"))[0], 504);
  assert.equal(tries, 4);
  assert.equal(gateway.policy.running, 0);
});

test("a breaker's bounds: requests wait for a connection, and too many are refused", async () => {
  const waiting: (() => void)[] = [];
  await using program = await startProgram((_request, response) => void waiting.push(() => response.end("OK")));
  await using gateway = startGateway([program.port]);
  gateway.policy.connectionsMax = 1;
  gateway.policy.pendingMax = 1;
  const clients = [await gateway.open(), await gateway.open(), await gateway.open()];
  for (const [i, client] of clients.entries()) {
    client.send(get());
    if (i < 2) await until(() => waiting.length + gateway.policy.pending > i);
  }
  const refused = await clients[2]!.answer();
  assert.equal(refused.status, 503);
  for (const client of clients.slice(0, 2)) {
    await until(() => waiting.length > 0);
    waiting.shift()!();
    assert.equal((await client.answer()).body, "OK");
  }
  assert.deepEqual([gateway.policy.connections, gateway.policy.pending, gateway.policy.running], [1, 0, 0]);
});

test("a breaker's bound: a connection that nobody uses gives way to one that is wanted, and where the bound is lowered all do", { timeout: 20_000 }, async () => {
  await using one = await startProgram((_request, response) => response.end("one"));
  await using other = await startProgram((_request, response) => response.end("other"));
  await using gateway = startGateway([one.port, other.port]);
  const { policy, engine } = gateway;
  const client = await gateway.open();
  const ask = async () => (client.send(get()), (await client.answer()).body);
  policy.connectionsMax = 1;
  for (let i = 0; i < 3; i++) assert.deepEqual([await ask(), await ask(), policy.connections, policy.pending], ["one", "other", 1, 0]);
  policy.connectionsMax = 2;
  assert.deepEqual([await ask(), await ask(), policy.connections], ["one", "other", 2]);
  const { settings } = engine.pool("shop/web/80")!;
  engine.putUpstream({ ...settings, connectionsMax: 1 }, policy);
  assert.equal(policy.connections, 0);
});
