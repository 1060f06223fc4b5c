import assert from "node:assert/strict";
import { test } from "node:test";
import { hasFormat } from "./formats.ts";

/** Format: what has it, and what has not. */
const cases: Record<string, [good: string[], bad: string[]]> = {
  "date-time": [["2020-02-29T10:00:00Z", "2020-01-01t00:00:00.123+02:00"], ["2021-02-29T10:00:00Z", "2020-01-01", "2020-01-01T25:00:00Z", ""]],
  date: [["2024-02-29"], ["2023-02-29", "2024-2-9", "24-01-01"]],
  duration: [["1h30m", "500ms", "3 days", "2w"], ["", "soon", "1 parsec"]],
  uri: [["https://example.com/x?y=z", "/path", "urn:x:y", "http://[::1]:80/"], ["example.com/x", "", "http://a b", "http://example.com:port/"]],
  email: [["a@b.example", "Ann <a@b.example>", '"a b"@c.example'], ["a", "a@", "@b", "a@b c"]],
  hostname: [["example.com", "a-b.example", "localhost"], ["-a.example", "a..b", "a_b.example"]],
  ipv4: [["10.0.0.1", "010.0.0.1"], ["10.0.0", "::1", "1.2.3.256"]],
  ipv6: [["::1", "2001:db8::1"], ["10.0.0.1", ":::", "fe80::1%eth0"]],
  cidr: [["10.0.0.0/8", "::/0"], ["10.0.0.0", "10.0.0.0/33", "x/8"]],
  mac: [["00:11:22:33:44:55", "0011.2233.4455"], ["00:11:22:33:44", "00-11:22-33-44-55-66"]],
  uuid: [["6F1ED002-AB5C-4F6F-9D5C-3B3F5E0B6C77"], ["6f1ed002", "gf1ed002-ab5c-4f6f-9d5c-3b3f5e0b6c77"]],
  uuid4: [["6f1ed002-ab5c-4f6f-9d5c-3b3f5e0b6c77"], ["6f1ed002-ab5c-1f6f-9d5c-3b3f5e0b6c77"]],
  byte: [["aGVsbG8="], ["aGVsbG8", "a b="]],
  hexcolor: [["#fff", "00FF00"], ["#ff", "red"]],
  rgbcolor: [["rgb(255, 0,1)"], ["rgb(256,0,0)", "rgb(1,2)"]],
  isbn: [["0321751043", "978-0321751041"], ["0321751044"]],
  creditcard: [["4111 1111 1111 1111"], ["4111 1111 1111 1112"]],
  "k8s-short-name": [["a-b1"], ["A", "-a", "a.b"]],
  "k8s-long-name": [["a-b.c"], ["a..b", "A.b"]],
  "shoe-size": [["anything at all"], []],
};

for (const [format, [good, bad]] of Object.entries(cases)) {
  test(`format ${format}`, () => {
    for (const text of good) assert.ok(hasFormat(format, text), text);
    for (const text of bad) assert.ok(!hasFormat(format, text), text);
  });
}
