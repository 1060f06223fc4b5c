// A service with four places: so many requests are worked on at a time, the others wait for one, as behind a pool of threads
// or of database connections. /book asks the service "reviews", and does without when that fails; /stock asks nobody.
import { Agent, createServer, get } from "node:http";

const agent = new Agent({ keepAlive: true });
const waiting = [];
let places = 4;

createServer(async (request, response) => {
  if (request.url === "/ready") return response.end();
  if (places === 0) await new Promise((resolve) => waiting.push(resolve));
  else places--;
  const reviews = request.url === "/book" && !response.destroyed ? await reviewsFor(response) : "none";
  response.writeHead(200, { "x-reviews": reviews }).end();
  if (waiting.length > 0) waiting.shift()();
  else places++;
}).listen(8080);

/** It waits as long as its own caller does. */
function reviewsFor(response) {
  return new Promise((resolve) => {
    const call = get("http://reviews/", { agent }, (answer) => {
      answer.on("end", () => resolve(answer.statusCode === 200 ? "there" : "none")).on("error", () => resolve("none")).resume();
    });
    call.on("error", () => resolve("none"));
    response.on("close", () => call.destroy());
  });
}
