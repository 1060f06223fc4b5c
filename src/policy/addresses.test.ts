import assert from "node:assert/strict";
import { BlockList, isIP } from "node:net";
import { test } from "node:test";
import { randomInt, seededRandom } from "../base/random.ts";
import { AddressRanges, parseAddress } from "./addresses.ts";

const good: [text: string, words: number[]][] = [
  ["0.0.0.0", [0]],
  ["255.255.255.255", [0xffffffff]],
  ["10.1.2.3", [0x0a010203]],
  ["::", [0, 0, 0, 0]],
  ["::1", [0, 0, 0, 1]],
  ["2001:db8::1", [0x20010db8, 0, 0, 1]],
  ["1:2:3:4:5:6:7:8", [0x10002, 0x30004, 0x50006, 0x70008]],
  ["1::8", [0x10000, 0, 0, 8]],
  ["fe80::1%eth0", [0xfe800000, 0, 0, 1]],
  ["::ffff:10.1.2.3", [0x0a010203]],
  ["::FFFF:0a01:0203", [0x0a010203]],
  ["::1.2.3.4", [0, 0, 0, 0x01020304]],
  ["64:ff9b::1.2.3.4", [0x0064ff9b, 0, 0, 0x01020304]],
];
for (const [text, words] of good) test(`address ${text}`, () => assert.deepEqual(parseAddress(text), words));

for (const text of ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.-4", "1:2", ":::", "1::2::3", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8:9", "12345::", "::g", ":1", "1.2.3.4:80", "::1.2.3", "localhost"]) {
  test(`no address: ${text}`, () => assert.equal(parseAddress(text), undefined));
}

for (const text of ["10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "::/129", "10.0.0.0/8/8", "::ffff:10.0.0.0/95"]) {
  test(`no range: ${text}`, () => assert.throws(() => new AddressRanges([text], "allow"), { field: "allow[0]", value: text }));
}

test("ranges decide as node:net's BlockList does", () => {
  const random = seededRandom(7);
  const four = () => Array.from({ length: 4 }, () => randomInt(random, 4) * 64).join(".");
  const six = () => `${Array.from({ length: 7 }, () => (randomInt(random, 3) * 0x8000 + randomInt(random, 2)).toString(16).slice(-4)).join(":")}:${randomInt(random, 3)}`;
  let inside = 0;
  for (let round = 0; round < 300; round++) {
    // One a family: to BlockList an IPv4 address lies in ::/0 as well, to nginx and to us it does not.
    const lists = { ipv4: new BlockList(), ipv6: new BlockList() };
    const ranges = Array.from({ length: 3 }, () => {
      const isSix = random.next() < 0.5;
      const [address, bits] = isSix ? [six(), randomInt(random, 129)] : [four(), randomInt(random, 33)];
      const family = isSix ? "ipv6" : "ipv4";
      lists[family].addSubnet(address, bits, family);
      return `${address}/${bits}`;
    });
    const own = new AddressRanges(ranges, "r");
    for (let i = 0; i < 30; i++) {
      const address = random.next() < 0.5 ? six() : four();
      const family = isIP(address) === 6 ? "ipv6" : "ipv4";
      const expected = lists[family].check(address, family);
      assert.equal(own.includes(address), expected, `${address} in ${ranges.join(" ")}`);
      if (expected) inside++;
    }
  }
  assert.ok(inside > 300 && inside < 8_700);
});
