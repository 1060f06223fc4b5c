import assert from "node:assert/strict";
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import type { LogOptions } from "../../api/node.ts";
import type { Pod } from "../../api/types.ts";
import { FakeClock } from "../../base/clock.ts";
import { createLogReader } from "./read.ts";
import { LogWriter, rotatedFiles } from "./write.ts";

class Logs implements Disposable {
  readonly dataDir = mkdtempSync(join(tmpdir(), "wherry-logs-"));
  readonly folder = join(this.dataDir, "pods", "u", "logs", "app");
  readonly clock = new FakeClock(Date.UTC(2026, 0, 1, 12));
  pod: Pod | undefined;
  readonly reader = createLogReader({ dataDir: this.dataDir, podOf: () => this.pod, clock: this.clock });

  async write(restart: number, pieces: string[], bounds = {}): Promise<void> {
    const writer = new LogWriter(this.folder, restart, this.clock, bounds);
    const stdout = new PassThrough();
    writer.pump(stdout, "stdout");
    for (const piece of pieces) {
      // Files come and go under this look: what is gone has no size.
      const size = () => [writer.path, ...rotatedFiles(writer.path)].map((path) => statSync(path, { throwIfNoEntry: false })?.size ?? 0).join();
      const before = size();
      stdout.write(piece);
      do await new Promise((resolve) => setImmediate(resolve));
      while (piece.includes("\n") && (size() === before || size().startsWith("0")));
      this.clock.advance(1000);
    }
    stdout.end();
    await writer.close();
  }
  async read(options: Partial<LogOptions> = {}): Promise<string> {
    const parts: Uint8Array[] = [];
    for await (const part of await this.reader.logs({ namespace: "d", name: "web", uid: "u" }, { container: "app", follow: false, previous: false, timestamps: false, signal: new AbortController().signal, ...options })) parts.push(part);
    return Buffer.concat(parts).toString("utf8");
  }
  [Symbol.dispose](): void {
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

test("lines are written in the CRI format, whole, however they arrive", async () => {
  using logs = new Logs();
  await logs.write(0, ["on", "e\ntwo\nth", "ree"]);
  assert.equal(readFileSync(join(logs.folder, "0.log"), "utf8"), "2026-01-01T12:00:01.000000000Z stdout F one\n2026-01-01T12:00:01.000000000Z stdout F two\n2026-01-01T12:00:03.000000000Z stdout F three\n");
  assert.ok(existsSync(join(logs.folder, "0.end")));
});

test("overlong lines are cut into partial ones, and read back as one", async () => {
  using logs = new Logs();
  const long = "x".repeat(40_000);
  await logs.write(0, [`${long}\nshort\n`]);
  const tags = readFileSync(join(logs.folder, "0.log"), "utf8").trimEnd().split("\n").map((line) => line.split(" ")[2]);
  assert.deepEqual(tags, ["P", "P", "F", "F"]);
  assert.equal(await logs.read(), `${long}\nshort\n`);
  assert.match(await logs.read({ timestamps: true }), /^2026-01-01T12:00:00\.000000000Z x{40000}\n2026-01-01T12:00:00\.000000000Z short\n$/);
});

test("what the reader is asked for is what it gives", async () => {
  using logs = new Logs();
  await logs.write(0, Array.from({ length: 10 }, (_, i) => `line ${i}\n`));
  const last = (n: number) => Array.from({ length: n }, (_, i) => `line ${10 - n + i}\n`).join("");
  const cases: [string, Partial<LogOptions>, string][] = [
    ["everything", {}, last(10)],
    ["tail", { tailLines: 3 }, last(3)],
    ["tail of nothing", { tailLines: 0 }, ""],
    ["tail of more than there is", { tailLines: 99 }, last(10)],
    ["since a time", { sinceTime: "2026-01-01T12:00:07Z" }, last(3)],
    ["since seconds", { sinceSeconds: 4 }, last(4)],
    ["limit of bytes", { limitBytes: 10 }, "line 0\nlin"],
    ["tail and timestamps", { tailLines: 1, timestamps: true }, "2026-01-01T12:00:09.000000000Z line 9\n"],
  ];
  for (const [name, options, text] of cases) assert.equal(await logs.read(options), text, name);
});

test("rotation keeps the newest files, and reading goes through them", async () => {
  using logs = new Logs();
  const lines = Array.from({ length: 50 }, (_, i) => `line ${String(i).padStart(2, "0")}\n`);
  await logs.write(0, lines, { bytesMax: 500, filesMax: 3 });
  assert.equal(rotatedFiles(join(logs.folder, "0.log")).length, 2);
  const all = await logs.read();
  assert.ok(all.length < 50 * 8 && lines.join("").endsWith(all), "the oldest lines are gone, the rest is unbroken");
  assert.equal(await logs.read({ tailLines: 20 }), lines.slice(-20).join(""), "a tail reaches over files");
  assert.equal(await logs.read({ tailLines: 1 }), "line 49\n");
});

test("a follower sees what comes, through rotation, and ends with the container", async () => {
  using logs = new Logs();
  const writer = new LogWriter(logs.folder, 0, logs.clock, { bytesMax: 2000, filesMax: 50 });
  const stdout = new PassThrough();
  writer.pump(stdout, "stdout");
  const wanted = Array.from({ length: 300 }, (_, i) => `line ${i}\n`).join("");
  const followed = logs.read({ follow: true });
  for (const line of wanted.split(/(?<=\n)/)) {
    stdout.write(line);
    await new Promise((resolve) => setImmediate(resolve));
  }
  stdout.end();
  await writer.close();
  assert.equal(await followed, wanted);
});

test("a follower ends when it is told to", async () => {
  using logs = new Logs();
  mkdirSync(logs.folder, { recursive: true });
  writeFileSync(join(logs.folder, "0.log"), "2026-01-01T12:00:00.000000000Z stdout F here\n");
  const stop = new AbortController();
  const followed = logs.read({ follow: true, signal: stop.signal });
  appendFileSync(join(logs.folder, "0.log"), "2026-01-01T12:00:00.000000000Z stderr F and there\nhalf a li");
  setImmediate(() => stop.abort());
  assert.match(await followed, /^here\n(and there\n)?$/);
});

test("this incarnation's log and the last one's are kept", async () => {
  using logs = new Logs();
  for (const restart of [0, 1, 2]) await logs.write(restart, [`run ${restart}\n`]);
  assert.deepEqual(readdirSync(logs.folder).sort(), ["1.end", "1.log", "2.end", "2.log"]);
  assert.equal(await logs.read(), "run 2\n");
  assert.equal(await logs.read({ previous: true }), "run 1\n");
});

test("which incarnation is meant, and what is said when there is none, follows the status", async () => {
  using logs = new Logs();
  for (const restart of [2, 3]) await logs.write(restart, [`run ${restart}\n`]);
  const spec = { containers: [{ name: "app" }] };
  const ended = { terminated: { exitCode: 1 } };
  const status = (state: object, lastState: object = {}, restartCount = 3) => ({ containerStatuses: [{ name: "app", image: "", imageID: "", ready: false, restartCount, state, lastState }] });
  const cases: [string, object, boolean, string | RegExp][] = [
    ["running", status({ running: {} }, ended), false, "run 3\n"],
    ["running, previous", status({ running: {} }, ended), true, "run 2\n"],
    ["ended", status(ended, ended), false, "run 3\n"],
    ["waits for a restart", status({ waiting: { reason: "CrashLoopBackOff" } }, ended), false, "run 3\n"],
    ["waits for a restart, previous", status({ waiting: { reason: "CrashLoopBackOff" } }, ended), true, "run 3\n"],
    ["never ran, previous", status({ running: {} }), true, /^previous terminated container "app" in pod "web" not found$/],
    ["being made", status({ waiting: { reason: "ContainerCreating" } }), false, /^container "app" in pod "web" is waiting to start: ContainerCreating$/],
    ["no image", status({ waiting: { reason: "ImagePullBackOff" } }), false, /^container "app" in pod "web" is waiting to start: trying and failing to pull image$/],
    ["no status yet", {}, false, /is waiting to start: ContainerCreating$/],
  ];
  for (const [name, podStatus, previous, result] of cases) {
    logs.pod = { metadata: { name: "web" }, spec, status: podStatus } as unknown as Pod;
    if (typeof result === "string") assert.equal(await logs.read({ previous }), result, name);
    else await assert.rejects(logs.read({ previous }), { message: result, code: 400 }, name);
  }
});
