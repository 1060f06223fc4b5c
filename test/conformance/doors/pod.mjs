// A pod behind the doors: says who it is and what it was asked, and misbehaves when it is asked to.
import { createServer } from "node:http";

const { POD: pod, VERSION: version } = process.env;
/** Requests so far, by their key. */
const seen = new Map();
/** By a case: what its health page answers, as somebody has turned it last. */
const health = new Map();

createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://pod");
  const [, what, word = "", more = ""] = pathname.split("/");
  const key = request.headers["x-key"];
  if (key !== undefined) seen.set(key, (seen.get(key) ?? 0) + 1);
  const tries = seen.get(key) ?? 0;
  const answer = (status) => {
    // "NAME=VALUE, …": headers of the answer.
    const fields = Object.fromEntries((request.headers["x-answer"] ?? "").split(", ").filter(Boolean).map((pair) => pair.split("=")));
    response.writeHead(status, { "content-type": "application/json", "x-pod": pod, ...fields });
    response.end(JSON.stringify({ pod, version, method: request.method, path: request.url, headers: request.headers, tries: what === "seen" ? (seen.get(word) ?? 0) : tries }));
  };
  request.resume().on("end", () => {
    // Fails the first times that a key is seen; fails in one pod alone; is slow.
    if (what === "flaky") answer(tries <= Number(word) ? 503 : 200);
    else if (what === "fails-in") answer(word === pod ? 500 : 200);
    else if (what === "slow") setTimeout(answer, Number(word), 200);
    else if (what === "status") answer(Number(word));
    else if (what === "health") answer(health.get(word) ?? 200);
    else if (what === "turn") {
      health.set(word, Number(more));
      answer(200);
    } else answer(200);
  });
}).listen(8080);
