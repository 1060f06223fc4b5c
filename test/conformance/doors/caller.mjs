// An ordinary program that calls others by node:http with kept connections, and knows nothing of a mesh. POST / has it make calls; it says what it met.
import { Agent, createServer, request } from "node:http";

const agent = new Agent({ keepAlive: true });
function call({ url, method, headers }) {
  const began = performance.now();
  return new Promise((resolve) => {
    const fail = (error) => resolve({ error: error.code ?? String(error), ms: performance.now() - began });
    const asked = request(url, { agent, method, headers }, (response) => {
      const { remotePort } = response.socket;
      let text = "";
      response.setEncoding("utf8").on("data", (data) => (text += data)).on("error", fail);
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, text, remotePort, ms: performance.now() - began }));
    });
    asked.on("error", fail).end();
  });
}

const server = createServer(async (incoming, response) => {
  let text = "";
  for await (const data of incoming.setEncoding("utf8")) text += data;
  if (incoming.method !== "POST") return response.end();
  const { calls, atOnce } = JSON.parse(text);
  const answers = [];
  if (atOnce) answers.push(...(await Promise.all(calls.map(call))));
  else for (const one of calls) answers.push(await call(one));
  response.end(JSON.stringify(answers));
}).listen(Number(process.argv[2] ?? 8080), process.argv[3], () => process.send?.({ port: server.address().port }));
process.on("disconnect", () => process.exit());
