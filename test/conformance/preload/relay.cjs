// A program that is called by HTTP, HTTP/2 and gRPC, and for each call makes one of its own by what it is told to. It knows nothing of traces.
const { createRequire } = require("node:module");
const { pathToFileURL } = require("node:url");

const { FORM, CLIENTS } = process.env;
const packages = createRequire(`${CLIENTS}/package.json`);
const plain = (value) => (Buffer.isBuffer(value) ? value : Buffer.from(value));
const method = { path: "/demo.Who/Am", requestStream: false, responseStream: false, requestSerialize: plain, requestDeserialize: plain, responseSerialize: plain, responseDeserialize: plain };

(async () => {
  const own = async (name) => (FORM === "ESM" ? await import(`node:${name}`) : require(`node:${name}`));
  const [http, http2] = [await own("http"), await own("http2")];
  // Of a bundle, which has it in it.
  const grpc = globalThis.bundledGrpc ?? (FORM === "ESM" ? (await import(pathToFileURL(packages.resolve("@grpc/grpc-js")).href)).default : packages("@grpc/grpc-js"));
  let channel;
  const sessions = new Map();
  const calls = {
    http: (to) => new Promise((resolve, reject) => http.get(to.http, (response) => {
      let text = "";
      response.on("data", (data) => (text += data)).on("end", () => resolve(text));
    }).on("error", reject)),
    fetch: async (to) => (await fetch(to.http)).text(),
    http2: (to, { kept = true } = {}) => new Promise((resolve, reject) => {
      let session = sessions.get(to.http2);
      if (!session) sessions.set(to.http2, (session = http2.connect(to.http2).on("error", reject)));
      session.unref();
      const stream = session.request({ ":path": "/" });
      let text = "";
      stream.setEncoding("utf8").on("data", (data) => (text += data)).on("error", reject).on("end", () => resolve(text)).end();
    }),
    // Answers by a callback, and the answer is a second call's: whatever comes after an answer belongs to the same request.
    grpc: (to) => new Promise((resolve, reject) => {
      channel ??= new grpc.Client(to.grpc, grpc.credentials.createInsecure());
      channel.makeUnaryRequest(method.path, plain, String, "x", (error, first) => {
        if (error) return reject(error);
        channel.makeUnaryRequest(method.path, plain, String, "x", (error, second) => (error ? reject(error) : resolve(JSON.stringify([JSON.parse(first), JSON.parse(second)].every(({ traceparent }) => (traceparent ?? "").slice(0, 36) === (JSON.parse(first).traceparent ?? "").slice(0, 36)) ? JSON.parse(first) : { traceparent: `two traces: ${first} ${second}` }))));
      });
    }),
  };
  // The body is read by events, as frameworks do it.
  const relay = (request, response) => {
    let body = "";
    request.on("data", (data) => (body += data)).on("end", () => {
      const { by, to } = JSON.parse(body);
      setImmediate(() => calls[by](to).then((text) => response.end(text), (error) => response.end(JSON.stringify({ error: String(error.stack) }))));
    });
  };
  const one = http.createServer(relay).listen(0, "127.0.0.1");
  const two = http2.createServer(relay).listen(0, "127.0.0.1");
  const server = new grpc.Server();
  server.addService({ Am: method }, { Am: (call, answer) => {
    const { by, to } = JSON.parse(String(call.request));
    calls[by](to).then((text) => answer(null, text), answer);
  } });
  await Promise.all([one, two].map((server) => new Promise((resolve) => (server.listening ? resolve() : server.once("listening", resolve)))));
  const port = await new Promise((resolve, reject) => server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => (error ? reject(error) : resolve(port))));
  process.send({ http: one.address().port, http2: two.address().port, grpc: port });
})().catch((error) => process.send({ error: String(error.stack) }));
process.on("disconnect", () => process.exit());
