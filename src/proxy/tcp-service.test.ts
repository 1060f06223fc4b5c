import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { eventually, exchange, listen, nextAddress, port, snapshot, startSupervisor } from "./testing/network.ts";

const named = (name: string) => listen((socket) => socket.end(name));
const local = (server: { port: number }, rest: { ready?: boolean; terminating?: boolean } = {}) => ({ ip: "127.0.0.1", port: server.port, ...rest });

/** The first `times` answers at an address that already answers. */
async function answers(ip: string, number: number, times: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < times; i++) {
    const answer = await exchange(ip, number);
    counts[answer] = (counts[answer] ?? 0) + 1;
  }
  return counts;
}

test("connections take turns; an endpoint that refuses is passed over", async () => {
  await using net = await startSupervisor();
  await using one = await named("one");
  await using two = await named("two");
  const gone = await named("gone");
  await gone[Symbol.asyncDispose]();
  const ip = nextAddress();
  net.publish(snapshot(1, { name: "web", clusterIPs: [ip], ports: [port(7000, [local(one), local(two), local(gone)])] }));
  await eventually(() => exchange(ip, 7000));
  const counts = await answers(ip, 7000, 30);
  assert.equal(counts["gone"], undefined);
  assert.equal(counts["one"]! + counts["two"]!, 30);
  assert.ok(counts["one"]! >= 10 && counts["two"]! >= 10, JSON.stringify(counts));
});

test("when every endpoint refuses, the client is reset, not left waiting", async () => {
  await using net = await startSupervisor();
  const gone = await named("gone");
  await gone[Symbol.asyncDispose]();
  const ip = nextAddress();
  net.publish(snapshot(1, { name: "web", clusterIPs: [ip], ports: [port(7000, [local(gone)])] }));
  await eventually(() => exchange(ip, 7000).then(() => false, (error: Error) => error.message === "ECONNRESET"));
});

test("ClientIP affinity: one client, one endpoint, until that endpoint goes", async () => {
  await using net = await startSupervisor();
  await using one = await named("one");
  await using two = await named("two");
  const ip = nextAddress();
  const web = (...servers: { port: number }[]) => ({ name: "web", clusterIPs: [ip], affinitySeconds: 600, ports: [port(7000, servers.map((server) => local(server)))] });
  net.publish(snapshot(1, web(one, two)));
  const [first] = Object.keys(await eventually(() => answers(ip, 7000, 12)));
  assert.deepEqual(await answers(ip, 7000, 12), { [first!]: 12 });
  const [kept, other] = first === "one" ? [two, "two"] : [one, "one"];
  net.publish(snapshot(2, web(kept)));
  await eventually(async () => (await exchange(ip, 7000)) === other);
  net.publish(snapshot(3, web(one, two)));
  await eventually(async () => JSON.stringify(await answers(ip, 7000, 6)) === JSON.stringify({ [other]: 6 }));
});

test("which endpoints count", async (t) => {
  await using net = await startSupervisor();
  await using one = await named("one");
  await using two = await named("two");
  const cases: { what: string; endpoints: Parameters<typeof port>[1]; publishNotReadyAddresses?: boolean; expect: string[] }[] = [
    { what: "ready ones", endpoints: [local(one), local(two, { ready: false })], expect: ["one"] },
    { what: "not the terminating ones", endpoints: [local(one), local(two, { terminating: true })], expect: ["one"] },
    { what: "terminating ones that serve, when no other is left", endpoints: [local(one, { ready: false }), local(two, { terminating: true })], expect: ["two"] },
    { what: "all, with publishNotReadyAddresses", endpoints: [local(one, { ready: false }), local(two)], publishNotReadyAddresses: true, expect: ["one", "two"] },
    { what: "none", endpoints: [local(one, { ready: false })], expect: ["ECONNREFUSED"] },
  ];
  let revision = 0;
  for (const { what, endpoints, expect, ...rest } of cases) {
    await t.test(what, async () => {
      const ip = nextAddress();
      net.publish(snapshot(++revision, { name: `web-${revision}`, clusterIPs: [ip], ports: [port(7000, endpoints)], ...rest }));
      await eventually(async () => {
        const counts = await answers(ip, 7000, 6).catch((error: Error) => ({ [error.message]: 1 }));
        assert.deepEqual(Object.keys(counts).toSorted(), expect);
        return true;
      });
    });
  }
});

test("half-close both ways, and bytes in full both ways", async () => {
  await using net = await startSupervisor();
  const bytes = Buffer.alloc(3_000_000, "wherry ");
  // Says how much it got only after the client's FIN, then sends much itself.
  await using pod = await listen((socket) => {
    let got = 0;
    socket.on("data", (data: Buffer) => (got += data.length)).on("end", () => socket.end(Buffer.concat([Buffer.from(`${got}:`), bytes])));
  });
  const ip = nextAddress();
  net.publish(snapshot(1, { name: "web", clusterIPs: [ip], ports: [port(7000, [local(pod)])] }));
  await eventually(() => exchange(ip, 7000));
  const answer = await exchange(ip, 7000, bytes.toString());
  assert.equal(answer.length, 3_000_000 + "3000000:".length);
  assert.ok(answer.startsWith("3000000:wherry "));

  // The other way round: the pod ends first, and still reads what the client says afterwards.
  const heard = Promise.withResolvers<string>();
  await using speaker = await listen((socket) => {
    let text = "";
    socket.end("bye");
    socket.on("data", (data: Buffer) => (text += data)).on("end", () => heard.resolve(text));
  });
  net.publish(snapshot(2, { name: "web", clusterIPs: [ip], ports: [port(7000, [local(speaker)])] }));
  await eventually(async () => {
    const client = connect({ port: 7000, host: ip, allowHalfOpen: true }).setEncoding("utf8");
    const [text] = (await once(client, "data")) as [string];
    if (text !== "bye") return false;
    await once(client, "end");
    client.end("still here");
    return true;
  });
  assert.equal(await heard.promise, "still here");
});

test("a reader that is slow holds the writer back instead of filling memory", async () => {
  await using net = await startSupervisor();
  let written = 0;
  let drained = false;
  await using pod = await listen((socket) => {
    const chunk = Buffer.alloc(64 * 1024, "x");
    const write = () => {
      while (written < 400 * chunk.length) {
        written += chunk.length;
        if (!socket.write(chunk)) return void socket.once("drain", write);
      }
      drained = true;
      socket.end();
    };
    write();
  });
  const ip = nextAddress();
  net.publish(snapshot(1, { name: "web", clusterIPs: [ip], ports: [port(7000, [local(pod)])] }));
  const client = await eventually(async () => {
    const socket = connect(7000, ip);
    await once(socket, "connect");
    return socket;
  });
  client.pause();
  // 25 MB do not fit into the kernel's buffers; the pod must come to a stop.
  let before = -1;
  await eventually(async () => {
    const stands = written === before && written > 0;
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 100));
    return stands;
  });
  assert.equal(drained, false);
  let got = 0;
  client.on("data", (data: Buffer) => (got += data.length)).resume();
  await once(client, "end");
  assert.equal(got, 400 * 64 * 1024);
});

test("a reset passes through", async () => {
  await using net = await startSupervisor();
  await using pod = await listen((socket) => socket.once("data", () => socket.resetAndDestroy()));
  const ip = nextAddress();
  net.publish(snapshot(1, { name: "web", clusterIPs: [ip], ports: [port(7000, [local(pod)])] }));
  await eventually(() => exchange(ip, 7000, "x").then(() => false, (error: Error) => error.message === "ECONNRESET"));
});

test("an endpoint that leaves keeps its connections", async () => {
  await using net = await startSupervisor();
  await using pod = await listen((socket) => socket.pipe(socket));
  await using next = await named("next");
  const ip = nextAddress();
  const web = (server: { port: number }) => ({ name: "web", clusterIPs: [ip], ports: [port(7000, [local(server)])] });
  net.publish(snapshot(1, web(pod)));
  const client = await eventually(async () => {
    const socket = connect(7000, ip);
    await once(socket, "connect");
    return socket;
  });
  client.setEncoding("utf8");
  client.write("one");
  assert.deepEqual(await once(client, "data"), ["one"]);
  net.publish(snapshot(2, web(next)));
  await eventually(async () => (await exchange(ip, 7000)) === "next");
  net.publish(snapshot(3));
  await eventually(() => exchange(ip, 7000).then(() => false, (error: Error) => error.message === "ECONNREFUSED"));
  client.write("two");
  assert.deepEqual(await once(client, "data"), ["two"]);
  client.destroy();
});

test("a thousand connections at once", async () => {
  await using net = await startSupervisor();
  await using pod = await listen((socket) => socket.pipe(socket));
  const ip = nextAddress();
  net.publish(snapshot(1, { name: "web", clusterIPs: [ip], ports: [port(7000, [local(pod)])] }));
  await eventually(() => exchange(ip, 7000, "x"));
  const clients: Socket[] = await Promise.all(
    Array.from({ length: 1000 }, async () => {
      const socket = connect(7000, ip).setEncoding("utf8");
      await once(socket, "connect");
      return socket;
    }),
  );
  const echoed = await Promise.all(
    clients.map(async (client, i) => {
      client.write(`client ${i}`);
      const [text] = (await once(client, "data")) as [string];
      return text === `client ${i}`;
    }),
  );
  assert.equal(echoed.filter(Boolean).length, 1000);
  for (const client of clients) client.destroy();
});

test("two workers share the connections of one address, also after one is killed", async () => {
  await using net = await startSupervisor({ workers: 2 });
  await using pod = await named("pod");
  const ip = nextAddress();
  net.publish(snapshot(1, { name: "web", clusterIPs: [ip], ports: [port(7000, [local(pod)])] }));
  await eventually(async () => (await answers(ip, 7000, 20))["pod"] === 20);
  const [first, second] = net.pids();
  process.kill(first!, "SIGKILL");
  await eventually(() => net.pids().length === 2 && net.pids()[0] !== first);
  assert.equal(net.pids()[1], second);
  const results = await Promise.all(Array.from({ length: 40 }, () => exchange(ip, 7000).catch((error: Error) => error.message)));
  assert.deepEqual(results.filter((result) => result !== "pod"), []);
});
