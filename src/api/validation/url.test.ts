import assert from "node:assert/strict";
import { test } from "node:test";
import { parseGoUrl } from "./url.ts";

test("parseGoUrl() sees in a text what Go does", () => {
  const cases: [text: string, seen: string | Record<string, string>][] = [
    ["https://a.example:8443/x?y=1#z", { scheme: "https", host: "a.example:8443", path: "/x", query: "y=1", fragment: "z" }],
    ["HTTPS://ann:secret@a.example", { scheme: "https", user: "ann:secret", host: "a.example", path: "" }],
    ["a=b", { scheme: "", host: "", path: "a=b" }],
    ["", { scheme: "", host: "", path: "" }],
    ["/abs/path", { scheme: "", host: "", path: "/abs/path" }],
    ["//a.example/x", { scheme: "", host: "a.example", path: "/x" }],
    ["mailto:ann", { scheme: "mailto", host: "", path: "" }],
    ["10.0.0.1:80/x", 'parse "10.0.0.1:80/x": first path segment in URL cannot contain colon'],
    [":x", 'parse ":x": missing protocol scheme'],
    ["https://a b/", 'parse "https://a b/": invalid character " " in host name'],
    ["https://a:b/", 'parse "https://a:b/": invalid port ":b" after host'],
    ["https://a/%zz", 'parse "https://a/%zz": invalid URL escape "%zz"'],
    ["a\nb", 'parse "a\\nb": net/url: invalid control character in URL'],
  ];
  for (const [text, seen] of cases) {
    if (typeof seen === "string") assert.throws(() => parseGoUrl(text), { message: seen });
    else for (const [part, value] of Object.entries(seen)) assert.equal(parseGoUrl(text)[part as "host"], value, `${part} of ${text}`);
  }
  assert.throws(() => parseGoUrl("a=b", { inRequest: true }), { message: 'parse "a=b": invalid URI for request' });
  assert.throws(() => parseGoUrl("", { inRequest: true }), { message: 'parse "": empty url' });
});
