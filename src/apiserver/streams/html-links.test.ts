import assert from "node:assert/strict";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { LinkRewriter, rewriteLink } from "./html-links.ts";

const rewriting = { prefix: "/proxy", backendHost: "10.0.0.1:80", requestHost: "localhost:8001" };

test("rewriteLink(): links from the root of the same host go through the proxy", () => {
  const cases = [
    ["/", "/proxy/"],
    ["/a/b?c=/d#e", "/proxy/a/b?c=/d#e"],
    ["/a/../b/", "/proxy/b/"],
    ["a/b", "a/b"],
    ["?page=2", "?page=2"],
    ["#top", "#top"],
    ["", ""],
    ["mailto:a@b", "mailto:a@b"],
    ["data:text/plain,/a", "data:text/plain,/a"],
    ["http://10.0.0.1:80/a", "/proxy/a"],
    ["//10.0.0.1:80/a", "/proxy/a"],
    ["http://localhost:8001/a", "http://localhost:8001/proxy/a"],
    ["http://elsewhere/a", "http://elsewhere/a"],
    ["/proxy/a", "/proxy/a"],
  ] as const;
  for (const [link, expected] of cases) assert.equal(rewriteLink(link, rewriting), expected, link);
});

test("LinkRewriter: attributes that hold links, wherever the page is cut", async () => {
  const cases = [
    ['<a href="/x">/x</a>', '<a href="/proxy/x">/x</a>'],
    ["<A HREF='/x' title='/x'>", "<A HREF='/proxy/x' title='/x'>"],
    ["<img alt=x src=/x.png><br/>", "<img alt=x src=/proxy/x.png><br/>"],
    ['<form method="post" action = "/go">', '<form method="post" action = "/proxy/go">'],
    ['<a title="a > b" href="/x">', '<a title="a > b" href="/proxy/x">'],
    ['<p href="/x">', '<p href="/x">'],
    ['<!-- <a href="/x"> --><a href="/y">', '<!-- <a href="/x"> --><a href="/proxy/y">'],
    ['<script src="/s.js">if (a < b) x = "<a href=\'/x\'>"</SCRIPT><a href="/y">', '<script src="/proxy/s.js">if (a < b) x = "<a href=\'/x\'>"</SCRIPT><a href="/proxy/y">'],
    ['<title><a href="/x"></title><link href="/c.css">', '<title><a href="/x"></title><link href="/proxy/c.css">'],
    ["1 < 2 <3 <", "1 < 2 <3 <"],
    ['<a href="/x', '<a href="/x'],
    ['grün <a href="/ü">', 'grün <a href="/proxy/ü">'],
  ] as const;
  for (const [page, expected] of cases) {
    const bytes = Buffer.from(page);
    for (let cut = 0; cut < bytes.length; cut++) {
      const rewriter = new LinkRewriter(rewriting);
      rewriter.write(bytes.subarray(0, cut));
      rewriter.end(bytes.subarray(cut));
      assert.equal(await text(rewriter), expected, `${page} cut at ${cut}`);
    }
  }
});

test("LinkRewriter: a page of tags that never end costs what it is long", { timeout: 10_000 }, async () => {
  const page = "<a \"".repeat(1_000_001);
  const rewriter = new LinkRewriter(rewriting);
  for (let at = 0; at < page.length; at += 16_384) rewriter.write(page.slice(at, at + 16_384));
  rewriter.end();
  assert.equal((await text(rewriter)) === page, true);
});
