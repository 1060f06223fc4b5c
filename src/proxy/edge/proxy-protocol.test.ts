import assert from "node:assert/strict";
import { test } from "node:test";
import { randomInt, seededRandom } from "../../base/random.ts";
import { parseAddress } from "../../policy/addresses.ts";
import { proxyHeaderMax, readProxyHeader } from "./proxy-protocol.ts";

const signature = "0d0a0d0a000d0a515549540a";
const v2 = (rest: string): Buffer => Buffer.from((signature + rest).replaceAll(" ", ""), "hex");
const v1 = (text: string): Buffer => Buffer.from(text, "latin1");

/** A header and what follows it; the address, "" for none that it says, "none" for what is no header, "more" for the beginning of one. */
const cases: [what: string, bytes: Buffer, says: string, length?: number][] = [
  ["TCP4", v1("PROXY TCP4 192.0.2.1 192.0.2.2 1 65535\r\nGET"), "192.0.2.1", 40],
  ["TCP6", v1("PROXY TCP6 2001:db8::1 ::1 0 443\r\n"), "2001:db8::1", 34],
  ["UNKNOWN", v1("PROXY UNKNOWN\r\n"), "", 15],
  ["UNKNOWN with whatever", v1("PROXY UNKNOWN ff ff 1 1\r\n"), "", 25],
  ["UNKNOWNS", v1("PROXY UNKNOWNS\r\n"), "none"],
  ["lower case", v1("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), "none"],
  ["two spaces", v1("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), "none"],
  ["a space at the end", v1("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n"), "none"],
  ["a bare LF", v1(`PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n${" ".repeat(107)}`), "none"],
  ["IPv4 as TCP6", v1("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"), "none"],
  ["octal", v1("PROXY TCP4 010.0.2.1 192.0.2.2 1 2\r\n"), "none"],
  ["too large", v1("PROXY TCP4 256.0.2.1 192.0.2.2 1 2\r\n"), "none"],
  ["a port too large", v1("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n"), "none"],
  ["a port with a zero before it", v1("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"), "none"],
  ["a zone", v1("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"), "none"],
  ["no end", v1(`PROXY TCP4 ${"1".repeat(120)}`), "none"],
  ["the beginning of a word", v1("PROX"), "more"],
  ["another word", v1("PROXX"), "none"],
  ["a request", v1("GET / HTTP/1.1\r\n\r\n"), "none"],
  ["nothing", v1(""), "more"],
  ["v2 TCP4", v2("21 11 000c c0000201 c0000202 0001 0002 474554"), "192.0.2.1", 28],
  ["v2 TCP6", v2("21 21 0024 20010db8000000000000000000000001 00000000000000000000000000000001 0001 0002"), "2001:db8:0:0:0:0:0:1", 52],
  ["v2 with more than the addresses", v2("21 11 0010 c0000201 c0000202 0001 0002 04 0001 00"), "192.0.2.1", 32],
  ["v2 LOCAL, addresses or not", v2("20 11 000c c0000201 c0000202 0001 0002"), "", 28],
  ["v2 LOCAL, nothing", v2("20 00 0000"), "", 16],
  ["v2 unspecified", v2("21 00 0000"), "", 16],
  ["v2 UNIX", v2(`21 31 00d8 ${"00".repeat(216)}`), "", 232],
  ["v2 of datagrams", v2("21 12 000c c0000201 c0000202 0001 0002"), "none"],
  ["v2 too short for its addresses", v2("21 11 0008 c0000201 c0000202"), "none"],
  ["v2 TCP6 with addresses of TCP4", v2("21 21 000c c0000201 c0000202 0001 0002"), "none"],
  ["version 3", v2("31 11 000c c0000201 c0000202 0001 0002"), "none"],
  ["another command", v2("22 11 000c c0000201 c0000202 0001 0002"), "none"],
  ["another family", v2("21 41 000c c0000201 c0000202 0001 0002"), "none"],
  ["longer than anybody needs", v2("21 11 ffff c0000201"), "none"],
  ["v2 half", v2("21 11 000c c00002"), "more"],
  ["half a signature", v2("").subarray(0, 5), "more"],
];
for (const [what, bytes, says, length] of cases) {
  test(`PROXY protocol: ${what}`, () => {
    const read = readProxyHeader(bytes);
    assert.equal(read === undefined ? "more" : read === "none" ? "none" : (read.address ?? ""), says);
    if (typeof read === "object") assert.equal(read.length, length);
    // Whatever comes in pieces is read as what comes at once.
    if (typeof read === "object") for (let to = 0; to < read.length; to++) assert.equal(readProxyHeader(bytes.subarray(0, to)), undefined, `${to} bytes`);
  });
}

test("PROXY protocol: bytes of all sorts are read or refused, never believed halfway", () => {
  const headers = cases.filter(([, , says]) => says !== "none" && says !== "more").map(([, bytes]) => bytes);
  for (let seed = 1; seed <= 20_000; seed++) {
    const random = seededRandom(seed);
    const bytes = Buffer.from(headers[randomInt(random, headers.length)]!);
    for (let changes = randomInt(random, 4); changes >= 0; changes--) bytes[randomInt(random, bytes.length)] = randomInt(random, 256);
    const read = readProxyHeader(bytes);
    if (typeof read !== "object") continue;
    assert.ok(read.length <= bytes.length && read.length <= proxyHeaderMax && read.length >= 15, `seed ${seed}`);
    assert.ok(read.address === undefined || parseAddress(read.address), `seed ${seed}: ${read.address}`);
  }
});
