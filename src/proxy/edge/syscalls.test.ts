import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:http";
import { type TestContext, test } from "node:test";
import { find, needs } from "../../../test/needs.ts";
import { eventually, gatewayTo, nextAddress, port, snapshot, startSupervisor } from "../testing/network.ts";

/**
 * What a request costs the kernel: a figure without noise, where processor time has a quarter of it. Counted in a real worker,
 * with policy, limits and access log. nginx: 2 recvfrom, 2 writev and a getsockopt a request.
 */
const requests = 200;

interface Call {
  name: string;
  line: string;
}

/** What the worker's main thread asks of the kernel while `work` runs. undefined: this user may not look. */
async function traced(pid: number, folder: string, more: string[], work: () => Promise<void>): Promise<Call[] | undefined> {
  const file = join(folder, `trace-${more.length}`);
  const strace = spawn(find("strace")!, ["-p", String(pid), "-o", file, "-s", "0", ...more], { stdio: ["ignore", "ignore", "pipe"] });
  const exited = once(strace, "exit");
  let said = "";
  strace.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  await eventually(() => /attached/.test(said) || strace.exitCode !== null, 30_000);
  if (strace.exitCode !== null) {
    if (/Operation not permitted/.test(said) && process.env["WHERRY_CI"] !== "1") return undefined;
    throw new Error(`strace: ${said}`);
  }
  try {
    await work();
  } finally {
    strace.kill("SIGINT");
    await exited;
  }
  const lines = readFileSync(file, "utf8").split("\n");
  // What was interrupted by the tracing itself is resumed on a line of its own.
  return lines.flatMap((line) => (/^(\w+)\(/.test(line) ? { name: /^(\w+)/.exec(line)![1]!, line } : []));
}

/** The same, without what became of a kept connection that nobody had used for too long: that depends on the machine. */
async function tracedKept(...given: Parameters<typeof traced>): ReturnType<typeof traced> {
  for (;;) {
    const calls = await traced(...given);
    if (!calls?.some(({ name }) => name === "connect")) return calls;
  }
}

/** A connection on which one asks and waits for so many bytes of an answer. */
async function client(address: string): Promise<{ socket: Socket; ask(request: string, bytes: number): Promise<void> }> {
  const socket = connect(8080, address);
  await once(socket, "connect");
  socket.setNoDelay(true);
  let have = 0;
  let wanted = 0;
  let told = () => {};
  socket.on("data", (bytes: Buffer) => {
    have += bytes.length;
    if (have >= wanted) told();
  });
  return {
    socket,
    ask: async (request, bytes) => {
      have = 0;
      wanted = bytes;
      const answered = new Promise<void>((resolve, reject) => {
        told = resolve;
        socket.once("error", reject).once("close", () => reject(new Error(`closed after ${have} of ${bytes} bytes`)));
      });
      socket.write(request);
      await answered;
      socket.removeAllListeners("error").removeAllListeners("close");
    },
  };
}

const big = Buffer.alloc(1024 * 1024, "x");

/** A Gateway, or a Service's listener that judges each request. Nobody has called by the other: what was kept for it would end at some time. */
async function dataPlane(t: TestContext, door: "gateway" | "service"): Promise<{ pid: number; address: string; folder: string }> {
  const folder = mkdtempSync(join(tmpdir(), "wherry-syscalls-"));
  const net = await startSupervisor({ accessLog: join(folder, "gateway.log"), judges: true });
  const pod = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    request.resume();
    const body = request.url === "/big" ? big : "hello";
    request.on("end", () => response.writeHead(200, { "content-length": body.length }).end(body));
  }).listen(0, "127.0.0.1");
  t.after(async () => {
    pod.closeAllConnections();
    pod.close();
    await net[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });
  await once(pod, "listening");
  const [service, gateway] = [nextAddress(), nextAddress()];
  net.setPod!("127.0.0.1", { namespace: "default", name: "client", serviceAccount: "client" });
  net.publish(snapshot(1, { name: "web", clusterIPs: [service], ports: [port(8080, [{ ip: "127.0.0.1", port: (pod.address() as { port: number }).port }], { appProtocol: "http" })] }));
  net.publishTraffic({
    revision: 1,
    put: {
      ...gatewayTo(gateway, 8080),
      guards: [{ id: "g", createdAt: 1, services: ["default/web"], authorisation: { name: "default/web", action: "ALLOW", rules: [{ from: [{ principals: { any: ["cluster.local/ns/default/sa/client"] } }], to: [{ methods: { any: ["GET", "POST"] } }] }] } }],
    },
    remove: {},
  });
  const answer = async (address: string, request: string): Promise<string> => {
    const { socket, ask } = await client(address);
    let text = "";
    socket.on("data", (bytes) => (text += bytes));
    try {
      await ask(request, 1);
      return text.split("\r\n")[0]!;
    } finally {
      socket.destroy();
    }
  };
  const address = { gateway, service }[door];
  await eventually(async () => (await answer(address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")) === "HTTP/1.1 200 OK", 30_000);
  if (door === "service") {
    await eventually(async () => (await answer(address, "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n")) === "HTTP/1.1 403 Forbidden", 30_000);
    // A refusal is logged, and that is over before anything is counted.
    await eventually(() => readFileSync(join(folder, "gateway.log"), "utf8").includes('"status":403'), 30_000);
  }
  return { pid: net.pids()[0]!, address, folder };
}

const get = "GET / HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\n\r\n";
const post = `POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1024\r\n\r\n${"x".repeat(1024)}`;
/** Only calls for connections count: what V8 does for its memory is its own affair. */
const ofConnections = (calls: readonly Call[]): Call[] => calls.filter(({ line }) => line.includes("<TCP:"));
const counts = (calls: readonly Call[]): Record<string, number> => Object.fromEntries([...Map.groupBy(calls, ({ name }) => name)].map(([name, { length }]) => [name, length] as const).sort(([a], [b]) => (a < b ? -1 : 1)));

for (const door of ["gateway", "service"] as const) test(`${door}: a request on a kept connection is read once and written once on either side; a short connection costs four calls more`, async (t) => {
  if (!needs(t, "strace")) return;
  const { pid, address, folder } = await dataPlane(t, door);
  const { socket, ask } = await client(address);
  // Head and first body of an answer are known by now, and the second write has said TCP_NODELAY.
  for (let i = 0; i < 50; i++) await ask(i % 2 === 0 ? get : post, 1);
  const kept = await tracedKept(pid, folder, ["-yy"], async () => {
    for (let i = 0; i < requests; i++) await ask(i % 2 === 0 ? get : post, 1);
  });
  if (!kept) return t.skip("this user may not trace a process that is not its child's (kernel.yama.ptrace_scope)");
  assert.deepEqual(counts(ofConnections(kept)), { read: 2 * requests, write: 2 * requests });
  const log = kept.filter(({ name, line }) => name === "write" && line.includes("/gateway.log>"));
  assert.ok(door === "service" || log.length > 0);
  assert.ok(log.length <= (door === "service" ? 0 : requests / 4), `lines are logged together: ${log.length} writes`);

  const before = "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
  const short = (await tracedKept(pid, folder, ["-yy", "-v"], async () => {
    for (let i = 0; i < requests; i++) {
      const one = await client(address);
      one.socket.write(before);
      await once(one.socket.resume(), "end");
      one.socket.destroy();
    }
  }))!;
  const { epoll_ctl = 0, ...rest } = counts(ofConnections(short));
  // One accept is the tracing's begin or end.
  assert.deepEqual({ ...rest, accept4: requests }, { accept4: requests, close: requests, getpeername: requests, read: 2 * requests, write: 2 * requests });
  assert.ok(epoll_ctl <= 2 * requests, `${epoll_ctl} epoll_ctl`);
  socket.destroy();
});

test("a long body is written from where it was read", async (t) => {
  if (!needs(t, "strace")) return;
  const { pid, address, folder } = await dataPlane(t, "gateway");
  const { socket, ask } = await client(address);
  const rounds = 8;
  // Without decoding, buffers are addresses: a write from within the last read's has copied nothing.
  const calls = await traced(pid, folder, ["-e", "raw=read,write"], async () => {
    for (let i = 0; i < rounds; i++) await ask("GET /big HTTP/1.1\r\nHost: shop.example\r\n\r\n", big.length);
    // The call that is under way when the tracing ends is not written down.
    await ask(get, 1);
  });
  if (!calls) return t.skip("this user may not trace a process that is not its child's (kernel.yama.ptrace_scope)");
  let [from, to] = [0n, 0n];
  let [whole, uncopied] = [0n, 0n];
  for (const { name, line } of calls) {
    const [, address = "0", result = "0"] = /^\w+\(0x[0-9a-f]+, (0x[0-9a-f]+), 0x[0-9a-f]+\)\s*= (0x[0-9a-f]+)/.exec(line) ?? [];
    const at = BigInt(address);
    if (name === "read") [from, to] = [at, at + BigInt(result)];
    if (name !== "write") continue;
    whole += BigInt(result);
    if (at >= from && at < to) uncopied += BigInt(result);
  }
  assert.ok(whole >= BigInt(rounds * big.length), `${whole} bytes`);
  assert.ok(uncopied * 2n > whole, `${uncopied} of ${whole} bytes were written from where they were read`);
  socket.destroy();
});
