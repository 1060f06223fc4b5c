// A Node program of a pod: kept connections, each with a request at a time. Asked by messages; says how long each took and what CPU it cost.
const http = require("node:http");
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

/** One request after another on each of so many connections. */
function closed(url, clients, ms, took) {
  const end = performance.now() + ms;
  return Promise.all(Array.from({ length: clients }, () => new Promise((done, fail) => {
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
}

/** So many a second, whatever the answers do; a request has waited since the millisecond that it belongs to. */
function constant(url, rate, ms, took) {
  const total = Math.floor((rate * ms) / 1000);
  const began = performance.now();
  let sent = 0;
  let ended = 0;
  return new Promise((done, fail) => {
    const tick = () => {
      const due = Math.min(total, Math.floor((Math.floor(performance.now() - began) * rate) / 1000));
      for (; sent < due; sent++) {
        const since = began + Math.ceil(((sent + 1) * 1000) / rate);
        http.get(url, { agent }, (response) => response.resume().on("end", () => {
          took.push(performance.now() - since);
          if (++ended === total) done();
        })).on("error", fail);
      }
      if (sent < total) setTimeout(tick, 1);
    };
    tick();
  });
}

process.on("message", async ({ url, clients, rate, ms }) => {
  const took = [];
  const before = process.cpuUsage();
  await (rate ? constant(url, rate, ms, took) : closed(url, clients, ms, took));
  const { user, system } = process.cpuUsage(before);
  process.send({ took, cpuMicros: user + system });
});
process.on("disconnect", () => process.exit());
process.send("ready");
