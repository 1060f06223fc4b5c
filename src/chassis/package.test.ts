import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { builtinModules, stripTypeScriptTypes } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";

const source = dirname(import.meta.dirname);
const root = dirname(source);
const { exports: doors } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { exports: Record<string, { default: string }> };
/** By their paths in the package: "./chassis/config" → src/chassis/config.ts. */
const pieces = Object.entries(doors).filter(([door]) => door.startsWith("./chassis")).map(([door, { default: file }]) => [door, file.replace("./lib/", "").replace(/\.js$/, ".ts")] as const);

/** Everything that a file loads when it is loaded; types and what is loaded later are not. */
function loadedBy(file: string, seen = new Map<string, string[]>()): Map<string, string[]> {
  if (seen.has(file)) return seen;
  const text = stripTypeScriptTypes(readFileSync(join(source, file), "utf8"));
  const targets = [...text.matchAll(/^(?:import|export)\b[^;]*?\bfrom\s+"([^"]+)"|^import\s+"([^"]+)"/gm)].map((match) => match[1] ?? match[2]!);
  seen.set(file, targets.filter((target) => !target.startsWith(".")));
  for (const target of targets) if (target.startsWith(".")) loadedBy(relative(source, resolve(source, dirname(file), target)), seen);
  return seen;
}
const isOfNode = (name: string): boolean => name.startsWith("node:") && builtinModules.includes(name.slice(5));

test("each piece is there, and loads nothing but itself: Fastify for services alone, gRPC when it is asked for", () => {
  assert.ok(pieces.length > 15);
  for (const [door, file] of pieces) {
    assert.ok(existsSync(join(source, file)), `${door}: ${file}`);
    const foreign = [...loadedBy(file).values()].flat().filter((name) => !isOfNode(name));
    const needsFastify = /^\.\/chassis(\/(service|testing))?$/.test(door);
    assert.deepEqual([...new Set(foreign)], needsFastify ? ["fastify"] : [], door);
    if (/\/(health|metrics|log|loop|problem|config|context)$/.test(door)) assert.ok(loadedBy(file).size <= 8, `${door} loads ${[...loadedBy(file).keys()].join(", ")}`);
  }
});

const program = `
  import { createHttpClient, createJsonRpcClient, createService, loadConfig, serveJsonRpc, createGrpcServer, LOAD } from "./chassis/index.js";
  import { integer } from "./chassis/config.js";
  for (const piece of PIECES) await import(piece);
  const { value } = loadConfig({ port: integer() }, { env: { PORT: "0" }, watch: false });
  const service = createService({ name: "old", host: "127.0.0.1", port: value.port, signals: false, env: {}, log: { level: "silent" } });
  service.app.post("/echo", async (request) => request.body);
  serveJsonRpc(service.app, "/rpc", { add: ([a, b]) => a + b });
  const grpc = await createGrpcServer({ service });
  await grpc.listen(0, "127.0.0.1");
  await service.start();
  const http = createHttpClient({ url: service.url, service });
  const echoed = await http.json("POST", "/echo", { body: { a: 1 } });
  const sum = await createJsonRpcClient(http, "/rpc").call("add", [1, 2]);
  const ready = (await http.json("GET", "/ready")).status;
  await service.stop();
  console.log(JSON.stringify([echoed, sum, ready]));
`.replace(", LOAD", "");

test("it runs as JavaScript on plain Node, this one and the other that may be here, without Wherry", { timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-chassis-"));
  try {
    for (const file of new Set(pieces.flatMap(([, file]) => [...loadedBy(file).keys()]).concat("chassis/grpc-load.ts"))) {
      const target = join(folder, file.replace(/\.ts$/, ".js"));
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, stripTypeScriptTypes(readFileSync(join(source, file), "utf8")).replace(/(["'])(\.{1,2}\/[\w./-]+)\.ts\1/g, '"$2.js"'));
    }
    writeFileSync(join(folder, "package.json"), '{"type":"module"}');
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    const imports = pieces.map(([, file]) => `./${file.replace(/\.ts$/, ".js")}`);
    writeFileSync(join(folder, "main.js"), program.replace("PIECES", JSON.stringify(imports)));
    // Another Node, where a distribution has one; a path of its own, so that none is counted twice.
    const others = ["/usr/bin/node", "/usr/local/bin/node", "/opt/node18/bin/node"].filter((path) => existsSync(path));
    for (const node of [process.execPath, ...others]) assert.equal(execFileSync(node, [join(folder, "main.js")], { encoding: "utf8", env: {} }), '[{"a":1},3,"ready"]\n', node);
  } finally {
    rmSync(join(folder, "node_modules"), { force: true });
    rmSync(folder, { recursive: true, force: true });
  }
});
