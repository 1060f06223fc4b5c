import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import { channels, encodeFrame, FrameReader } from "../../api/node.ts";
import type { StatusError } from "../../api/status.ts";
import type { Container } from "../../api/types.ts";
import { silentLog } from "../../base/log.ts";
import { newRecord } from "../pod/record.ts";
import type { ContainerRunner } from "../pod/runner.ts";
import { FakeProcess } from "../testing/fake-sandbox.ts";
import { plainSpec } from "../testing/harness.ts";
import { createStreamClient } from "./client.ts";
import { OutputHub } from "./hub.ts";
import { StreamServer } from "./server.ts";

const key = { namespace: "default", name: "web", uid: "u" };

/** A server with one container "app" that is a real `sh`, or whatever `argv` says. */
const usage = { node: { atMs: 1, cpuNs: 2, memoryBytes: 3 }, pods: [] };

class Streams implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), "wherry-streams-"));
  readonly path = join(this.dir, "agent.sock");
  readonly process: FakeProcess;
  readonly runner: ContainerRunner;
  readonly server: StreamServer;
  readonly client = createStreamClient(this.path);

  constructor(argv: string[], container: Partial<Container> = {}) {
    this.process = new FakeProcess({ ...plainSpec, argv, stdin: true }, 1, true);
    const record = { ...newRecord("app", "main", ""), activity: "running" as const };
    const output = new OutputHub();
    this.process.stdout.on("data", (chunk: Buffer) => output.write("stdout", chunk));
    this.process.stderr.on("data", (chunk: Buffer) => output.write("stderr", chunk));
    void this.process.exited.then(({ exitCode }) => setImmediate(() => output.end(exitCode)));
    this.runner = { container: { name: "app", ...container }, record, output, process: this.process } as unknown as ContainerRunner;
    this.server = new StreamServer(this.path, { find: (pod, name) => ({ pod: pod.uid === "u", runner: pod.uid === "u" && name === "app" ? this.runner : undefined }), pause: async () => ({ processes: 0, release() {}, lost: new Promise(() => {}) }), starting: (work) => work(), usage: async () => usage }, silentLog);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.process.signal("SIGKILL");
    await this.server.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

async function collect(stream: Duplex): Promise<{ out: string; err: string; status: { status?: string; details?: object } | undefined }> {
  const result = { out: "", err: "", status: undefined as { status?: string } | undefined };
  const reader = new FrameReader((channel, payload) => {
    if (channel === channels.stdout) result.out += payload.toString();
    else if (channel === channels.stderr) result.err += payload.toString();
    else if (channel === channels.status) result.status = JSON.parse(payload.toString());
  });
  for await (const chunk of stream) reader.push(chunk as Buffer);
  return result;
}
const options = { container: "app", stdin: false, stdout: true, stderr: true, tty: false };

test("exec carries output, input, its end, and the exit code; large output arrives whole", async () => {
  await using streams = new Streams(["sleep", "100"]);
  await streams.server.start();
  const failed = await collect(await streams.client.exec(key, { ...options, command: ["sh", "-c", "echo out; echo err >&2; exit 3"] }));
  assert.deepEqual([failed.out, failed.err], ["out\n", "err\n"]);
  assert.deepEqual(failed.status, { metadata: {}, status: "Failure", message: "command terminated with non-zero exit code: exit status 3", reason: "NonZeroExitCode", details: { causes: [{ reason: "ExitCode", message: "3" }] } });
  const stream = await streams.client.exec(key, { ...options, stdin: true, command: ["cat"] });
  for (let i = 0; i < 300; i++) stream.write(encodeFrame(channels.stdin, Buffer.alloc(10_000, 97)));
  stream.write(encodeFrame(channels.close, Buffer.from([channels.stdin])));
  const echoed = await collect(stream);
  assert.equal(echoed.out.length, 3_000_000);
  assert.equal(echoed.status!.status, "Success");
});

test("a command ends with its client", async () => {
  await using streams = new Streams(["sleep", "100"]);
  await streams.server.start();
  const stream = await streams.client.exec(key, { ...options, command: ["sh", "-c", "echo $$; exec sleep 100"] });
  const pid = await new Promise<number>((resolve) => {
    const reader = new FrameReader((_, payload) => resolve(Number(payload.toString())));
    stream.on("data", (chunk: Buffer) => reader.push(chunk));
  });
  stream.destroy();
  const isAlive = () => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  for (let i = 0; i < 500 && isAlive(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(isAlive(), false);
});

test("what cannot be streamed is refused as an API error", async () => {
  await using streams = new Streams(["sleep", "100"]);
  await streams.server.start();
  const refused = async (pod: typeof key, container: string) => await streams.client.exec(pod, { ...options, container, command: ["true"] }).then(() => undefined, (error: StatusError) => `${error.code} ${error.message}`);
  assert.equal(await refused(key, "other"), '404 container not found ("other")');
  assert.equal(await refused({ ...key, uid: "x" }, "app"), "404 pod does not exist");
  streams.runner.record.activity = "idle";
  assert.equal(await refused(key, "app"), '404 container not found ("app")');
  assert.deepEqual(await streams.client.usage(), usage);
  await streams.server.stop();
  assert.equal(await refused(key, "app"), "503 the node agent is not there");
});

test("attach shares the program's streams between all who are attached, and ends with it", async () => {
  await using streams = new Streams(["sh", "-c", "while read line; do echo got $line; [ $line = end ] && exit 0; done"]);
  await streams.server.start();
  const [one, two] = [await streams.client.attach(key, { ...options, stdin: true }), await streams.client.attach(key, options)];
  const read = [collect(one), collect(two)];
  one.write(encodeFrame(channels.stdin, Buffer.from("a\nend\n")));
  for (const { out, status } of await Promise.all(read)) {
    assert.equal(out, "got a\ngot end\n");
    assert.equal(status!.status, "Success");
  }
});

test("stdinOnce: the end of the first input is the program's", async () => {
  await using streams = new Streams(["cat"], { stdinOnce: true });
  await streams.server.start();
  const stream = await streams.client.attach(key, { ...options, stdin: true });
  stream.write(encodeFrame(channels.stdin, Buffer.from("last words\n")));
  stream.write(encodeFrame(channels.close, Buffer.from([channels.stdin])));
  assert.equal((await collect(stream)).out, "last words\n");
});
