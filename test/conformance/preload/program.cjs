// Any program of a pod: asks by one client, which its environment names, and tells what came back.
const { parentPort, Worker, isMainThread } = require("node:worker_threads");
const { fork } = require("node:child_process");
const { createRequire } = require("node:module");
const { pathToFileURL } = require("node:url");

const { CLIENT, FORM, CLIENTS } = process.env;
const packages = createRequire(`${CLIENTS}/package.json`);
const load = async (name) => {
  // Of a bundle, which has the client in it.
  if (globalThis.bundledClient && !name.startsWith("node:")) return globalThis.bundledClient;
  if (FORM !== "ESM") {
    try {
      return packages(name);
    } catch (error) {
      if (error.code !== "ERR_REQUIRE_ESM" && error.code !== "ERR_PACKAGE_PATH_NOT_EXPORTED") throw error;
    }
  }
  const found = name.startsWith("node:") ? name : pathToFileURL(packages.resolve(name)).href;
  return import(found);
};
const whole = (response) => new Promise((resolve, reject) => {
  let text = "";
  response.setEncoding("utf8").on("data", (data) => (text += data)).on("end", () => resolve(JSON.parse(text))).on("error", reject);
});
const undici = (major) => async () => {
  const { request } = await load(`undici${major}`);
  return async (url) => (await request(url)).body.json();
};

const clients = {
  async http() {
    const { get, Agent } = await load("node:http");
    const agent = new Agent({ keepAlive: true });
    return (url) => new Promise((resolve, reject) => get(url, { agent }, (response) => whole(response).then(resolve, reject)).on("error", reject));
  },
  fetch: async () => async (url) => (await fetch(url)).json(),
  undici5: undici(5),
  undici6: undici(6),
  undici7: undici(7),
  undici8: undici(8),
  async axios() {
    const axios = (await load("axios")).default;
    return async (url) => (await axios.get(url)).data;
  },
  async got() {
    const { got } = await load("got");
    return (url) => got(url).json();
  },
  async "node-fetch"() {
    const loaded = await load("node-fetch");
    return async (url) => (await loaded.default(url)).json();
  },
  async ws() {
    const loaded = await load("ws");
    const Socket = loaded.WebSocket ?? loaded.default;
    return (url) => new Promise((resolve, reject) => {
      const socket = new Socket(url.replace("http:", "ws:"));
      socket.on("error", reject).on("message", (data) => {
        socket.close();
        resolve(JSON.parse(String(data)));
      });
    });
  },
  async "grpc-js"() {
    const loaded = await load("@grpc/grpc-js");
    const { Client, credentials } = loaded.Client ? loaded : loaded.default;
    let client;
    return (_, grpc) => {
      client ??= new Client(grpc, credentials.createInsecure());
      return new Promise((resolve, reject) => client.makeUnaryRequest("/demo.Who/Am", (value) => Buffer.from(value), (bytes) => JSON.parse(String(bytes)), "", { deadline: Date.now() + 20_000 }, (error, value) => (error ? reject(error) : resolve(value))));
    };
  },
};

const start = async (port) => {
  const ask = await clients[CLIENT]();
  port.on("message", async ({ url, grpc, times }) => {
    const answers = [];
    try {
      for (let i = 0; i < times; i++) answers.push(await ask(url, grpc));
      port.say({ answers });
    } catch (error) {
      port.say({ error: `${error.stack} ${error.cause ?? ""}` });
    }
  });
  port.say({ ready: process.versions.node });
};

const relay = (inner) => {
  process.on("message", (message) => (inner.postMessage ? inner.postMessage(message) : inner.send(message)));
  inner.on("message", (message) => process.send(message)).on("error", (error) => process.send({ error: String(error.stack) }));
};
process.on("disconnect", () => process.exit());
const fail = (error) => (parentPort ? parentPort.postMessage({ error: String(error.stack) }) : process.send({ error: String(error.stack) }));
if (!isMainThread) start(Object.assign(parentPort, { say: (message) => parentPort.postMessage(message) })).catch(fail);
else if (FORM === "worker") relay(new Worker(__filename));
else if (FORM === "child" && !process.env.INNER) relay(fork(__filename, { env: { ...process.env, INNER: "1" } }));
else start(Object.assign(process, { say: (message) => process.send(message) })).catch(fail);
