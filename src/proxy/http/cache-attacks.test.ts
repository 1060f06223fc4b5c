import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import type { FilterTools, Handler } from "../../policy/exchange.ts";
import { cache } from "../../policy/filters/cache.ts";
import { systemRandom } from "../../base/random.ts";
import { startGateway, startProgram } from "./testing/gateway.ts";

/** A program that tells all that it has heard, and lets everything be kept. */
async function tell(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await text(request);
  const { "if-match": match, range, "x-status": wanted, "x-forwarded-host": forwarded, "x-lang": lang, "x-a": a, "x-b": b, authorization } = request.headers;
  const params = new URL(request.url!, "http://x").searchParams;
  const told = { method: request.method, url: request.url, host: request.headers.host, forwarded, forged: Object.keys(request.headers).filter((name) => /^forwarded$|original|scheme|_/.test(name)), override: request.headers["x-http-method-override"] ?? request.headers["x-http-method"] ?? request.headers["x-method-override"], lang, a, b, authorization, cookie: request.headers.cookie, body };
  const status = Number(wanted ?? params.get("status") ?? (match ? 412 : range ? 206 : 200));
  const isPrivate = params.has("private") || request.headers.cookie !== undefined;
  response.writeHead(status, { ...(!isPrivate && { "cache-control": "max-age=60" }), ...(params.has("vary") && { vary: params.get("vary")! }) }).end(JSON.stringify(told));
}

const blocks = readFileSync(join(import.meta.dirname, "cache-attacks.txt"), "utf8").split(/^== /m).slice(1).map((block) => block.trim().split("\n"));
for (const [title = "", ...lines] of blocks) {
  test(title, async () => {
    const of = (word: string): string[] => lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));
    const [config] = of("cache") as [string];
    const [victim] = of("victim") as [string];
    await using program = await startProgram((request, response) => void tell(request, response));
    const askAll = async (requests: readonly string[]): Promise<string> => {
      await using gateway = startGateway([program.port]);
      const forward: Handler = (exchange, outcome) => {
        exchange.upstream = "shop/web/80";
        outcome.forward(exchange);
      };
      const tools: FilterTools = { random: systemRandom, nowMs: () => performance.now(), setTimer: (ms, callback) => ({ cancel: clearTimeout.bind(undefined, setTimeout(callback, ms).unref()) }), call: (request, then) => gateway.engine.call(request, then) };
      gateway.routed.handler = cache({ type: "cache", ...(JSON.parse(config) as object) }, tools)(forward);
      let last = "";
      for (const request of requests) {
        const client = await gateway.open();
        const wire = request.replaceAll("|", "\r\n");
        client.send(wire.includes("\r\n\r\n") ? (/chunked/i.test(wire) ? `${wire}\r\n\r\n` : wire) : `${wire}\r\n\r\n`);
        const { status, body } = await client.answer({ isHead: request.startsWith("HEAD") });
        last = `${status} ${body}`;
      }
      return last;
    };
    const alone = await askAll([victim]);
    assert.match(alone, /^200 /);
    assert.equal(await askAll([...of("attack"), victim]), alone);
  });
}
