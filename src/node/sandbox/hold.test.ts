import assert from "node:assert/strict";
import { test } from "node:test";
import { probeIsolation } from "./probe.ts";
import { containerSpec, execIn, said, SandboxHarness } from "./testing.ts";

const possible = await probeIsolation(process.getuid?.() === 0);
const skip = possible.tools ? false : possible.finding.message;

const serve = (words: string) => ["node", "-e", `require("net").createServer((s) => s.on("error", () => {}).end(${JSON.stringify(words)})).listen(8080, "0.0.0.0", () => console.log("ready"))`];
/** What a connection said, or why there is none, and after how many milliseconds. */
const ask = (ip: string, port: number) => ["node", "-e", `const began = Date.now(); let heard = ""; require("net").connect(${port}, ${JSON.stringify(ip)}).on("data", (c) => (heard += c)).on("error", (e) => (heard = e.code)).on("close", () => console.log(heard, Date.now() - began))`];

test("connections by the pod's own address wait while it is held, and what it begins itself goes on", { skip, timeout: 20_000 }, async () => {
  await using harness = await SandboxHarness.start();
  const [pod, peer] = [await harness.pod(), await harness.pod()];
  const old = await pod.startContainer(containerSpec(serve("old"), { name: "app" }));
  const client = await peer.startContainer(containerSpec(serve("peer"), { name: "client" }));
  const side = await pod.startContainer(containerSpec(["sleep", "1000"], { name: "side" }));
  await Promise.all([said(old.stdout, "ready"), said(client.stdout, "ready")]);
  const asked = async (from: typeof old, ip: string, port = 8080) => {
    const [words, ms] = (await execIn(from, ask(ip, port))).stdout.trim().split(" ");
    return { words, ms: Number(ms) };
  };
  assert.equal((await asked(client, pod.ip)).words, "old");

  await pod.hold!(new Set([8080]));
  old.signal("SIGKILL");
  await old.exited;
  const waiting = asked(client, pod.ip);
  assert.equal((await asked(client, pod.ip, 8081)).words, "ECONNREFUSED", "another port is not concerned");
  assert.equal((await asked(side, peer.ip)).words, "peer", "what a starting program needs of others it gets");
  const fresh = await pod.startContainer(containerSpec(serve("new"), { name: "app" }));
  await said(fresh.stdout, "ready");
  assert.equal((await asked(side, pod.ip)).words, "new");
  await pod.hold!(new Set());
  const { words, ms } = await waiting;
  assert.equal(words, "new");
  assert.ok(ms > 200, `${ms} ms: it met nobody at first`);
  assert.equal((await asked(client, pod.ip)).words, "new");

  // A connection that is there when the port is held goes on when it is named, and another from the same pod does not.
  const speaker = await pod.startContainer(containerSpec(["node", "-e", `require("net").createServer((s) => s.on("data", (c) => s.write(c)).on("error", () => {})).listen(8081, "0.0.0.0", () => console.log("ready"))`], { name: "speaker" }));
  await said(speaker.stdout, "ready");
  const talk = await peer.startContainer(containerSpec(["node", "-e", `const s = require("net").connect(8081, "${pod.ip}", () => s.write("began " + s.localPort + " ")).on("data", (c) => process.stdout.write(c + "\\n")); process.stdin.once("data", () => s.write("still"))`], { name: "talk", stdin: true }));
  const fromPort = Number(/began (\d+)/.exec(await said(talk.stdout, "began"))![1]);
  await pod.hold!(new Set([8081]), [{ from: peer.ip, fromPort, port: 8081 }]);
  talk.stdin!.write("go");
  await said(talk.stdout, "still");

  // A pod that goes while it is held leaves its address as it was.
  await pod.hold!(new Set([8080, 8081]));
  await pod.hold!(new Set([8081]));
  assert.equal((await asked(client, pod.ip)).words, "new");
  await pod.remove();
});
