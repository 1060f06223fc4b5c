// A service with moods. `echo broken >/tmp/mood` inside its pod, and it is:
//   broken     answers 503; its probes still say that all is well
//   sick       answers 503, to its probes as well
//   slow 300   answers after 300 ms
//   hung       takes requests and never answers
// Without the file it is well.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { hostname } from "node:os";

const name = process.env.HOSTNAME ?? hostname();
const version = process.env.VERSION ?? "v1";
// For a version that was never going to work.
const isReadyEver = process.env.NEVER_READY === undefined;

const server = createServer(async (request, response) => {
  const [mood, ms] = moodOf();
  const isProbe = request.url === "/live" || request.url === "/ready";
  request.resume();
  const answer = (status) => response.writeHead(status, { "x-pod": name, "x-version": version }).end(`${version} from ${name}\n`);
  if (request.url === "/ready" && !isReadyEver) return answer(503);
  if (mood === "sick" || (mood === "broken" && !isProbe)) return answer(503);
  if (isProbe || mood === undefined) return answer(200);
  if (mood === "slow") setTimeout(() => answer(200), Number(ms));
});

function moodOf() {
  try {
    return readFileSync("/tmp/mood", "utf8").trim().split(" ");
  } catch {
    return [];
  }
}

server.listen(8080);
// What is under way is answered, idle connections are closed, and then there is nothing left to do.
process.on("SIGTERM", () => server.close());
