// Asks a URL again and again, and counts who answered what.
//
//   node load.mjs URL [--requests N] [--connections N] [--fresh] [--timeout MS] [--every MS] [--post] [--at-once] [--by pod|version|…]
//
// Without --requests it goes on until there is a file /tmp/enough, and asks once more then. Each connection is kept, and has one request at a time;
// with --fresh each request has a connection of its own, and --at-once sends all of them together over one, by HTTP/2.
// --post sends numbered messages instead of GET. --by names the header that says who answered: x-pod unless said.
import { existsSync } from "node:fs";
import { Agent, request as http1 } from "node:http";
import { connect } from "node:http2";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    requests: { type: "string" },
    connections: { type: "string", default: "1" },
    timeout: { type: "string", default: "60000" },
    every: { type: "string", default: "0" },
    by: { type: "string", default: "pod" },
    fresh: { type: "boolean", default: false },
    post: { type: "boolean", default: false },
    "at-once": { type: "boolean", default: false },
  },
});
const url = new URL(positionals[0]);
const most = Number(options.requests ?? Infinity);
const header = `x-${options.by}`;
const table = new Map();
let sent = 0;
let answered = 0;

function count(answer, from, ms) {
  const key = `${answer} ${from ?? "-"}`;
  const row = table.get(key) ?? { answer: String(answer), from: from ?? "-", count: 0, slowestMs: 0 };
  row.count++;
  row.slowestMs = Math.max(row.slowestMs, Math.round(ms));
  table.set(key, row);
  if (++answered === 50 && most === Infinity) console.log("running: 50 requests so far");
}

/** One request; resolves when it is answered, has failed, or took too long. */
function ask(agent, id) {
  const began = performance.now();
  return new Promise((resolve) => {
    const end = (answer, from) => {
      clearTimeout(timer);
      count(answer, from, performance.now() - began);
      resolve();
    };
    const request = http1(url, { agent, method: options.post ? "POST" : "GET" }, (response) => {
      response.on("end", () => end(response.statusCode, response.headers[header])).on("error", (error) => end(error.code)).resume();
    });
    const timer = setTimeout(() => request.destroy(Object.assign(new Error("too late"), { code: "TIMEOUT" })), Number(options.timeout));
    request.on("error", (error) => end(error.code)).end(options.post ? `message ${id}` : undefined);
  });
}

async function oneAfterTheOther() {
  const agent = new Agent({ keepAlive: !options.fresh, maxSockets: 1 });
  for (let isLast = false; sent < most && !isLast; ) {
    isLast = existsSync("/tmp/enough");
    await ask(agent, ++sent);
    if (Number(options.every) > 0) await pause(Number(options.every));
  }
  agent.destroy();
}

async function allAtOnce() {
  const session = connect(url.origin);
  const began = performance.now();
  const answers = Array.from({ length: most }, () => new Promise((resolve) => {
    sent++;
    let head = {};
    const stream = session.request({ ":path": url.pathname });
    stream.on("response", (headers) => (head = headers)).on("error", () => {}).on("close", () => {
      count(head[":status"] ?? "RESET", head[header], performance.now() - began);
      resolve();
    }).resume();
  }));
  await Promise.all(answers);
  session.close();
}

await (options["at-once"] ? allAtOnce() : Promise.all(Array.from({ length: Number(options.connections) }, oneAfterTheOther)));
const rows = [...table.values()].sort((a, b) => (`${a.answer} ${a.from}` < `${b.answer} ${b.from}` ? -1 : 1));
const line = (answer, from, count, slowest) => `${answer.padEnd(13)} ${from.padEnd(10)} ${count.padEnd(6)} ${slowest}`;
console.log(line("ANSWER", "FROM", "COUNT", "SLOWEST"));
for (const { answer, from, count, slowestMs } of rows) console.log(line(answer, from, String(count), `${slowestMs} ms`));
console.log(`${sent} requests, ${rows.filter(({ answer }) => !answer.startsWith("2")).reduce((sum, row) => sum + row.count, 0)} failed`);
