import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, connect, type AddressInfo, type Server } from "node:net";
import { text } from "node:stream/consumers";
import { type TestContext, test } from "node:test";
import { resources } from "../../src/api/resources.ts";
import { fakeNode } from "../fake-node.ts";
import { hasKubectl, startApi, type TestApi } from "../harness-api.ts";

/** Exec, attach, logs and port-forward with real clients: 1.33 and 1.31 over WebSocket, 1.28 over SPDY. */
const minors = ["1.33", "1.31", "1.28"];

async function withPod(t: TestContext, lines?: readonly string[]): Promise<{ server: TestApi; node: ReturnType<typeof fakeNode> }> {
  const node = fakeNode(lines);
  const server = await startApi({ node });
  t.after(() => server[Symbol.asyncDispose]());
  await server.client.create(resources.pods, "default", { metadata: { name: "p" }, spec: { nodeName: "wherry", containers: [{ name: "c", image: "a", stdin: true }] } });
  const status = { phase: "Running", conditions: [{ type: "Ready", status: "True" }], containerStatuses: [{ name: "c", ready: true, restartCount: 0, image: "a", imageID: "", state: { running: {} } }] };
  await server.client.patch(resources.pods, "default", "p", { status }, { subresource: "status" });
  return { server, node };
}

for (const minor of minors) {
  test(`trap 5: kubectl ${minor} exec gives output, input, its end, and the exit code`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const { server } = await withPod(t);
    const run = (args: string[], input?: string) => server.kubectl(minor, ["exec", ...args], input === undefined ? {} : { input });
    const both = await run(["p", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert.equal(both.stdout, "out\n");
    assert.match(both.stderr, /^err\ncommand terminated with exit code 3\n/);
    assert.equal(both.code, 3);
    const input = "x".repeat(3_000_000);
    const counted = await run(["-i", "p", "--", "wc", "-c"], input);
    assert.equal(counted.stdout.trim(), String(input.length), counted.stderr);
    const much = await run(["p", "--", "head", "-c", "20000000", "/dev/zero"]);
    assert.equal(Buffer.byteLength(much.stdout), 20_000_000);
    const unknown = await run(["p", "-c", "nope", "--", "ls"]);
    assert.match(unknown.stderr, /container (nope is not valid for pod p|not found in pod)/);
    const missing = await run(["p", "--", "missing"]);
    assert.match(missing.stderr, /container not found/);
    assert.notEqual(missing.code, 0);
  });

  test(`kubectl ${minor} attach joins the streams`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const { server } = await withPod(t);
    const { stdout, code, stderr } = await server.kubectl(minor, ["attach", "-i", "p"], { input: "hello\n" });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /hello\n/);
  });

  test(`trap 4: kubectl ${minor} port-forward carries many connections, half-close, and tells what fails`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const { server } = await withPod(t);
    // Answers what came when the client has ended its half.
    const echo = await listen(t, (socket) => {
      const chunks: Buffer[] = [];
      socket.on("data", (chunk: Buffer) => chunks.push(chunk));
      socket.on("end", () => socket.end(Buffer.concat(chunks)));
    });
    const closed = await closedPort();
    const child = server.spawnKubectl(minor, ["port-forward", "pod/p", `:${echo}`, `:${closed}`]);
    let output = "";
    child.stdout!.on("data", (chunk: Buffer) => (output += chunk.toString()));
    let errors = "";
    child.stderr!.on("data", (chunk: Buffer) => (errors += chunk.toString()));
    const localPort = async (remote: number) => {
      for (;;) {
        const found = new RegExp(`127\\.0\\.0\\.1:(\\d+) -> ${remote}\\n`).exec(output);
        if (found) return Number(found[1]);
        await Promise.race([once(child.stdout!, "data"), once(child, "exit").then(() => assert.fail(errors))]);
      }
    };
    const port = await localPort(echo);
    const sent = ["a", "b".repeat(100_000), "c".repeat(3_000_000), "d", "e"];
    const answers = await Promise.all(
      sent.map(async (word) => {
        const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
        socket.end(word);
        return text(socket);
      }),
    );
    assert.deepEqual(answers.map((answer) => answer.length), sent.map((word) => word.length));
    assert.deepEqual(answers, sent);
    const dead = connect({ port: await localPort(closed), host: "127.0.0.1" });
    dead.on("error", () => {});
    dead.write("x");
    while (!/connect: connection refused|ECONNREFUSED/.test(errors)) await once(child.stderr!, "data");
    assert.match(errors, new RegExp(`error forwarding port ${closed} to pod p_default, uid `));
    dead.destroy();
  });

  test(`kubectl ${minor} logs and logs -f stream text`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const { server } = await withPod(t, ["one", "two", "three"]);
    assert.equal((await server.kubectl(minor, ["logs", "p"])).stdout, "one\ntwo\nthree\n");
    assert.equal((await server.kubectl(minor, ["logs", "p", "--tail=1"])).stdout, "three\n");
    const child = server.spawnKubectl(minor, ["logs", "-f", "p"]);
    let seen = "";
    while (!seen.includes("three\n")) seen += String((await once(child.stdout!, "data"))[0]);
    assert.equal(seen, "one\ntwo\nthree\n");
  });
}

test("bad log options are refused in upstream's words", async (t) => {
  const { server } = await withPod(t, []);
  const http = server.http();
  await assert.rejects(http.raw("GET", "/api/v1/namespaces/default/pods/p/log?tailLines=-1"), { code: 422, message: 'PodLogOptions "p" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0' });
  await assert.rejects(http.raw("GET", "/api/v1/namespaces/default/pods/p/log?container=x"), { code: 400, message: "container x is not valid for pod p" });
  await assert.rejects(http.raw("GET", "/api/v1/namespaces/default/pods/p/exec?command=ls"), { code: 400, message: "Upgrade request required" });
});

test("WebSocket clients of every age can exec: the newest protocol that both know", async (t) => {
  const { WebSocket } = await import("ws");
  const { server } = await withPod(t);
  const failure = /"reason":"NonZeroExitCode","details":\{"causes":\[\{"reason":"ExitCode","message":"3"\}\]\}/;
  const cases: [string[], string, RegExp][] = [
    [["v5.channel.k8s.io"], "v5.channel.k8s.io", failure],
    [["v4.channel.k8s.io"], "v4.channel.k8s.io", failure],
    [["v9.channel.k8s.io", "v4.channel.k8s.io"], "v4.channel.k8s.io", failure],
    [["v4.base64.channel.k8s.io"], "v4.base64.channel.k8s.io", failure],
    [["channel.k8s.io"], "channel.k8s.io", /^command terminated with non-zero exit code: exit status 3$/],
    [["base64.channel.k8s.io"], "base64.channel.k8s.io", /^command terminated with non-zero exit code: exit status 3$/],
    [["base64url.bearer.authorization.k8s.io.eA", "v4.channel.k8s.io"], "v4.channel.k8s.io", failure],
    [[], "", /^command terminated with non-zero exit code: exit status 3$/],
  ];
  const query = new URLSearchParams([["command", "sh"], ["command", "-c"], ["command", "read a; echo got $a; exit 3"], ["stdin", "true"], ["stdout", "true"], ["stderr", "true"]]);
  for (const [offered, chosen, end] of cases) {
    const client = new WebSocket(`${server.url.replace("https", "wss")}/api/v1/namespaces/default/pods/p/exec?${query.toString()}`, offered, { ca: server.pki.ca, ...server.pki.admin });
    const isText = chosen.includes("base64");
    const seen = ["", "", "", ""];
    client.on("message", (data) => {
      const message = data as Buffer;
      const channel = isText ? message[0]! - 0x30 : message[0]!;
      seen[channel] += isText ? Buffer.from(message.toString("latin1", 1), "base64").toString() : message.toString("utf8", 1);
    });
    client.on("open", () => client.send(isText ? `0${Buffer.from("hi\n").toString("base64")}` : Buffer.from("\0hi\n")));
    const [code] = (await once(client, "close")) as [number];
    assert.deepEqual([client.protocol, code, seen[1]], [chosen, 1000, "got hi\n"], offered.join());
    assert.match(seen[3]!, end, offered.join());
  }
});

test("a client with which nothing can be agreed on starts nothing", async (t) => {
  const { WebSocket } = await import("ws");
  const { server, node } = await withPod(t);
  const client = new WebSocket(`${server.url.replace("https", "wss")}/api/v1/namespaces/default/pods/p/exec?command=ls&stdout=true`, ["v9.channel.k8s.io"], { ca: server.pki.ca, ...server.pki.admin });
  const [, response] = (await once(client, "unexpected-response")) as [unknown, import("node:http").IncomingMessage];
  assert.equal(response.statusCode, 403);
  assert.match(await text(response), /unable to negotiate protocol: client supports \[v9\.channel\.k8s\.io\], server accepts \[v5/);
  assert.equal(node.last, undefined);
});

test("port-forward over plain channels, as client libraries do it", async (t) => {
  const { WebSocket } = await import("ws");
  const { server } = await withPod(t);
  const port = await listen(t, (socket) => void socket.on("data", (chunk) => void socket.end(`<${chunk.toString()}>`)));
  const client = new WebSocket(`${server.url.replace("https", "wss")}/api/v1/namespaces/default/pods/p/portforward?ports=${port}`, ["v4.channel.k8s.io"], { ca: server.pki.ca, ...server.pki.admin });
  const seen: Buffer[] = [];
  client.on("message", (data) => void seen.push(data as Buffer));
  client.on("open", () => client.send(Buffer.from("\0hello")));
  await once(client, "close");
  assert.deepEqual(seen.map((message) => message[0]), [0, 1, 0]);
  assert.deepEqual([seen[0]!.readUInt16LE(1), seen[1]!.readUInt16LE(1), seen[2]!.toString("utf8", 1)], [port, port, "<hello>"]);
});

async function listen(t: TestContext, serve: (socket: import("node:net").Socket) => unknown): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    void serve(socket);
  });
  t.after(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
