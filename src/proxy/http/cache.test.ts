import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { request as requestHttp, type IncomingMessage } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { systemRandom } from "../../base/random.ts";
import { Shelves } from "../../policy/cache/shelves.ts";
import type { Caller } from "../../policy/caller.ts";
import { apiKey } from "../../policy/filters/api-key.ts";
import { cache } from "../../policy/filters/cache.ts";
import type { FilterTools, Handler } from "../../policy/exchange.ts";
import { startGateway, startProgram, type TestGateway, until } from "./testing/gateway.ts";

interface Step {
  line: number;
  /** Seconds. */
  wait?: number;
  method?: string;
  path?: string;
  headers?: Record<string, string>;
  upstream?: { status: number; headers: Record<string, string>; body: string };
  asked?: Record<string, string>;
  status?: number;
  body?: string;
  expected?: Record<string, string>;
}
interface Case {
  name: string;
  config: object;
  steps: Step[];
}

/** `name: value` pairs, and what is left: a name begins behind a blank, a value ends before the next name, or the last word when it is the body. */
function fieldsIn(line: string): { fields: Record<string, string>; rest: string } {
  const fields: Record<string, string> = {};
  const names = [...line.matchAll(/(?:^| )([a-z][a-z-]*): /g)];
  if (names.length === 0) return { fields, rest: line.trim() };
  const rest = line.slice(0, names[0]!.index).trim();
  for (const [i, match] of names.entries()) fields[match[1]!] = line.slice(match.index + match[0].length, names[i + 1]?.index ?? line.length).trim();
  return { fields, rest };
}
/** A value that a body follows: what comes behind the last one's natural end. */
function withBody(fields: Record<string, string>): string {
  const last = Object.keys(fields).at(-1);
  if (last === undefined) return "";
  const natural = { "cache-control": /^(?:[\w-]+(?:=\d+)?(?:, )?)+/, "set-cookie": /^\S+/, vary: /^\S+/, etag: /^\S+/, expires: /^.* GMT/, "last-modified": /^(?:-\d+|.* GMT)/, "content-range": /^bytes \S+/, "content-location": /^\S+/, location: /^\S+/ }[last];
  const value = fields[last]!;
  const kept = natural?.exec(value)?.[0].replace(/,? $/, "") ?? value;
  // A directive and a body look alike: what has no comma before it is the body.
  const cut = last === "cache-control" ? value.split(/(?<!,) /)[0]! : kept;
  fields[last] = cut;
  return value.slice(cut.length).trim();
}

function casesIn(file: string): Case[] {
  const cases: Case[] = [];
  for (const [i, raw] of readFileSync(file, "utf8").split("\n").entries()) {
    const line = raw.trimEnd();
    const current = cases.at(-1)!;
    const step = current?.steps.at(-1);
    if (line === "" || line.startsWith("#")) continue;
    if (line.startsWith("= ")) cases.push({ name: line.slice(2), config: {}, steps: [] });
    else if (line.startsWith("cache ")) current.config = JSON.parse(line.slice(6)) as object;
    else if (line.startsWith("wait ")) current.steps.push({ line: i + 1, wait: Number(line.slice(5)) });
    else if (line.startsWith("  upstream ")) {
      const { fields, rest } = fieldsIn(line.slice(11));
      const [status, ...body] = rest.split(" ");
      const tail = withBody(fields);
      step!.upstream = { status: Number(status), headers: fields, body: tail || body.join(" ") };
    } else if (line.startsWith("  asked ")) step!.asked = fieldsIn(line.slice(8)).fields;
    else if (line.startsWith("  → ")) {
      const { fields, rest } = fieldsIn(line.slice(4));
      const [status, ...body] = rest.split(" ");
      Object.assign(step!, { status: Number(status), body: body.join(" "), expected: fields });
    } else {
      const { fields, rest } = fieldsIn(line);
      const [method, path] = rest.split(" ") as [string, string];
      current.steps.push({ line: i + 1, method, path, headers: fields });
    }
  }
  return cases;
}

const begin = Date.UTC(2026, 5, 1);
function toolsOf(gateway: TestGateway, dateMs: () => number): FilterTools {
  return {
    random: systemRandom,
    nowMs: () => performance.now(),
    dateMs,
    setTimer: (ms, callback) => {
      const timer = setTimeout(callback, ms).unref();
      return { cancel: () => clearTimeout(timer) };
    },
    call: (request, then) => gateway.engine.call(request, then),
  };
}
const forward: Handler = (exchange, outcome) => {
  exchange.upstream = "shop/web/80";
  outcome.forward(exchange);
};
async function ask(port: number, method: string, path: string, headers: Record<string, string> = {}): Promise<{ status: number; body: string; headers: IncomingMessage["headers"] }> {
  const asked = requestHttp({ host: "127.0.0.1", port, method, path, agent: false, headers: { host: "web.example", ...headers } }).end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  return { status: answer.statusCode!, body: await text(answer), headers: answer.headers };
}

for (const { name, config, steps } of casesIn(join(import.meta.dirname, "cases/cache.txt"))) {
  test(`cache: ${name}`, async () => {
    let now = begin;
    let step: Step;
    let calls = 0;
    let seen: IncomingMessage["headers"] = {};
    await using program = await startProgram((request, response) => {
      calls++;
      seen = request.headers;
      const { status, headers, body } = step.upstream ?? { status: 500, headers: {}, body: "it must not have been asked" };
      const modified = headers["last-modified"];
      const given = { ...headers, ...(modified?.startsWith("-") && { "last-modified": new Date(now + Number(modified) * 1000).toUTCString() }), date: new Date(now).toUTCString() };
      response.writeHead(status, given);
      response.end(status === 304 || status === 204 || request.method === "HEAD" ? undefined : body);
    });
    await using gateway = startGateway([program.port]);
    gateway.routed.handler = cache({ type: "cache", ...config }, toolsOf(gateway, () => now))(forward);
    for (step of steps) {
      if (step.wait !== undefined) {
        now += step.wait * 1000;
        continue;
      }
      const before = calls;
      const answer = await ask(gateway.port, step.method!, step.path!, step.headers);
      const at = `line ${step.line}: ${step.method} ${step.path}`;
      assert.equal(answer.status, step.status, at);
      if (step.body !== "") assert.equal(answer.body, step.body, at);
      for (const [field, value] of Object.entries(step.expected!)) {
        const told = answer.headers[field] as string | undefined;
        if (value.startsWith("~")) assert.ok(told?.includes(value.slice(1)), `${at}: ${field}: ${told}`);
        else assert.equal(told ?? "-", value, `${at}: ${field}`);
      }
      // In the background it is asked a little later.
      await until(() => calls === before + (step.upstream ? 1 : 0));
      for (const [field, value] of Object.entries(step.asked ?? {})) assert.equal(seen[field] ?? "-", value, `${at}: asked with ${field}`);
      await until(() => gateway.policy.running === 0);
    }
  });
}

test("however many ask, the upstream is asked once; who may not share asks for himself; who leaves takes nobody along", async () => {
  let calls = 0;
  let go = Promise.withResolvers<string>();
  await using program = await startProgram((_request, response) => {
    calls++;
    void go.promise.then((cacheControl) => response.writeHead(200, { "cache-control": cacheControl }).end(`answer ${calls}`));
  });
  await using gateway = startGateway([program.port]);
  gateway.routed.handler = cache({ type: "cache" }, toolsOf(gateway, Date.now))(forward);
  const many = Array.from({ length: 20 }, () => ask(gateway.port, "GET", "/shared"));
  await until(() => calls === 1 && gateway.engine.counters.requestsRunning === 20);
  go.resolve("max-age=60");
  assert.deepEqual(new Set((await Promise.all(many)).map(({ body }) => body)), new Set(["answer 1"]));
  assert.equal(calls, 1);

  go = Promise.withResolvers();
  const own = Array.from({ length: 5 }, () => ask(gateway.port, "GET", "/private"));
  await until(() => calls === 2 && gateway.engine.counters.requestsRunning === 5);
  go.resolve("private");
  await Promise.all(own);
  assert.equal(calls, 6);

  go = Promise.withResolvers();
  const first = await gateway.open();
  first.send("GET /left HTTP/1.1\r\nHost: web.example\r\n\r\n");
  await until(() => calls === 7);
  const second = ask(gateway.port, "GET", "/left");
  await until(() => gateway.engine.counters.requestsRunning === 2);
  first.socket.destroy();
  await until(() => calls === 8);
  go.resolve("max-age=60");
  assert.equal((await second).body, "answer 8");
});

test("what is kept is bounded: those used last stay", async () => {
  let calls = 0;
  await using program = await startProgram((_request, response) => void (calls++, response.writeHead(200, { "cache-control": "max-age=60" }).end("x".repeat(1_000))));
  await using gateway = startGateway([program.port]);
  gateway.routed.handler = cache({ type: "cache", bytesMax: 10_000 }, toolsOf(gateway, Date.now))(forward);
  for (let i = 0; i < 20; i++) {
    await ask(gateway.port, "GET", `/${i}`);
    await ask(gateway.port, "GET", "/0");
  }
  assert.equal(calls, 20);
  await ask(gateway.port, "GET", "/1");
  assert.equal(calls, 21);
});

test("a purge, and a change, overtake what is being fetched: it is given to whom it was asked for, and not kept", async () => {
  const shelves = new Shelves();
  let calls = 0;
  let go = Promise.withResolvers<void>();
  await using program = await startProgram((request, response) => {
    if (request.method === "POST") return void response.end("changed");
    calls++;
    void go.promise.then(() => response.writeHead(200, { "cache-control": "max-age=60", etag: '"1"' }).end(`answer ${calls}`));
  });
  await using gateway = startGateway([program.port]);
  gateway.routed.handler = cache({ type: "cache", share: "shop" }, { ...toolsOf(gateway, Date.now), shelves })(forward);
  for (const overtake of [() => assert.equal(shelves.purge("shop", "web.example/o"), 0), () => ask(gateway.port, "POST", "/o")]) {
    const before = calls;
    go = Promise.withResolvers();
    const first = ask(gateway.port, "GET", "/o");
    await until(() => calls === before + 1);
    await overtake();
    go.resolve();
    assert.equal((await first).body, `answer ${before + 1}`);
    assert.equal((await ask(gateway.port, "GET", "/o")).body, `answer ${before + 2}`);
    assert.match((await ask(gateway.port, "GET", "/o")).headers["cache-status"] as string, /hit/);
    assert.equal(shelves.purge("shop", ""), 1);
  }
});

test("what a program answers somebody who is known is nobody else's, however he was found out, unless it says so", async () => {
  let said: Record<string, string> = {};
  let calls = 0;
  await using program = await startProgram((_request, response) => void response.writeHead(200, said).end(`answer ${++calls}`));
  await using gateway = startGateway([program.port]);
  const kept = cache({ type: "cache", ttlSeconds: 60 }, toolsOf(gateway, Date.now))(forward);
  const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
  const keys = apiKey({ type: "apiKey", keys: ["ann", "bob"].map((client) => ({ client, sha256: sha256(`key of ${client}`) })), from: [{ in: "header", name: "x-api-key" }] }, toolsOf(gateway, Date.now))(kept);
  const known = (caller: Caller): Handler => (exchange, outcome) => (exchange.caller = caller, kept(exchange, outcome));
  const ways: [handler: (user: string) => Handler, headers: (user: string) => Record<string, string>][] = [
    [() => kept, (user) => ({ authorization: `Bearer ${user}` })],
    [() => keys, (user) => ({ "x-api-key": `key of ${user}` })],
    [(user) => known({ basic: user }), () => ({})],
    [(user) => known({ jwt: new Map([["idp", { sub: user }]]) }), () => ({})],
    [(user) => known({ cookies: new Map([["id", user]]) }), () => ({})],
    [() => known({ isGranted: true }), () => ({})],
    // What a listener tells of a client's certificate.
    [(user) => (exchange, outcome) => ((exchange.requestHeaders = { remove: [], set: [["x-forwarded-client-cert", `Hash=${user}`]], add: [] }), kept(exchange, outcome)), () => ({})],
  ];
  for (const [i, [handler, headers]] of ways.entries()) {
    for (const [control, isShared] of [[undefined, false], ["max-age=60", false], ["private", false], ["public, max-age=60", true], ["s-maxage=60", true]] as const) {
      said = control === undefined ? {} : { "cache-control": control };
      const answers = [];
      for (const user of ["ann", "bob"]) {
        gateway.routed.handler = handler(user);
        answers.push((await ask(gateway.port, "GET", `/${i}/${control ?? ""}`.replaceAll(" ", ""), headers(user))).body);
      }
      assert.equal(answers[0] === answers[1], isShared, `way ${i}, ${control}: ${answers.join(" and ")}`);
    }
  }
});

test("while one client fetches what is stale, the others get it", async () => {
  let now = Date.now();
  let go: Promise<void> = Promise.resolve();
  let calls = 0;
  await using program = await startProgram((_request, response) => void (calls++, go.then(() => response.writeHead(200, { "cache-control": "max-age=10", date: new Date(now).toUTCString() }).end(`answer ${calls}`))));
  await using gateway = startGateway([program.port]);
  gateway.routed.handler = cache({ type: "cache", staleWhileRevalidateSeconds: 60, fetchesWithClients: true }, toolsOf(gateway, () => now))(forward);
  assert.equal((await ask(gateway.port, "GET", "/")).body, "answer 1");
  now += 20_000;
  const gate = Promise.withResolvers<void>();
  go = gate.promise;
  const first = ask(gateway.port, "GET", "/");
  await until(() => calls === 2);
  const second = await ask(gateway.port, "GET", "/");
  assert.deepEqual([second.body, /stale/.test(second.headers["cache-status"] as string)], ["answer 1", true]);
  gate.resolve();
  assert.equal((await first).body, "answer 2");
  assert.equal((await ask(gateway.port, "GET", "/")).body, "answer 2");
  assert.equal(calls, 2);
});

test("what is kept is the same answer on every way: whole, long, for HEAD, with headers of the rule, to an old client, over HTTP/2", async () => {
  const body = "x".repeat(200_000);
  await using program = await startProgram((request, response) => response.writeHead(200, { "cache-control": "max-age=60", "content-type": "text/plain", "x-two": ["a", "b"], date: new Date(begin).toUTCString() }).end(request.url === "/long" ? body : "short"));
  await using gateway = startGateway([program.port]);
  const filtered = cache({ type: "cache" }, toolsOf(gateway, () => begin))(forward);
  gateway.routed.handler = filtered;
  const told = ({ headers }: { headers: IncomingMessage["headers"] }) => [headers["cache-control"], headers["content-type"], headers["x-two"], headers["content-length"], headers["age"], headers["cache-status"]];
  for (const [path, content] of [["/short", "short"], ["/long", body]] as const) {
    assert.equal((await ask(gateway.port, "GET", path)).body, content);
    const plain = ["max-age=60", "text/plain", "a, b", String(content.length), "0", "wherry; hit"];
    for (let i = 0; i < 3; i++) {
      const hit = await ask(gateway.port, "GET", path);
      assert.deepEqual([hit.status, hit.body, ...told(hit)], [200, content, ...plain]);
    }
    const head = await ask(gateway.port, "HEAD", path);
    assert.deepEqual([head.status, head.body, ...told(head)], [200, "", ...plain]);
    gateway.routed.handler = (exchange, outcome) => {
      exchange.responseHeaders = { remove: ["X-Two"], set: [["age", "9"]], add: [["x-by", "rule"]] };
      filtered(exchange, outcome);
    };
    const edited = await ask(gateway.port, "GET", path);
    assert.deepEqual([edited.body, edited.headers["x-two"], edited.headers["age"], edited.headers["x-by"]], [content, undefined, "9", "rule"]);
    gateway.routed.handler = filtered;
    const old = await gateway.open();
    old.send(`GET ${path} HTTP/1.0\r\nHost: web.example\r\n\r\n`);
    assert.match(await old.until(() => false), new RegExp(`^HTTP/1.1 200 OK\r\n[^]*Content-Length: ${content.length}\r\nage: 0\r\ncache-status: wherry; hit\r\nConnection: close\r\n\r\n${content.slice(0, 5)}`));
    const session = connectHttp2(`http://127.0.0.1:${gateway.port}`);
    const stream = session.request({ ":path": path, ":authority": "web.example" });
    const [headers] = (await once(stream, "response")) as [Record<string, string>];
    assert.deepEqual([await text(stream), headers["age"], headers["cache-status"], headers["content-type"]], [content, "0", "wherry; hit", "text/plain"]);
    await new Promise<void>((resolve) => session.close(resolve));
  }
});
