// A Node program of a pod: kept connections, each with a request at a time. Asked by messages; says how long each took and what CPU it cost.
const http = require("node:http");
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

process.on("message", async ({ url, clients, ms }) => {
  const end = performance.now() + ms;
  const took = [];
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: clients }, () => new Promise((done, fail) => {
    const next = () => {
      const since = performance.now();
      if (since >= end) return done();
      http.get(url, { agent }, (response) => response.resume().on("end", () => {
        took.push(performance.now() - since);
        next();
      })).on("error", fail);
    };
    next();
  })));
  const { user, system } = process.cpuUsage(before);
  process.send({ took, cpuMicros: user + system });
});
process.on("disconnect", () => process.exit());
process.send("ready");
