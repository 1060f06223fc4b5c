import assert from "node:assert/strict";
import { test } from "node:test";
import { SandboxHarness, containerSpec, runIn } from "../node/sandbox/testing.ts";
import { bindHandle, type TcpHandle } from "../base/handles.ts";
import { dialTcp } from "./dial.ts";
import { NotOutsideError } from "./egress.ts";
import type { Outside } from "./outside.ts";
import { eventually, exchange, listen, port, snapshot, startSupervisor } from "./testing/network.ts";

/** The data plane inside the real pod network, with real pods; skipped where namespaces are not allowed. */
const harness = await SandboxHarness.start().catch(() => undefined);
if (harness) test.after(() => harness[Symbol.asyncDispose]());
const skip = harness ? false : "this machine allows no namespaces";
const network = harness?.sandbox.network;

const ask = (url: string) => ["python3", "-c", `import urllib.request,sys\ntry: print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())\nexcept Exception as e: print(e)`, url];

test("pods reach each other by ClusterIP and by name; names and addresses without an endpoint refuse", { skip, timeout: 60_000 }, async () => {
  await using net = await startSupervisor({ network: network! });
  const [server, client] = [await harness!.pod(), await harness!.pod()];
  await server.startContainer(containerSpec(["python3", "-c", "import http.server\nclass H(http.server.BaseHTTPRequestHandler):\n def do_GET(s):\n  b=('hello '+s.client_address[0]).encode(); s.send_response(200); s.send_header('content-length',str(len(b))); s.end_headers(); s.wfile.write(b)\n def log_message(*a): pass\nhttp.server.ThreadingHTTPServer(('0.0.0.0',8080),H).serve_forever()"]));
  const web = { name: "web", clusterIPs: ["10.96.0.50"], ports: [port(80, [{ ip: server.ip, port: 8080 }])] };
  net.publish(snapshot(1, web, { name: "down", clusterIPs: ["10.96.0.51"], ports: [port(80, [{ ip: server.ip, port: 8080, ready: false }])] }));
  const probe = () => net.probe({ type: "http", scheme: "HTTP", path: "/", headers: [], ip: server.ip, port: 8080, timeoutMs: 1_000 });
  const seen = await eventually(async () => {
    const result = await probe();
    return result.success ? result : undefined;
  });
  assert.equal(seen!.output, `hello ${network!.gatewayIP}`, "probes come from the gateway");
  const answers = await Promise.all([ask("http://10.96.0.50/"), ask("http://web/"), ask("http://web.default.svc.cluster.local/"), ask("http://10.96.0.51/"), ask("http://10.96.0.52/"), ask("http://nobody/"), ask(`http://${server.ip}:8080/`)].map((argv) => runIn(client, argv)));
  assert.deepEqual(
    answers.map(({ stdout }) => stdout.trim()),
    [`hello ${network!.gatewayIP}`, `hello ${network!.gatewayIP}`, `hello ${network!.gatewayIP}`, "<urlopen error [Errno 111] Connection refused>", "<urlopen error [Errno 111] Connection refused>", "<urlopen error [Errno -2] Name or service not known>", `hello ${client.ip}`],
  );
  const dialled = (await net.dialPod(server.ip, 8080)) as TcpHandle;
  const name: { address?: string; port?: number } = {};
  assert.equal(dialled.getpeername(name), 0);
  assert.deepEqual([name.address, name.port], [server.ip, 8080]);
  dialled.close();
  await assert.rejects(net.dialPod(server.ip, 9), /dial tcp .*:9: connect: connection refused/);
  await Promise.all([server.remove(), client.remove()]);
});

test("a killed worker refuses no pod", { skip, timeout: 60_000 }, async () => {
  await using net = await startSupervisor({ network: network! });
  const [server, client] = [await harness!.pod(), await harness!.pod()];
  await server.startContainer(containerSpec(["node", "-e", "require('net').createServer(s => { s.on('error', () => {}); s.end('pong') }).listen(8080)"]));
  net.publish(snapshot(1, { name: "web", clusterIPs: ["10.96.0.50"], ports: [port(80, [{ ip: server.ip, port: 8080 }])] }));
  await eventually(async () => (await net.probe({ type: "tcp", ip: server.ip, port: 8080, timeoutMs: 500 })).success);
  const load = runIn(client, [
    "node",
    "-e",
    `const net = require("net"); const end = Date.now() + 2500; const outcomes = {}; let worst = 0;
     const once = () => new Promise((done) => { const began = Date.now(); let text = ""; const s = net.connect(80, "10.96.0.50");
       s.on("data", (d) => text += d).on("error", (e) => { text = e.code }).on("close", () => { worst = Math.max(worst, Date.now() - began); outcomes[text || "empty"] = (outcomes[text || "empty"] ?? 0) + 1; done() }) });
     Promise.all([1, 2, 3, 4].map(async () => { while (Date.now() < end) await once() })).then(() => console.log(JSON.stringify({ outcomes, worst })));`,
  ]);
  for (let kill = 0; kill < 3; kill++) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const [pid] = net.pids();
    process.kill(pid!, "SIGKILL");
    await eventually(() => net.pids()[0] !== pid);
  }
  const { stdout } = await load;
  const { outcomes, worst } = JSON.parse(stdout) as { outcomes: Record<string, number>; worst: number };
  assert.equal(outcomes["ECONNREFUSED"], undefined, stdout);
  assert.ok(outcomes["pong"]! > 50, stdout);
  assert.ok(worst < 2_000, stdout);
  console.log(`# ${stdout.trim()}`);
  await Promise.all([server.remove(), client.remove()]);
});

const skipLong = skip || (process.env["WHERRY_CONFORMANCE"] ? false : "many pods come and go: npm run conformance");
test("nobody waits for a pod whose network is taken down under the dial", { skip: skipLong, timeout: 120_000 }, async () => {
  await using net = await startSupervisor({ network: network! });
  let worstMs = 0;
  for (let round = 1; round <= 20; round++) {
    const server = await harness!.pod();
    await server.startContainer(containerSpec(["node", "-e", "require('net').createServer(s => { s.on('error', () => {}); s.end('pong') }).listen(8080)"]));
    net.setPod!(server.ip, { namespace: "default", name: "web", serviceAccount: "default" });
    net.publish(snapshot(round, { name: "web", clusterIPs: [], ports: [port(80, [{ ip: server.ip, port: 8080 }])] }));
    const hostPort = Number(net.hostAddresses()[0]!.address!.split(":")[1]);
    assert.equal(await eventually(() => exchange("127.0.0.1", hostPort)), "pong");
    let isOver = false;
    let asked = 0;
    const load = async () => {
      while (!isOver) {
        const began = performance.now();
        await exchange("127.0.0.1", hostPort).catch(() => {});
        asked++;
        worstMs = Math.max(worstMs, performance.now() - began);
      }
    };
    const loads = Array.from({ length: 24 }, load);
    await eventually(() => asked > 50);
    // As the agent does it: all has ended, it says so, and the network goes. What is told of endpoints comes later.
    net.setPod!(server.ip, undefined);
    await server.remove();
    const before = asked;
    await eventually(() => asked > before + 50);
    isOver = true;
    await Promise.all(loads);
  }
  assert.ok(worstMs < 1_500, `somebody waited for ${worstMs} ms`);
});

test("egress: dialled outside, never to the machine itself; other ports are refused; a Service may lead outside on any", { skip, timeout: 60_000 }, async () => {
  await using target = await listen((socket) => socket.end("outside"));
  const dialled: string[] = [];
  const outside: Outside = {
    dial(ip, number) {
      dialled.push(`${ip}:${number}`);
      if (ip !== "192.0.2.7") return Promise.reject(new NotOutsideError(ip, number));
      return dialTcp("127.0.0.1", target.port, 1_000);
    },
    resolve: async (name) => (name === "api.example.com" ? { rcode: 0, records: [{ name, ttl: 5, type: "A", ip: "192.0.2.7" }] } : { rcode: 3, records: [] }),
  };
  await using net = await startSupervisor({ network: network!, outside, egressPorts: [80, 8443] });
  const refused: string[] = [];
  net.onEgressRefused!(({ message }) => refused.push(message));
  net.publish(snapshot(1, { name: "beyond", clusterIPs: ["10.96.0.60"], ports: [port(5432, [{ ip: "192.0.2.7", port: 5433 }])] }, { name: "self", clusterIPs: ["10.96.0.61"], ports: [port(5432, [{ ip: "192.0.2.8", port: 22 }])] }));
  const client = await harness!.pod();
  const read = (host: string, number: number) => ["python3", "-c", `import socket\ntry:\n s=socket.create_connection(('${host}',${number}),5); print(s.recv(100).decode() or 'empty')\nexcept Exception as e: print(e)`];
  const answers = await Promise.all([read("192.0.2.7", 80), read("192.0.2.8", 8443), read("192.0.2.7", 23), read("192.0.2.7", 22), read("api.example.com", 80), read("beyond", 5432), read("self", 5432)].map((argv) => runIn(client, argv)));
  assert.deepEqual(answers.map(({ stdout }) => stdout.trim()), ["outside", "[Errno 104] Connection reset by peer", "[Errno 111] Connection refused", "[Errno 104] Connection reset by peer", "outside", "outside", "[Errno 104] Connection reset by peer"]);
  assert.deepEqual(dialled.toSorted(), ["192.0.2.7:5433", "192.0.2.7:80", "192.0.2.7:80", "192.0.2.8:22", "192.0.2.8:8443"]);
  assert.deepEqual(refused.map((message) => message.split(";")[0]).toSorted(), [
    "Connection to 192.0.2.7:22 refused: pods reach the outside by TCP on ports 80 and 8443 only",
    "Connection to 192.0.2.8:8443 refused: the address belongs to this machine or its links, which pods never reach",
  ]);
  await client.remove();
});

test("a listener of the pod network can be served from elsewhere", { skip, timeout: 60_000 }, async () => {
  await using net = await startSupervisor({ network: network! });
  const handle = (await net.listenInPodNetwork(network!.apiServiceIP, 443)) as TcpHandle;
  assert.equal(bindHandle(network!.apiServiceIP, 443).code, "EADDRNOTAVAIL", "the address does not exist out here");
  const { createServer } = await import("node:net");
  const server = createServer((socket) => socket.end("api")).listen(handle);
  const client = await harness!.pod();
  const { stdout } = await runIn(client, ["python3", "-c", `import socket; print(socket.create_connection(('${network!.apiServiceIP}',443),5).recv(100).decode())`]);
  assert.equal(stdout.trim(), "api");
  server.close();
  await client.remove();
});
