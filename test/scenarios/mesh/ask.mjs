// ask.mjs URL TIMES [NAME:VALUE]: asks again and again by one connection, and says how often each answer came.
import { Agent, get } from "node:http";

const [url, times, header = ""] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const [name, value] = header.split(":");
const counts = {};
const connections = new Set();
for (let i = 0; i < Number(times); i++) {
  const text = await new Promise((resolve, reject) => {
    get(url, { agent, headers: name ? { [name]: value } : {} }, (response) => {
      connections.add(response.socket.localPort);
      let body = "";
      response.on("data", (chunk) => (body += chunk)).on("end", () => resolve(response.statusCode === 200 ? body.trim() : String(response.statusCode)));
    }).on("error", reject);
  });
  counts[text] = (counts[text] ?? 0) + 1;
}
for (const text of Object.keys(counts).sort()) console.log(counts[text], text);
console.log("connections", connections.size);
agent.destroy();
