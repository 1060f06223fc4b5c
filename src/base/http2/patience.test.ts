import { equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { Patience } from "./patience.ts";

/** How many of them are borne at one moment. */
function borne(add: () => boolean): number {
  for (let count = 0; ; count++) if (!add() || count > 1e7) return count;
}

test("so many frames that lead to nothing at once, and so many a second", () => {
  const patience = new Patience(100);
  equal(borne(() => patience.idle(0)), 1100);
  ok(borne(() => patience.idle(10_000)) >= 329, "33 a second");
  let now = 0;
  const steady = new Patience(100);
  for (let i = 0; i < 100_000; i++) ok(steady.idle((now += 31)));
});

test("pings, settings and windows: with what is moved as many as belong to it, without it few", () => {
  const idle = new Patience(100);
  equal(borne(() => idle.control(0)), 1000);
  // gRPC: a message of 50 bytes, a ping, in one moment.
  const unary = new Patience(100);
  for (let i = 0; i < 100_000; i++) {
    unary.moved(50);
    ok(unary.control(0) && unary.control(0));
  }
  // A gigabyte into an open window, and only then the windows of each 4 KiB, for stream and connection.
  const download = new Patience(100);
  for (let i = 0; i < 4096; i++) download.moved(256 * 1024);
  for (let i = 0; i < 2 * 262_144; i++) ok(download.control(0));
  ok(borne(() => download.control(0)) < 4_100_000, "and not for ever");
});
