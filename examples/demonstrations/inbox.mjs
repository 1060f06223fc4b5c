// Takes messages, and says of each in its log that it has it. `echo 50 >/tmp/drop-dead` inside its pod, and the 50th message
// from then on is its last: it is lost with the program. `echo 50 after >/tmp/drop-dead`: it is kept, and only the answer is lost.
import { readFileSync, writeSync } from "node:fs";
import { createServer } from "node:http";
import { hostname } from "node:os";

const name = process.env.HOSTNAME ?? hostname();
let left = Infinity;
let whenKept = false;

const server = createServer(async (request, response) => {
  if (request.method !== "POST") return response.writeHead(200).end();
  let message = "";
  for await (const chunk of request) message += chunk;
  if (left === Infinity) readOrder();
  left--;
  if (left === 0 && !whenKept) process.kill(process.pid, "SIGKILL");
  writeSync(1, `${message}\n`);
  if (left === 0) process.kill(process.pid, "SIGKILL");
  response.writeHead(200, { "x-pod": name }).end("kept\n");
});

function readOrder() {
  try {
    const [count, when] = readFileSync("/tmp/drop-dead", "utf8").trim().split(" ");
    [left, whenKept] = [Number(count), when === "after"];
  } catch {
    // nobody said so
  }
}

server.listen(8080);
process.on("SIGTERM", () => server.close());
