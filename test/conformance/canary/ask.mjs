// ask.mjs REQUESTS AT-ONCE kept|new: how many of so many requests each version answered, by its own word.
import { Agent, get } from "node:http";

const [requests, atOnce, connections] = process.argv.slice(-3);
const agent = new Agent({ keepAlive: connections === "kept" });
const counts = {};
let left = Number(requests);
const caller = async () => {
  while (left-- > 0) {
    const answer = await new Promise((resolve) => {
      get({ agent, host: "go-app" }, (response) => {
        let text = "";
        response.on("data", (data) => (text += data)).on("end", () => resolve(response.statusCode === 200 ? text : String(response.statusCode)));
      }).on("error", (error) => resolve(error.code));
    });
    counts[answer] = (counts[answer] ?? 0) + 1;
  }
};
await Promise.all(Array.from({ length: Number(atOnce) }, caller));
agent.destroy();
console.log(JSON.stringify(counts));
