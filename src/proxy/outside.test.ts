import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { test } from "node:test";
import { silentLog } from "../base/log.ts";
import { createOutside, isOutside } from "./outside.ts";
import { listen } from "./testing/network.ts";

test("what is outside", () => {
  const own = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).filter(({ family }) => family === "IPv4").map(({ address }) => address));
  const inside = ["0.0.0.0", "0.1.2.3", "10.96.0.1", "10.111.255.255", "10.244.0.1", "10.244.255.9", "127.0.0.1", "127.97.0.5", "169.254.169.254", "169.254.2.1", "224.0.0.251", "240.0.0.1", "255.255.255.255", ...own];
  const nonsense = ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.-4", "::1", "0x7f.0.0.1", "2130706433", "127.1", "localhost", " 192.0.2.1", "192.0.2.1\n"];
  const outside = ["192.0.2.7", "8.8.8.8", "10.0.0.5", "10.95.255.255", "10.112.0.1", "10.243.0.1", "10.245.0.1", "172.16.0.1", "192.168.77.3", "223.255.255.254", "126.0.0.1", "128.0.0.1"].filter((ip) => !own.includes(ip));
  assert.deepEqual([...inside, ...nonsense].filter(isOutside), []);
  assert.deepEqual(outside.filter((ip) => !isOutside(ip)), []);
});

test("the machine is not dialled, whatever listens there", async () => {
  let reached = 0;
  await using server = await listen((socket) => {
    reached++;
    socket.end();
  });
  const guarded = createOutside({ log: silentLog });
  await assert.rejects(guarded.dial("127.0.0.1", server.port), /not outside/);
  assert.equal(reached, 0);
  const open = createOutside({ log: silentLog, allows: () => true });
  const handle = await open.dial("127.0.0.1", server.port);
  handle.close();
  await server[Symbol.asyncDispose]();
  await assert.rejects(open.dial("127.0.0.1", server.port), /connection refused/);
});

test("only names of hosts reach the machine's resolver, and not too many at a time", async () => {
  const asked: string[] = [];
  const waiting = Promise.withResolvers<void>();
  const outside = createOutside({
    log: silentLog,
    resolve: async (name) => {
      asked.push(name);
      if (name === "fails.example.com") throw new Error("no resolver");
      await waiting.promise;
      return { rcode: 0, records: [] };
    },
  });
  for (const name of ["", "localhost", "a..b", "-a.example.com", "a b.example.com", "ü.example.com", "a\\046b.example.com", `${"a".repeat(64)}.com`, `${"a.".repeat(127)}com`]) {
    assert.equal((await outside.resolve(name, "A")).rcode, 3, name);
  }
  assert.deepEqual(asked, []);
  assert.equal((await outside.resolve("fails.example.com", "A")).rcode, 2);
  const many = Array.from({ length: 300 }, (_, i) => outside.resolve(`n${i}.example.com`, "A"));
  waiting.resolve();
  const answers = await Promise.all(many);
  assert.equal(answers.filter(({ rcode }) => rcode === 2).length, 300 - 256);
});
