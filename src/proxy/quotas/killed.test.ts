import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { NetworkNamespace } from "../../api/network.ts";
import type { HttpFilter } from "../../api/traffic.ts";
import { eventually, gatewayTo, listen, nextAddress, plainNetwork, port, snapshot, startSupervisor } from "../testing/network.ts";

/** Of this file when it runs as the process that is killed: who owns the counts, and two workers below it. */
interface Setup {
  network: NetworkNamespace;
  serviceIP: string;
  address: string;
  pod: number;
  quotasFile: string;
}
const limit = 400;
/** A year: no test meets its end. The unit makes no difference to how it is counted. */
const filters: HttpFilter[] = [{ type: "quota", rules: [{ id: "test", limit, unit: "year", hasHeaders: true, when: { path: { type: "exact", value: "/counted" } } }] }];

if (process.argv[2] === "own") await own(JSON.parse(process.argv[3]!) as Setup);
else {
  test("exactly the limit is let through while a worker and then the owner are killed", async (t) => {
    await using gateway = await start(t);
    const answers: Answer[] = [];
    await gateway.ask(150, answers);
    await gateway.killWorker();
    await gateway.ask(150, answers);
    await gateway.killOwner();
    await gateway.ask(700, answers);
    assert.equal(answers.filter((status) => status === "lost").length, 0, "nobody was under way when they were killed");
    assert.deepEqual({ let: count(answers, 200), refused: count(answers, 429) }, { let: limit, refused: 1_000 - limit });
    assert.deepEqual(await gateway.counts(), [limit]);
  });

  const skip = process.env["WHERRY_CONFORMANCE"] ? false : "takes seconds: WHERRY_CONFORMANCE=1 runs it";
  test("a request that is lost with its worker or its owner may have been counted, and no other is let through in its place", { skip }, async (t) => {
    await using gateway = await start(t);
    const answers: Answer[] = [];
    await Promise.all([gateway.ask(200, answers), eventually(() => answers.length >= 60, 60_000).then(() => gateway.killWorker())]);
    await Promise.all([gateway.ask(200, answers), eventually(() => answers.length >= 260, 60_000).then(() => gateway.killOwner())]);
    // As many as are needed until nothing is left.
    for (let i = 0; i < 20 && count(answers, 429) === 0; i++) await gateway.ask(100, answers);
    const [passed, lost] = [count(answers, 200), count(answers, "lost")];
    assert.ok(passed <= limit && passed + lost >= limit, `${passed} let through, ${lost} lost, of ${limit}`);
    assert.deepEqual(await gateway.counts(), [limit]);
  });
}

/** A status; or the connection broke after the request was sent. */
type Answer = number | "lost";
const count = (answers: readonly Answer[], wanted: Answer): number => answers.filter((answer) => answer === wanted).length;

async function own({ network, serviceIP, address, pod, quotasFile }: Setup): Promise<void> {
  const net = await startSupervisor({ network, workers: 2, quotasFile });
  net.publish(snapshot(1, { name: "web", clusterIPs: [serviceIP], ports: [port(80, [{ ip: "127.0.0.1", port: pod }])] }));
  net.publishTraffic({ revision: 1, put: gatewayTo(address, 80, filters), remove: {} });
  process.on("message", () => process.send!({ pids: net.pids(), counts: net.quotaCounts("").map((quota) => quota.count) }));
  process.send!("ready");
}

async function start(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "wherry-quotas-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const pod = await listen((socket) => socket.on("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")));
  const setup: Setup = { network: plainNetwork(), serviceIP: nextAddress(), address: nextAddress(), pod: pod.port, quotasFile: join(folder, "quotas.counts") };
  let owner = await startOwner(setup);
  const end = async () => {
    const { pids } = await told(owner);
    owner.kill("SIGKILL");
    await once(owner, "exit");
    // Its workers see that it is gone, and end; their listeners with them.
    await eventually(() => pids.every((pid) => !isAlive(pid)), 60_000);
  };
  let killing = Promise.resolve();
  return {
    /** So many requests, some at a time, each on a connection of its own; one that finds nobody asks again. */
    ask: async (times: number, answers: Answer[]) => {
      let left = times;
      const one = async () => {
        while (left > 0) {
          left--;
          answers.push((await eventually(() => request(setup.address), 60_000))!);
        }
      };
      await Promise.all(Array.from({ length: 20 }, one));
    },
    killWorker: async () => {
      const { pids } = await told(owner);
      process.kill(pids[0]!, "SIGKILL");
      await eventually(async () => {
        const now = await told(owner);
        return now.pids.length === 2 && !now.pids.includes(pids[0]!);
      }, 60_000);
    },
    killOwner: () =>
      (killing = (async () => {
        await end();
        owner = await startOwner(setup);
      })()),
    counts: async () => (await told(owner)).counts,
    [Symbol.asyncDispose]: async () => {
      await killing.catch(() => {});
      await end();
      await pod[Symbol.asyncDispose]();
    },
  };
}

async function startOwner(setup: Setup): Promise<ChildProcess> {
  const child = fork(import.meta.filename, ["own", JSON.stringify(setup)], { stdio: ["ignore", "inherit", "inherit", "ipc"], env: { ...process.env, NODE_TEST_CONTEXT: undefined } });
  const [message] = (await Promise.race([once(child, "message"), once(child, "exit").then(([code]) => [`ended with ${code}`])])) as [unknown];
  assert.equal(message, "ready");
  await eventually(async () => (await request(setup.address, "/")) === 200, 60_000);
  return child;
}

async function told(owner: ChildProcess): Promise<{ pids: number[]; counts: number[] }> {
  owner.send("?");
  const [message] = (await once(owner, "message")) as [{ pids: number[]; counts: number[] }];
  return message;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Undefined: nobody took the connection, so nothing was counted. */
function request(address: string, path = "/counted"): Promise<Answer | undefined> {
  return new Promise((resolve) => {
    let isSent = false;
    const asked = get({ host: address, port: 8080, agent: false, path }, (response) => {
      response.resume().on("error", () => {});
      resolve(response.statusCode!);
    });
    asked.on("socket", (socket) => socket.on("connect", () => void (isSent = true)));
    asked.on("error", () => resolve(isSent ? "lost" : undefined));
  });
}
