import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createLog } from "../../src/base/log.ts";
import { randomInt, type Random, seededRandom } from "../../src/base/random.ts";
import { startApi, type TestApi } from "../harness-api.ts";
import { sequence } from "./differential/generate.ts";

/**
 * Requests that are wrong in every way a generator can think of: objects spoilt by their schema (the generator of the
 * differential test), bytes of their bodies, paths and headers flipped, cut and stuffed, and connections that speak no
 * HTTP. No input may bring the server down, be answered by a crash, leak, or change anything on a refusal.
 *
 * FUZZ_SEEDS=N runs N sequences from FUZZ_FROM on; a failure prints its seed and the request.
 */
const from = Number(process.env["FUZZ_FROM"] ?? 1);
const seeds = Number(process.env["FUZZ_SEEDS"] ?? (process.env["WHERRY_CONFORMANCE"] ? 3000 : 250));
const leakMax = 24 * 1024 * 1024;

const stuffing = [
  "__proto__", "constructor", "toString", "\0", "\uffff", "\ud800", "1e999", "-0", "NaN", "null", "[]", "{}", '""', "%00", "%2f", "..", "&*a", "!!js/function", "k8s\0", "9".repeat(40), "a".repeat(5000), "[".repeat(3000), '{"a":'.repeat(500), "\r\n", "🛶", "$patch", "$retainKeys", "~1~0", "/-", "{\"$ref\":\"#\"}",
];
const headers: readonly [string, string][] = [
  ["accept", "application/json;as=Table;g=meta.k8s.io;v=v9"], ["accept", "*/*;q=nonsense"], ["accept", "application/vnd.kubernetes.protobuf"], ["accept", ",;,"], ["content-type", "application/vnd.kubernetes.protobuf"], ["content-type", "application/yaml"], ["content-type", "application/cbor"], ["content-type", "text/plain; charset=\"x"],
  ["impersonate-user", ""], ["impersonate-user", "system:serviceaccount:a:b:c"], ["impersonate-group", "x"], ["impersonate-extra-%zz", "y"], ["authorization", "Bearer x.y.z"], ["content-encoding", "gzip"], ["if-none-match", "\"x\", W/"], ["accept-encoding", "gzip, br;q=2"], ["upgrade", "websocket"], ["x-stream-protocol-version", "v9"], ["expect", "200-ok"],
];
const queries = ["limit=-1", "limit=99999999999999999999", "continue=%%%", "continue=AAAA", "resourceVersion=-1", "resourceVersion=x", "resourceVersionMatch=Exact", "labelSelector=a%20in%20(", "labelSelector=!!a", "labelSelector=%00", "fieldSelector=spec..x%3D1", "fieldSelector=%3D", "timeoutSeconds=1e9", "dryRun=All&dryRun=x", "fieldManager=%ff", "force=maybe", "propagationPolicy=Sideways", "gracePeriodSeconds=-5", "orphanDependents=perhaps", "pretty=1", "fieldValidation=None", "sendInitialEvents=true"];

interface Sent {
  method: string;
  path: string;
  headers: Record<string, string>;
  body?: Buffer;
}

function spoiltBytes(random: Random, bytes: Buffer): Buffer {
  let spoilt = bytes;
  for (let times = 1 + randomInt(random, 3); times > 0; times--) {
    const at = randomInt(random, spoilt.length + 1);
    const end = Math.min(spoilt.length, at + randomInt(random, 20));
    switch (randomInt(random, 5)) {
      case 0: // one bit
        if (at < spoilt.length) (spoilt = Buffer.from(spoilt))[at]! ^= 1 << randomInt(random, 8);
        break;
      case 1: // a hole
        spoilt = Buffer.concat([spoilt.subarray(0, at), spoilt.subarray(end)]);
        break;
      case 2: // twice the same
        spoilt = Buffer.concat([spoilt.subarray(0, end), spoilt.subarray(at)]);
        break;
      case 3: // cut
        spoilt = spoilt.subarray(0, at);
        break;
      default:
        spoilt = Buffer.concat([spoilt.subarray(0, at), Buffer.from(stuffing[randomInt(random, stuffing.length)]!), spoilt.subarray(at)]);
    }
  }
  return spoilt;
}

function spoiltPath(random: Random, path: string): string {
  const [way, query = ""] = path.split("?");
  const parts = way!.split("/");
  const at = 1 + randomInt(random, parts.length - 1);
  const odd = encodeURIComponent(stuffing[randomInt(random, stuffing.length)]!.slice(0, 300).replace(/[\ud800-\udfff]/g, ""));
  switch (randomInt(random, 4)) {
    case 0:
      parts[at] = odd;
      break;
    case 1:
      parts.splice(at, 1);
      break;
    case 2:
      parts.splice(at, 0, ["status", "scale", "log", "eviction", "watch", "proxy", odd][randomInt(random, 7)]!);
      break;
  }
  return `${parts.join("/")}?${query}&${queries[randomInt(random, queries.length)]!}`;
}

/** What is asked for by one seed: some as they are, so that there is something to spoil, most spoilt. */
function requestsOf(seed: number): Sent[] {
  const random = seededRandom(seed);
  return sequence(seed).requests.filter(({ until }) => until === undefined).map(({ method, path, contentType, body, accept }) => {
    const made: Sent = { method, path: path.replaceAll("NS", "default").replaceAll(/RV-\w+|CONTINUE/g, "1"), headers: { accept: accept ?? "application/json" } };
    if (body !== undefined) {
      made.body = Buffer.from(JSON.stringify(body).replaceAll("NS", "default").replaceAll(/RV-\w+/g, "1"));
      made.headers["content-type"] = contentType ?? "application/json";
    }
    const dice = random.next();
    if (dice < 0.35 && made.body) made.body = spoiltBytes(random, made.body);
    else if (dice < 0.6) made.path = spoiltPath(random, made.path);
    if (random.next() < 0.2) {
      const [name, value] = headers[randomInt(random, headers.length)]!;
      made.headers[name] = value;
    }
    // What the parser of any server cuts off is not what is tested here.
    if (made.headers["upgrade"]) made.headers["connection"] = "upgrade";
    return made;
  });
}

function ask(server: TestApi, agent: Agent, { method, path, headers, body }: Sent): Promise<{ code: number; text: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: server.socketPath, agent, method, path, headers: { ...headers, ...(body && { "content-length": body.length }) } });
    const deadline = setTimeout(() => (call.destroy(), resolve({ code: 0, text: "still answering" })), 2000);
    const done = (code: number, text: string) => (clearTimeout(deadline), resolve({ code, text }));
    call.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        // A watch goes on: that it began is what is asked here.
        if (/[?&]watch=(1|true)|\/watch\//.test(path)) response.destroy();
      });
      response.on("close", () => done(response.statusCode!, text));
    });
    call.on("upgrade", (response, socket) => (socket.destroy(), done(response.statusCode!, "")));
    call.on("error", (error: NodeJS.ErrnoException) => (clearTimeout(deadline), error.code === "ECONNRESET" ? resolve({ code: 0, text: "reset" }) : reject(error)));
    call.end(body);
  });
}

const show = ({ method, path, headers, body }: Sent) => `${method} ${path} ${JSON.stringify(headers)} ${body?.toString("latin1").slice(0, 600) ?? ""}`;

test(`${seeds} sequences of spoilt requests: refused, without a crash, a change or a leak`, { timeout: 3_600_000 }, async (t) => {
  const crashes: string[] = [];
  await using server = await startApi({ log: createLog("api", "error", (line) => crashes.push(line)) });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const heap = () => (collect(), process.memoryUsage().heapUsed);
  const codes = new Map<number, number>();
  let before = 0;
  for (let seed = from; seed < from + seeds; seed++) {
    for (const sent of requestsOf(seed)) {
      const { revision } = server.api.store;
      const { code, text } = await ask(server, agent, sent);
      codes.set(code, (codes.get(code) ?? 0) + 1);
      const where = `seed ${seed}: ${show(sent)}\n${code} ${text.slice(0, 1000)}`;
      assert.deepEqual(crashes, [], where);
      if (code >= 400) assert.equal(server.api.store.revision, revision, `refused, and something was written: ${where}`);
      if (code >= 400 && sent.method !== "HEAD" && text !== "" && text !== "404 page not found\n") assert.doesNotThrow(() => JSON.parse(text), where);
    }
    // What was made goes, or the heap would tell of the objects.
    if (seed % 25 === 0) {
      for (const kind of ["pods", "configmaps", "secrets", "services"]) await ask(server, agent, { method: "DELETE", path: `/api/v1/namespaces/default/${kind}?gracePeriodSeconds=0`, headers: {} });
    }
    if (seed === from + Math.floor(seeds / 2)) before = heap();
  }
  const grown = heap() - before;
  t.diagnostic(`answers: ${[...codes].sort(([a], [b]) => a - b).map(([code, count]) => `${code || "cut"}×${count}`).join(" ")}; heap ${(grown / 1e6).toFixed(1)} MB more after the second half`);
  assert.ok(grown < leakMax, `${grown} bytes more after the second half`);
  assert.deepEqual(Object.keys(Object.prototype), [], "nobody has added to what every object inherits");
  assert.ok((codes.get(200) ?? 0) + (codes.get(201) ?? 0) > seeds, "enough is accepted that refusals have something to change");
  assert.equal((await ask(server, agent, { method: "GET", path: "/readyz", headers: {} })).code, 200);
  agent.destroy();
});

test("connections that speak no HTTP, or not to its end, are closed and forgotten", async () => {
  const crashes: string[] = [];
  await using server = await startApi({ log: createLog("api", "error", (line) => crashes.push(line)) });
  const random = seededRandom(from);
  const port = Number(new URL(server.url).port);
  const hello = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
  const plain = Buffer.from("POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 40\r\n\r\n{\"metadata\":{\"name\":\"x\"}}");
  const noise = (length: number) => Buffer.from(Array.from({ length }, () => randomInt(random, 256)));
  const { revision } = server.api.store;
  for (let round = 0; round < 60; round++) {
    const bytes = [noise(1 + randomInt(random, 2000)), spoiltBytes(random, hello), Buffer.concat([hello, noise(200)]), spoiltBytes(random, plain), plain][round % 5]!;
    const isTls = round % 2 === 0;
    await new Promise<void>((resolve) => {
      const socket = isTls ? connectTls({ host: "127.0.0.1", port, ca: server.pki.ca, ALPNProtocols: [round % 4 === 0 ? "h2" : "http/1.1"], servername: "localhost" }) : connect(port, "127.0.0.1");
      socket.on(isTls ? "secureConnect" : "connect", () => socket.end(bytes));
      socket.on("error", () => {});
      socket.on("close", () => resolve());
      socket.setTimeout(500, () => socket.destroy());
      socket.resume();
    });
  }
  assert.deepEqual(crashes, []);
  assert.equal(server.api.store.revision, revision);
  const agent = new Agent();
  assert.equal((await ask(server, agent, { method: "GET", path: "/readyz", headers: {} })).code, 200);
  agent.destroy();
});
