import assert from "node:assert/strict";
import { test } from "node:test";
import { candidates, dialPort } from "./addresses.ts";
import { bindArguments, connectArguments, listenArguments } from "./listen.ts";

const ip = "127.97.0.2";
const callback = () => {};

test("listen: every form ends at the pod's address, handles and paths stay", () => {
  const handle = { _handle: {} };
  const cases: [unknown[], unknown[]][] = [
    [[], [{ port: 0, host: ip }]],
    [[callback], [{ port: 0, host: ip }, callback]],
    [[8080], [{ port: 8080, host: ip }]],
    [["8080"], [{ port: 8080, host: ip }]],
    [[8080, callback], [{ port: 8080, host: ip }, callback]],
    [[8080, "0.0.0.0"], [{ port: 8080, host: ip }]],
    [[8080, "::", 511, callback], [{ port: 8080, host: ip, backlog: 511 }, callback]],
    [[8080, 511], [{ port: 8080, host: ip, backlog: 511 }]],
    [[8080, undefined, callback], [{ port: 8080, host: ip }, callback]],
    [[8080, "127.97.0.9"], [{ port: 8080, host: "127.97.0.9" }]],
    [[{ port: 8080 }], [{ port: 8080, host: ip }]],
    [[{ port: 8080, host: "localhost", exclusive: true }, callback], [{ port: 8080, host: ip, exclusive: true }, callback]],
    [[{ path: "/run/x.sock" }], [{ path: "/run/x.sock" }]],
    [[{ fd: 3 }], [{ fd: 3 }]],
    [[handle], [handle]],
    [["/run/x.sock", callback], ["/run/x.sock", callback]],
  ];
  for (const [args, expected] of cases) assert.deepEqual(listenArguments(args, ip), expected, JSON.stringify(args));
});

test("connect: loopback is the pod itself; Node's own mark survives", () => {
  const cases: [unknown[], unknown[]][] = [
    [[8080], [{ port: 8080, host: ip }]],
    [[8080, callback], [{ port: 8080, host: ip }, callback]],
    [[8080, "localhost", callback], [{ port: 8080, host: ip }, callback]],
    [[8080, "127.96.3.4"], [{ port: 8080, host: "127.96.3.4" }]],
    [[80, "user-service"], [{ port: 80, host: "user-service" }]],
    [[{ port: 5432, host: "::1", timeout: 5 }], [{ port: 5432, host: ip, timeout: 5 }]],
    [[{ path: "/run/x.sock" }], [{ path: "/run/x.sock" }]],
    [["/run/x.sock"], ["/run/x.sock"]],
  ];
  for (const [args, expected] of cases) assert.deepEqual(connectArguments(args, ip), expected, JSON.stringify(args));
  const mark = Symbol("normalized");
  const normalized: any = [{ port: 1, host: "localhost" }, callback];
  normalized[mark] = true;
  const [again] = connectArguments([normalized], ip) as any[];
  assert.deepEqual([again[0], again[1], again[mark]], [{ port: 1, host: ip }, callback, true]);
});

test("bind of datagram sockets", () => {
  const cases: [unknown[], unknown[]][] = [
    [[], [{ port: 0, address: ip }]],
    [[53], [{ port: 53, address: ip }]],
    [[53, "0.0.0.0", callback], [{ port: 53, address: ip }, callback]],
    [[callback], [{ port: 0, address: ip }, callback]],
    [[{ port: 53, exclusive: true }], [{ port: 53, exclusive: true, address: ip }]],
    [[{ fd: 3 }], [{ fd: 3 }]],
  ];
  for (const [args, expected] of cases) assert.deepEqual(bindArguments(args, ip), expected, JSON.stringify(args));
});

test("low ports of Services lie higher where they may not be bound", () => {
  const cases: [string, number, number, number][] = [
    ["127.96.3.4", 80, 1024, 40_080],
    ["127.96.3.4", 1023, 1024, 41_023],
    ["127.96.3.4", 1024, 1024, 1024],
    ["127.96.3.4", 80, 80, 80],
    ["127.96.3.4", 79, 80, 40_079],
    ["127.96.3.4", 80, 0, 80],
    ["127.97.0.1", 80, 1024, 80],
    ["192.0.2.7", 80, 1024, 80],
  ];
  for (const [address, port, privilegedPortsBelow, expected] of cases) assert.equal(dialPort(address, port, { serviceNetwork: "127.96.", privilegedPortsBelow, privilegedPortOffset: 40_000 }), expected, `${address}:${port} where ports below ${privilegedPortsBelow} are closed`);
});

test("names: the search list and ndots", () => {
  const searches = ["shop.svc.cluster.local", "svc.cluster.local"];
  assert.deepEqual(candidates("users", searches, 5), ["users.shop.svc.cluster.local", "users.svc.cluster.local", "users"]);
  assert.deepEqual(candidates("a.b.c.d.e.f", searches, 5), ["a.b.c.d.e.f", "a.b.c.d.e.f.shop.svc.cluster.local", "a.b.c.d.e.f.svc.cluster.local"]);
  assert.deepEqual(candidates("example.com.", searches, 5), ["example.com"]);
});
