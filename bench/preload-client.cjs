// A Node program of a pod: as many callers as it is told, each with a call at a time. Asked by messages; says how long each took and what CPU it cost.
const http = require("node:http");
const net = require("node:net");
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
const calls = {
  http: (url) => new Promise((done, fail) => http.get(url, { agent }, (response) => response.resume().on("end", done)).on("error", fail)),
  fetch: async (url) => (await fetch(url)).text(),
  // A connection each.
  net: (url) => new Promise((done, fail) => {
    const { hostname, port } = new URL(url);
    net.connect(Number(port), hostname).on("error", fail).on("close", done).resume().end("GET / HTTP/1.0\r\n\r\n");
  }),
};

process.on("message", async ({ url, clients, ms, by }) => {
  const end = performance.now() + ms;
  const took = [];
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: clients }, async () => {
    for (let since = performance.now(); since < end; since = performance.now()) {
      await calls[by](url);
      took.push(performance.now() - since);
    }
  }));
  const { user, system } = process.cpuUsage(before);
  process.send({ took, cpuMicros: user + system });
});
process.on("disconnect", () => process.exit());
process.send("ready");
