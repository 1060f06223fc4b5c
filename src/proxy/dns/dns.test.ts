import assert from "node:assert/strict";
import { test } from "node:test";
import type { NetSnapshot } from "../../api/network.ts";
import { silentLog } from "../../base/log.ts";
import { seededRandom } from "../../base/random.ts";
import { ServiceTable } from "../service-table.ts";
import { port, snapshot } from "../testing/network.ts";
import { decodeQuery, types } from "./message.ts";
import { DnsServer, type ResolveOutside } from "./server.ts";
import { Zone } from "./zone.ts";

const pods = ["10.244.0.2", "10.244.0.3", "10.244.0.4"] as const;
const world = snapshot(
  7,
  { name: "web", namespace: "shop", clusterIPs: ["10.96.0.5"], ports: [port(80, [{ ip: pods[0], port: 8080 }], { name: "http" }), port(53, [], { name: "names", protocol: "UDP" })] },
  {
    name: "db",
    namespace: "shop",
    headless: true,
    ports: [port(5432, [{ ip: pods[0], port: 5432 }, { ip: pods[1], port: 5432, ready: false }], { name: "sql" })],
    hostnames: [
      { hostname: "db-0", ip: pods[0], ready: true },
      { hostname: "db-1", ip: pods[1], ready: false },
      { hostname: "db-2", ip: pods[2], ready: true, terminating: true },
    ],
  },
  { name: "peers", namespace: "shop", headless: true, publishNotReadyAddresses: true, hostnames: [{ hostname: "10-244-0-3", ip: pods[1], ready: false }] },
  { name: "empty", namespace: "shop", headless: true },
  { name: "alias", namespace: "shop", type: "ExternalName", externalName: "web.shop.svc.cluster.local" },
  { name: "far", namespace: "shop", type: "ExternalName", externalName: "api.example.com" },
  { name: "loop", namespace: "shop", type: "ExternalName", externalName: "loop.shop.svc.cluster.local" },
);

function server(snapshot: NetSnapshot = world, outside: ResolveOutside = async () => ({ rcode: 3, records: [] })) {
  const table = new ServiceTable(snapshot, seededRandom(1));
  return { table, dns: new DnsServer(new Zone(table), outside, silentLog) };
}

/** A question as a resolver writes it. */
function question(name: string, type: number, { id = 0x1234, edns }: { id?: number; edns?: number } = {}): Buffer {
  const labels = name === "" ? [] : name.split(".").map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label, "latin1")]));
  const head = Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, edns === undefined ? 0 : 1]);
  const tail = Buffer.from([0, type >> 8, type & 255, 0, 1]);
  return Buffer.concat([head, ...labels, tail, edns === undefined ? Buffer.alloc(0) : Buffer.from([0, 0, 41, edns >> 8, edns & 255, 0, 0, 0, 0, 0, 0])]);
}

interface Reply {
  rcode: number;
  truncated: boolean;
  authoritative: boolean;
  answers: string[];
  authority: string[];
  additional: string[];
}

/** A reader of its own, so that the writer is not checked by itself. */
function read(message: Buffer): Reply {
  let at = 12;
  const name = (): string => {
    const labels: string[] = [];
    let [here, jumped, jumps] = [at, false, 0];
    for (;;) {
      const length = message[here]!;
      if (length >= 0xc0) {
        assert.ok(++jumps < 20, "pointers go in circles");
        const target = message.readUInt16BE(here) & 0x3fff;
        assert.ok(target < here, "a pointer must point back");
        if (!jumped) at = here + 2;
        [here, jumped] = [target, true];
        continue;
      }
      if (length === 0) break;
      labels.push(message.toString("latin1", here + 1, here + 1 + length));
      here += 1 + length;
    }
    if (!jumped) at = here + 1;
    return labels.join(".");
  };
  const u16 = () => message.readUInt16BE((at += 2) - 2);
  const u32 = () => message.readUInt32BE((at += 4) - 4);
  const record = (): string => {
    const [owner, type] = [name(), u16()];
    if (type === types.OPT) {
      const size = u16();
      u32();
      const options = u16();
      at += options;
      return `OPT ${size}`;
    }
    u16();
    const ttl = u32();
    const length = u16();
    const end = at + length;
    const text = ((): string => {
      if (type === types.A) return `A ${[...message.subarray(at, (at += 4))].join(".")}`;
      if (type === types.SRV) return `SRV ${u16()} ${u16()} ${u16()} ${name()}`;
      if (type === types.MX) return `MX ${u16()} ${name()}`;
      if (type === types.TXT) return `TXT ${message.toString("latin1", at + 1, (at = end))}`;
      if (type === types.SOA) return `SOA ${name()} ${name()} ${u32()} ${[u32(), u32(), u32(), u32()].at(-1)}`;
      return `${Object.keys(types).find((key) => types[key as keyof typeof types] === type)} ${name()}`;
    })();
    assert.equal(at, end, `${text} has the length it says`);
    return `${owner} ${ttl} ${text}`;
  };
  const flags = message.readUInt16BE(2);
  for (let i = 0; i < message.readUInt16BE(4); i++) {
    name();
    at += 4;
  }
  const section = (offset: number) => Array.from({ length: message.readUInt16BE(offset) }, record);
  const reply = { rcode: flags & 15, truncated: (flags & 0x0200) !== 0, authoritative: (flags & 0x0400) !== 0, answers: section(6), authority: section(8), additional: section(10) };
  assert.equal(at, message.length, "nothing follows the records");
  return reply;
}

async function ask(dns: DnsServer, name: string, type: keyof typeof types = "A", options: { edns?: number; tcp?: boolean } = {}): Promise<Reply> {
  const answer = await dns.answer(question(name, types[type], options), options.tcp ? "tcp" : "udp");
  return read(answer!);
}

const ok = 0;
const nxdomain = 3;
const cases: { name: string; type?: keyof typeof types; rcode: number; answers?: string[]; why?: string }[] = [
  { name: "web.shop.svc.cluster.local", rcode: ok, answers: ["web.shop.svc.cluster.local 5 A 10.96.0.5"] },
  { name: "WEB.Shop.svc.cluster.LOCAL", rcode: ok, answers: ["WEB.Shop.svc.cluster.LOCAL 5 A 10.96.0.5"], why: "case does not matter, and is echoed" },
  { name: "web.shop.svc.cluster.local", type: "AAAA", rcode: ok, answers: [], why: "NODATA, not NXDOMAIN: musl gives up on NXDOMAIN" },
  { name: "web.shop.svc.cluster.local", type: "SRV", rcode: ok, answers: ["web.shop.svc.cluster.local 5 SRV 0 50 80 web.shop.svc.cluster.local", "web.shop.svc.cluster.local 5 SRV 0 50 53 web.shop.svc.cluster.local"] },
  { name: "_http._tcp.web.shop.svc.cluster.local", type: "SRV", rcode: ok, answers: ["_http._tcp.web.shop.svc.cluster.local 5 SRV 0 100 80 web.shop.svc.cluster.local"] },
  { name: "_http._tcp.web.shop.svc.cluster.local", rcode: ok, answers: [] },
  { name: "_http._udp.web.shop.svc.cluster.local", type: "SRV", rcode: nxdomain },
  { name: "_names._udp.web.shop.svc.cluster.local", type: "SRV", rcode: ok, answers: ["_names._udp.web.shop.svc.cluster.local 5 SRV 0 100 53 web.shop.svc.cluster.local"] },
  { name: "db.shop.svc.cluster.local", rcode: ok, answers: ["db.shop.svc.cluster.local 5 A 10.244.0.2"], why: "headless: ready pods only" },
  { name: "db-0.db.shop.svc.cluster.local", rcode: ok, answers: ["db-0.db.shop.svc.cluster.local 5 A 10.244.0.2"] },
  { name: "db-1.db.shop.svc.cluster.local", rcode: nxdomain },
  { name: "_sql._tcp.db.shop.svc.cluster.local", type: "SRV", rcode: ok, answers: ["_sql._tcp.db.shop.svc.cluster.local 5 SRV 0 100 5432 db-0.db.shop.svc.cluster.local"] },
  { name: "peers.shop.svc.cluster.local", rcode: ok, answers: ["peers.shop.svc.cluster.local 5 A 10.244.0.3"], why: "publishNotReadyAddresses" },
  { name: "10-244-0-3.peers.shop.svc.cluster.local", rcode: ok, answers: ["10-244-0-3.peers.shop.svc.cluster.local 5 A 10.244.0.3"] },
  { name: "empty.shop.svc.cluster.local", rcode: nxdomain },
  { name: "alias.shop.svc.cluster.local", rcode: ok, answers: ["alias.shop.svc.cluster.local 5 CNAME web.shop.svc.cluster.local", "web.shop.svc.cluster.local 5 A 10.96.0.5"] },
  { name: "far.shop.svc.cluster.local", type: "CNAME", rcode: ok, answers: ["far.shop.svc.cluster.local 5 CNAME api.example.com"] },
  { name: "10-244-0-9.shop.pod.cluster.local", rcode: ok, answers: ["10-244-0-9.shop.pod.cluster.local 5 A 10.244.0.9"] },
  { name: "10-244-0-999.shop.pod.cluster.local", rcode: nxdomain },
  { name: "5.0.96.10.in-addr.arpa", type: "PTR", rcode: ok, answers: ["5.0.96.10.in-addr.arpa 5 PTR web.shop.svc.cluster.local"] },
  { name: "2.0.244.10.in-addr.arpa", type: "PTR", rcode: ok, answers: ["2.0.244.10.in-addr.arpa 5 PTR db-0.db.shop.svc.cluster.local"] },
  { name: "9.9.9.10.in-addr.arpa", type: "PTR", rcode: nxdomain },
  { name: "shop.svc.cluster.local", rcode: ok, answers: [] },
  { name: "svc.cluster.local", rcode: ok, answers: [] },
  { name: "cluster.local", type: "SOA", rcode: ok, answers: ["cluster.local 5 SOA ns.dns.cluster.local hostmaster.cluster.local 7 5"] },
  { name: "nothere.svc.cluster.local", rcode: nxdomain },
  { name: "web.svc.cluster.local", rcode: nxdomain },
  { name: "web", rcode: nxdomain, why: "a bare name has been through the search list" },
  { name: "example.com.shop.svc.cluster.local", rcode: nxdomain, why: "the search list must be able to go on" },
];

test("names of the cluster", async (t) => {
  const { dns } = server();
  for (const { name, type, rcode, answers = [], why } of cases) {
    await t.test(`${name} ${type ?? "A"}${why ? `: ${why}` : ""}`, async () => {
      const reply = await ask(dns, name, type);
      assert.deepEqual({ rcode: reply.rcode, answers: reply.answers }, { rcode, answers });
      assert.equal(reply.authoritative, true);
      if (answers.length === 0) assert.match(reply.authority.join(), /^cluster\.local 5 SOA .* 5$/, "a no says how long it may be believed");
    });
  }
});

test("one answer, byte by byte", () => {
  const { dns } = server();
  const asked = question("web.shop.svc.cluster.local", types.A);
  const expected = [
    "1234 8580 0001 0001 0000 0000", // id; answer, authoritative, recursion wanted and offered; one question, one answer
    "03 776562 04 73686f70 03 737663 07 636c7573746572 05 6c6f63616c 00 0001 0001",
    "c00c 0001 0001 00000005 0004 0a600005", // the name by pointer, A, IN, 5 seconds, 10.96.0.5
  ].join("").replaceAll(" ", "");
  assert.equal((dns.answer(asked, "udp") as Buffer).toString("hex"), expected);
});

test("the agent's readiness goes before the snapshot's", async () => {
  const { dns, table } = server();
  table.setReady(pods[0], false);
  table.setReady(pods[1], true);
  assert.deepEqual((await ask(dns, "db.shop.svc.cluster.local")).answers, ["db.shop.svc.cluster.local 5 A 10.244.0.3"]);
});

test("what does not fit: cut and marked over UDP, whole over TCP and with a larger EDNS buffer as far as that goes", async () => {
  const many = Array.from({ length: 200 }, (_, i) => ({ hostname: `p-${i}`, ip: `10.244.1.${i}`, ready: true }));
  const { dns } = server(snapshot(1, { name: "all", headless: true, hostnames: many }));
  const plain = await ask(dns, "all.default.svc.cluster.local");
  assert.equal(plain.truncated, true);
  assert.ok(plain.answers.length > 20 && plain.answers.length < 30, `${plain.answers.length} answers`);
  const edns = await ask(dns, "all.default.svc.cluster.local", "A", { edns: 4096 });
  assert.ok(edns.truncated && edns.answers.length > 60 && edns.additional.includes("OPT 1232"));
  const message = dns.answer(question("all.default.svc.cluster.local", types.A, { edns: 4096 }), "udp") as Buffer;
  assert.ok(message.length <= 1232, `${message.length} bytes`);
  const tcp = await ask(dns, "all.default.svc.cluster.local", "A", { tcp: true });
  assert.deepEqual([tcp.truncated, tcp.answers.length], [false, 200]);
});

test("other names are asked for outside, once for many, and remembered", async () => {
  const asked: string[] = [];
  const { dns } = server(world, async (name, type) => {
    asked.push(`${type} ${name}`);
    if (name === "broken.example.com") throw new Error("no route");
    if (name === "nobody.example.com") return { rcode: 3, records: [] };
    return { rcode: 0, records: [{ name, ttl: 30, type: "A", ip: "192.0.2.1" }] };
  });
  const replies = await Promise.all([1, 2, 3].map(() => ask(dns, "api.example.com")));
  assert.deepEqual(replies[2]!.answers, ["api.example.com 30 A 192.0.2.1"]);
  assert.deepEqual((await ask(dns, "far.shop.svc.cluster.local")).answers, ["far.shop.svc.cluster.local 5 CNAME api.example.com", "api.example.com 30 A 192.0.2.1"]);
  assert.deepEqual(asked, ["A api.example.com"]);
  assert.equal((await ask(dns, "nobody.example.com")).rcode, nxdomain);
  assert.equal((await ask(dns, "broken.example.com")).rcode, 2);
  assert.deepEqual((await ask(dns, "api.example.com", "AAAA")).answers, [], "egress is IPv4 only");
});

test("an alias that leads to itself ends", async () => {
  const { dns } = server();
  const { answers } = await ask(dns, "loop.shop.svc.cluster.local", "A", { tcp: true });
  assert.ok(answers.length > 0 && answers.length < 12);
});

test("malformed messages get an error or silence, never an exception", () => {
  const { dns } = server();
  const good = question("web.shop.svc.cluster.local", types.A, { edns: 1232 });
  let seed = 12345;
  const random = (bound: number) => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % bound;
  for (let i = 0; i < 20_000; i++) {
    const message = Buffer.from(good.subarray(0, i % 3 === 0 ? random(good.length + 1) : good.length));
    for (let changes = random(6); changes > 0 && message.length > 0; changes--) message[random(message.length)] = random(256);
    const answer = dns.answer(message, "udp");
    if (answer instanceof Buffer) {
      assert.ok(answer.length >= 12 && answer.length <= 1232);
      if (answer.length > 12) read(answer);
    }
  }
  assert.equal(dns.answer(Buffer.alloc(11), "udp"), undefined);
  const response = Buffer.from(good);
  response[2] = 0x81;
  assert.equal(dns.answer(response, "udp"), undefined, "answers are not answered");
  assert.deepEqual(decodeQuery(Buffer.from("00010100000200000000000000", "hex")), { id: 1, rcode: 1 });
});
