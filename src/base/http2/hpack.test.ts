import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { encodeField, HpackDecoder, HpackError } from "./hpack.ts";
import { decodeHuffman } from "./huffman.ts";

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(" ", ""), "hex");
const shown = (fields: readonly (readonly [string, string])[]) => fields.map(([name, value]) => `${name}: ${value}`);

/** Blocks of one connection in their order. The first two groups are RFC 7541, C.3 and C.4. */
const connections: Record<string, [block: string, ...fields: string[]][]> = {
  "texts as they are": [
    ["828684410f7777772e6578616d706c652e636f6d", ":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
    ["828684be58086e6f2d6361636865", ":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"],
    ["828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565", ":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com", "custom-key: custom-value"],
  ],
  "texts in Huffman's code": [
    ["828684418cf1e3c2e5f23a6ba0ab90f4ff", ":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
    ["828684be5886a8eb10649cbf", ":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"],
    ["828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", ":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com", "custom-key: custom-value"],
  ],
  "a table that shrinks forgets": [
    ["40016101 62 be", "a: b", "a: b"],
    ["20 3fe11f 82", ":method: GET"],
    ["40016301 64 be", "c: d", "c: d"],
  ],
};
for (const [name, blocks] of Object.entries(connections)) {
  test(`decoding: ${name}`, () => {
    const decoder = new HpackDecoder(10_000);
    for (const [block, ...fields] of blocks) deepEqual(shown(decoder.decode(bytes(block))), fields);
  });
}

test("the table holds 4096 bytes, and its oldest fields go first", () => {
  const decoder = new HpackDecoder(1 << 20);
  const add = (value: string) => Buffer.concat([bytes("400178"), Buffer.from([0x7f, 0x80 | ((value.length - 127) & 127), (value.length - 127) >> 7]), Buffer.from(value)]);
  for (const letter of "abc") decoder.decode(add(letter.repeat(1500)));
  // 3 × 1533 bytes are more than there may be: the first is gone, and index 64 is nothing.
  deepEqual(decoder.decode(bytes("bebf")).map(([, value]) => value[0]), ["c", "b"]);
  throws(() => decoder.decode(bytes("c0")), HpackError);
});

for (const [why, block] of [
  ["index 0", "80"],
  ["an index beyond both tables", "be"],
  ["a number that goes on too long", "ffffffffffffff7f"],
  ["a text that ends too soon", "400a6162"],
  ["a table larger than was offered", "3fe21f"],
  ["a table size after a field", "8220"],
  ["padding of Huffman's code that is none", "400181000161"],
  ["Huffman's sign for the end", "400184ffffffff0161"],
  ["more than headers may be", `4001${"61"}7f${"ff"}4e${"61".repeat(10_126)}`],
] as const) test(`refused: ${why}`, () => void throws(() => new HpackDecoder(10_000).decode(bytes(block)), HpackError));

test("Huffman's code: a text of the specification, and one of the longest words", () => {
  // RFC 7541, C.6.1.
  equal(decodeHuffman(bytes("d07abe941054d444a8200595040b8166e082a62d1bff"), 0, 22), "Mon, 21 Oct 2013 20:13:21 GMT");
  equal(decodeHuffman(bytes("fffffff3"), 0, 4), "\n");
});

test("what is encoded is decoded as it was", () => {
  const fields: [string, string][] = [[":status", "200"], [":status", "201"], ["content-type", "application/json"], ["content-length", "12345"], ["x-own", ""], ["warning", `299 - "${"é".repeat(300)}"`], ["cache-control", "x".repeat(127)], ["etag", "y".repeat(20_000)]];
  const block = Buffer.from(fields.map(([name, value]) => encodeField(name, value)).join(""), "latin1");
  deepEqual(new HpackDecoder(1 << 20).decode(block), fields);
});
