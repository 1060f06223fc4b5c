import assert from "node:assert/strict";
import { readFileSync, readlinkSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import type { Client } from "../../src/api/client.ts";
import { resources } from "../../src/api/resources.ts";
import type { Container, Deployment, Pod, PodSpec, Service } from "../../src/api/types.ts";
import { connect } from "../../src/cli/connect.ts";
import { allPids } from "../../src/node/sandbox/processes.ts";
import { needs } from "../needs.ts";
import { CommandLine, everybodyMayRead, isUp, nobody } from "./command-line.ts";
import { freePort } from "./stack.ts";

/**
 * docs/reference/modes.md as a test: every row of its table has a check here, every check a row, and what a cell says is
 * what the check finds, in one stack per column.
 */
const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "reference", "modes.md"), "utf8");
const [head, , ...lines] = page.split("\n").filter((line) => line.startsWith("|")).map((line) => line.slice(1, -1).split("|").map((cell) => cell.trim()));
const columns = head!.slice(1);
/** Row → column → what is promised. "the same" is what stands to its left. */
const promises = new Map(lines.map(([row, ...cells]) => [row!, new Map(columns.map((column, index) => [column, cells[index] === "the same" ? cells[index - 1]! : cells[index]!]))]));

const isRoot = process.getuid?.() === 0;
const lowPortsOpen = Number(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8")) <= 80;

/** One stack: its mode, its user, and how to ask it. */
class Column {
  readonly name: string;
  readonly isolated: boolean;
  readonly asRoot: boolean;
  readonly desk: CommandLine;
  readonly client: Client;
  readonly dataDir: string;
  /** A port that nobody on the machine listens on. */
  readonly port: number;
  /** A listener of the machine's own, on its loopback. */
  readonly machinePort: number;
  readonly findings: ReadonlyMap<string, { enforced: boolean; message: string }>;

  constructor(given: Pick<Column, "name" | "isolated" | "asRoot" | "desk" | "client" | "dataDir" | "port" | "machinePort" | "findings">) {
    ({ name: this.name, isolated: this.isolated, asRoot: this.asRoot, desk: this.desk, client: this.client, dataDir: this.dataDir, port: this.port, machinePort: this.machinePort, findings: this.findings } = given);
  }

  kubectl(...args: string[]): string {
    return this.desk.kubectl("wherry", ...args);
  }
  /** As kubectl(), for what must fail: what it says then. */
  refused(...args: string[]): string {
    try {
      return `it was not refused: ${this.kubectl(...args)}`;
    } catch (error) {
      return (error as Error).message;
    }
  }
  async pod(name: string): Promise<Pod> {
    return this.client.get<Pod>(resources.pods, "default", name);
  }
  async run(name: string, container: Partial<Container>, spec: Partial<PodSpec> = {}): Promise<void> {
    await this.client.create(resources.pods, "default", { metadata: { name, labels: { app: name } }, spec: { restartPolicy: "Never", terminationGracePeriodSeconds: 1, containers: [{ name: "main", ...container }], ...spec } });
  }
  async until<T>(what: string, ask: () => Promise<T | undefined | false>): Promise<T> {
    const deadline = performance.now() + 30_000;
    for (;;) {
      const answer = await ask().catch(() => undefined);
      if (answer) return answer;
      assert.ok(performance.now() < deadline, `${this.name}: ${what}: not within 30 s`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  running(name: string): Promise<Pod> {
    return this.until(`pod ${name} runs`, async () => {
      const pod = await this.pod(name);
      return pod.status?.containerStatuses?.[0]?.state?.running && pod;
    });
  }
  /** How a pod ended: its exit code, reason and whole log. */
  async ended(name: string): Promise<{ code: number; reason: string; log: string }> {
    const { exitCode, reason } = await this.until(`pod ${name} ends`, async () => (await this.pod(name)).status?.containerStatuses?.[0]?.state?.terminated);
    return { code: exitCode, reason: reason ?? "", log: this.kubectl("logs", name).trim() };
  }
  /** Runs a pod to its end. */
  async result(name: string, container: Partial<Container>, spec: Partial<PodSpec> = {}): Promise<{ code: number; reason: string; log: string }> {
    await this.run(name, container, spec);
    return this.ended(name);
  }
  /** Why a pod does not start. */
  async waiting(name: string): Promise<string> {
    return this.until(`pod ${name} waits`, async () => {
      const waiting = (await this.pod(name)).status?.containerStatuses?.[0]?.state?.waiting;
      return waiting?.message && `${waiting.reason}: ${waiting.message}`;
    });
  }
}

const node = (code: string): Partial<Container> => ({ image: "node:26", command: ["node", "-e", code] });
const python = (code: string): Partial<Container> => ({ image: "python:3", command: ["python3", "-u", "-c", code] });
const shell = (script: string): Partial<Container> => ({ image: "busybox", command: ["sh", "-c", script] });
const stay = "setInterval(() => {}, 1000)";
const nodeServer = (port: number): Partial<Container> => node(`require("http").createServer((q, s) => s.end(process.env.HOSTNAME)).listen(${port}, "0.0.0.0", () => console.log("listens"))`);
/** Plain mode's listeners are the machine's: on its loopback only. */
const pythonServer = (column: Column, port: number): Partial<Container> =>
  python(`import socket, time\ns = socket.create_server(("${column.isolated ? "0.0.0.0" : "127.0.0.1"}", ${port}))\nprint("listens")\ntime.sleep(1000)`);
const pythonAsks = (host: string, port: number): Partial<Container> => python(`import urllib.request\ntry: print(urllib.request.urlopen("http://${host}:${port}/", timeout=5).read().decode())\nexcept Exception as e: print(e)`);
const nodeAsks = (url: string): Partial<Container> => node(`fetch("${url}").then((r) => r.text()).then(console.log, (e) => console.log(String(e.cause)))`);

/** Whether two pods of one program can listen on one port. */
async function shares(column: Column, name: string, container: Partial<Container>): Promise<boolean> {
  await Promise.all(["a", "b"].map((suffix) => column.run(`${name}-${suffix}`, container)));
  const heard = await column.until(`${name} listen or not`, async () => {
    const pods = await Promise.all(["a", "b"].map((suffix) => column.pod(`${name}-${suffix}`)));
    if (pods.some(({ status }) => status?.phase === "Failed")) return "no";
    return pods.every(({ status }) => status?.phase === "Running") && ["a", "b"].every((suffix) => column.kubectl("logs", `${name}-${suffix}`).includes("listens")) && "yes";
  });
  if (heard === "no") {
    const logs = ["a", "b"].map((suffix) => column.kubectl("logs", `${name}-${suffix}`)).join("");
    assert.match(logs, /Address already in use/);
  }
  return heard === "yes";
}

/** A busy program that says, eight times, which share of a core it had for half a second. Its limit of a tenth begins when it is Ready. */
const burner: Partial<Container> = {
  ...node("let [wall, cpu] = [performance.now(), process.cpuUsage()]; for (let n = 0; n < 8;) { if (performance.now() - wall < 500) continue; const used = process.cpuUsage(cpu); console.log((used.user + used.system) / 1000 / (performance.now() - wall)); [wall, cpu] = [performance.now(), process.cpuUsage()]; n++ }"),
  resources: { limits: { cpu: "100m" } },
  readinessProbe: { exec: { command: ["true"] }, periodSeconds: 1 },
};

/** The host's pid of a program, by a word that only it has. */
function hostPid(word: string): number {
  // The last of those that stand one behind another is the program itself.
  const found = allPids().findLast((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0").includes(word);
    } catch {
      return false;
    }
  });
  assert.ok(found, `no process has the word ${word}`);
  return found;
}

type Cells = Record<string, (column: Column, row: string) => Promise<void>>;
/** Row → what its cells may say → the proof. */
const checks: Record<string, Cells> = {
  "Services, roll-outs, logs, `port-forward`": {
    yes: async (column) => {
      const front = { name: "main", ...nodeServer(8080), readinessProbe: { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 } };
      await column.client.create<Deployment>(resources.deployments, "default", { metadata: { name: "front" }, spec: { replicas: 2, selector: { matchLabels: { app: "front" } }, template: { metadata: { labels: { app: "front" } }, spec: { terminationGracePeriodSeconds: 1, containers: [front] } } } });
      column.kubectl("rollout", "status", "deployment/front", "--timeout=30s");
      column.kubectl("set", "env", "deployment/front", "ROUND=2");
      column.kubectl("rollout", "status", "deployment/front", "--timeout=30s");
      assert.match(column.kubectl("logs", "deployment/front"), /listens/);
      const { log } = await column.result("asks-front", nodeAsks("http://front:8080/"));
      assert.match(log, /^front-/);
      const port = await freePort();
      const forward = column.desk.spawn("kubectl", "--context", "wherry", "port-forward", "service/front", `${port}:8080`);
      await forward.said(/Forwarding from/);
      assert.match(await (await fetch(`http://127.0.0.1:${port}/`)).text(), /^front-/);
      forward.kill("SIGTERM");
      await forward.ended;
    },
  },
  "any program on `0.0.0.0:8080` beside others on the same port": {
    yes: async (column) => {
      assert.equal(await shares(column, "node-share", nodeServer(8080)), true);
      assert.equal(await shares(column, "python-share", pythonServer(column, 8080)), true);
    },
    "Node programs": async (column) => {
      assert.equal(await shares(column, "node-share", nodeServer(8080)), true);
      assert.equal(await shares(column, "python-share", pythonServer(column, column.port)), false);
    },
  },
  "names of Services": {
    "any program": async (column) => assert.match((await column.result("named-by-python", pythonAsks("back", 80))).log, /^back-/),
    "Node programs": async (column) => {
      assert.match((await column.result("named-by-node", nodeAsks("http://back/"))).log, /^back-/);
      assert.match((await column.result("named-by-python", pythonAsks("back", 80))).log, /Name or service not known|name resolution|No address associated/);
    },
  },
  "Service ports below 1024": {
    "any program": async (column) => assert.match((await column.result("low-by-python", pythonAsks(await clusterIP(column), 80))).log, /^back-/),
    "Node programs": async (column) => {
      assert.match((await column.result("low-by-node", nodeAsks(`http://${await clusterIP(column)}/`))).log, /^back-/);
      assert.match((await column.result("low-by-python", pythonAsks(await clusterIP(column), 80))).log, lowPortsOpen ? /^back-/ : /refused/);
    },
  },
  "pod addresses": {
    "10.244.0.0/16": async (column) => assert.match((await column.running("back")).status!.podIP!, /^10\.244\./),
    "127.97.0.0/16, or 127.99, … beside other stacks": async (column) => assert.match((await column.running("back")).status!.podIP!, /^127\.(97|99|1[012][13579])\./),
  },
  ClusterIPs: {
    "10.96.0.0/16": async (column) => assert.match(await clusterIP(column), /^10\.96\./),
    "127.96.0.0/16, or 127.98, … beside other stacks": async (column) => assert.match(await clusterIP(column), /^127\.(96|98|1[012][02468])\./),
  },
  "volumes at any `mountPath`": {
    yes: async (column) => assert.equal((await column.result("unnamed", ...mounting(`cat /etc/my""app/key`))).log, "value"),
    "where the command, environment or working directory names it; else refused": async (column) => {
      assert.equal((await column.result("named", ...mounting("cat /etc/myapp/key"))).log, "value");
      await column.run("unnamed", ...mounting(`cat /etc/my""app/key`));
      assert.match(await column.waiting("unnamed"), /^CreateContainerConfigError: mountPath \/etc\/myapp cannot be given to the program in plain mode/);
    },
  },
  "`readOnlyRootFilesystem`": {
    yes: async (column) => {
      const { log } = await column.result("read-only", { ...shell("echo x > /made || echo refused; echo x > /usr/made || echo refused"), securityContext: { readOnlyRootFilesystem: true } });
      assert.equal(log.match(/^refused$/gm)?.length, 2, log);
    },
    refused: async (column) => {
      await column.run("read-only", { ...shell("true"), securityContext: { readOnlyRootFilesystem: true } });
      assert.match(await column.waiting("read-only"), /^CreateContainerConfigError: readOnlyRootFilesystem cannot be kept in plain mode/);
    },
  },
  "`runAsUser`": {
    any: (column) => runsAs(column, "4711"),
    "any; on the machine it is you": async (column) => {
      await runsAs(column, "4711");
      const [, real] = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${hostPid("as-user")}/status`, "latin1"))!;
      assert.equal(Number(real), column.asRoot ? 0 : nobody);
    },
    "accepted, but the pod's own uid takes its place": (column) => runsAs(column, "1[0-9]{5}"),
    refused: async (column) => {
      await column.run("as-user", { ...shell("true"), securityContext: { runAsUser: 4711 } });
      assert.match(await column.waiting("as-user"), /^CreateContainerConfigError: runAsUser 4711 needs namespaces or root/);
    },
  },
  "`kubectl exec … sh`": {
    yes: async (column) => {
      await column.running("back");
      assert.match(column.kubectl("exec", "back", "--", "sh", "-c", "echo out; ls / | wc -l"), /^out\n\d+\n$/);
    },
    "yes, with the pod's own uid": async (column) => {
      await column.running("back");
      assert.match(column.kubectl("exec", "back", "--", "sh", "-c", "id -u"), /^1[0-9]{5}\n$/);
    },
    "refused; only `kill [-SIGNAL] 1`": async (column) => {
      await column.run("is-killed", node(stay));
      await column.running("is-killed");
      assert.match(column.refused("exec", "is-killed", "--", "sh", "-c", "id"), /exec of "sh" is refused: without namespaces or root/);
      column.kubectl("exec", "is-killed", "--", "kill", "-9", "1");
      assert.equal((await column.ended("is-killed")).code, 137);
    },
  },
  "memory limit": {
    "kept: control group, else watched": (column) => memoryIsKept(column),
    "kept: delegated control group, else watched": (column) => memoryIsKept(column),
    "kept: watched": async (column) => {
      await memoryIsKept(column);
      assert.equal(column.findings.get("memory-limits")!.enforced, false);
    },
  },
  "CPU limit": {
    "control group, else no": (column) => cpuIsAsFound(column),
    "delegated control group, else no": (column) => cpuIsAsFound(column),
    no: async (column) => {
      assert.equal(column.findings.get("cpu-limits")!.enforced, false);
      await cpuIsAsFound(column);
    },
  },
  "another pod's files out of reach": {
    yes: async (column) => assert.match((await attackFiles(column)).log, /NO$/),
    no: async (column) => assert.equal((await attackFiles(column)).log, "secret"),
  },
  "another pod's processes out of reach": {
    yes: async (column) => assert.match((await attackProcess(column)).log, /(No such process|not permitted)/),
    no: async (column) => assert.equal((await attackProcess(column)).log, "signalled"),
  },
  "another pod's address cannot be taken": {
    yes: async (column) => assert.match((await takeAddress(column)).log, /Cannot assign requested address/),
    no: async (column) => assert.equal((await takeAddress(column)).log, "taken"),
  },
  "the machine's own listeners out of reach": {
    yes: async (column) => assert.match((await column.result("asks-machine", pythonAsks("127.0.0.1", column.machinePort))).log, /refused/),
    no: async (column) => assert.equal((await column.result("asks-machine", pythonAsks("127.0.0.1", column.machinePort))).log, "the machine"),
  },
  "outside only by TCP on 80, 443 and `--egress-port`": {
    // An address that is nobody's (RFC 5737), on a port that is not one of these: the answer comes from the pod network's edge.
    yes: async (column) => {
      assert.notEqual(await networkOf(column), readlinkSync("/proc/self/ns/net"));
      assert.match((await column.result("goes-out", pythonAsks("192.0.2.1", 9))).log, /refused/);
    },
    "no, the machine's own network": async (column) => assert.equal(await networkOf(column), readlinkSync("/proc/self/ns/net")),
  },
};

async function clusterIP(column: Column): Promise<string> {
  return (await column.client.get<Service>(resources.services, "default", "back")).spec!.clusterIP!;
}
const mounting = (script: string): [Partial<Container>, Partial<PodSpec>] => [{ ...shell(script), volumeMounts: [{ name: "config", mountPath: "/etc/myapp" }] }, { volumes: [{ name: "config", configMap: { name: "settings" } }] }];
async function runsAs(column: Column, uid: string): Promise<void> {
  await column.run("as-user", { image: "busybox", command: ["sh", "-c", "id -u; sleep 1000; :", "as-user"], securityContext: { runAsUser: 4711 } });
  await column.running("as-user");
  await column.until("the uid is said", async () => new RegExp(`^${uid}\n$`).test(column.kubectl("logs", "as-user")));
}
async function memoryIsKept(column: Column): Promise<void> {
  const { code, reason } = await column.result("eats", { ...node("const a = []; setInterval(() => a.push(Buffer.alloc(8e6, 1)), 5)"), resources: { limits: { memory: "128Mi" } } });
  assert.deepEqual([code, reason], [137, "OOMKilled"]);
}
/** What doctor finds of the CPU limit is what a pod meets. */
async function cpuIsAsFound(column: Column): Promise<void> {
  const shares = (await column.ended("burns")).log.split("\n").map(Number);
  const [least, most] = [Math.min(...shares), Math.max(...shares)];
  if (column.findings.get("cpu-limits")!.enforced) assert.ok(least < 0.2, `at least ${least} of a core`);
  else assert.ok(most > 0.25, `at most ${most} of a core`);
}
const attackFiles = async (column: Column) => {
  const { metadata } = await column.running("victim");
  return column.result("reads", shell(`cat ${join(column.dataDir, "pods", metadata.uid, "volumes", "private", "file")} 2>&1 || echo NO`));
};
const attackProcess = async (column: Column) => {
  await column.running("victim");
  return column.result("signals", python(`import os\ntry:\n os.kill(${hostPid("the-victim")}, 0); print("signalled")\nexcept OSError as e: print(e)`));
};
const takeAddress = async (column: Column) => {
  const { status } = await column.running("victim");
  return column.result("takes", python(`import socket\ntry:\n socket.create_server(("${status!.podIP}", 7777)); print("taken")\nexcept OSError as e: print(e)`));
};
const networkOf = async (column: Column): Promise<string> => {
  await column.running("victim");
  return readlinkSync(`/proc/${hostPid("the-victim")}/ns/net`);
};

test("the table has a check for each row and each cell, and no check is without its cell", () => {
  assert.deepEqual(Object.keys(checks), [...promises.keys()]);
  for (const [row, cells] of promises) assert.deepEqual(Object.keys(checks[row]!).sort(), [...new Set(cells.values())].sort(), row);
});

for (const name of columns) {
  const [mode, user] = name.split(", ") as ["isolated" | "plain", "root" | "user"];
  test(`${name}: every cell of the column is so`, { timeout: 180_000 }, async (t) => {
    if (!needs(t, "kubectl", "python3", "setpriv")) return;
    if (user === "root" && !isRoot) return t.skip("this run is an ordinary user's");
    if (user === "user" && isRoot && !everybodyMayRead(import.meta.dirname)) return t.skip("the checkout lies in a folder that only root may enter");
    await using desk = new CommandLine(t, user === "user" && isRoot ? { uid: nobody } : {});
    const dataDir = desk.path("data");
    const up = desk.start("up", "--isolation", mode, "--data-dir", dataDir, "--port", String(await freePort()));
    assert.match(await up.said(isUp), new RegExp(`${mode} pods`));
    const doctor = (await desk.wherry("doctor", "--isolation", mode)).stdout;
    const machine = createServer((socket) => socket.on("error", () => {}).end("HTTP/1.0 200 OK\r\n\r\nthe machine"));
    await new Promise<void>((resolve) => machine.listen(0, "127.0.0.1", resolve));
    await using _listener = { [Symbol.asyncDispose]: async () => void machine.close() };
    const column = new Column({
      name, desk, dataDir, isolated: mode === "isolated", asRoot: user === "root", client: await connect(dataDir), port: await freePort(), machinePort: (machine.address() as { port: number }).port,
      findings: new Map([...doctor.matchAll(/^([✓✗]) +(\S+) +(.*)$/gm)].map(([, mark, id, message]) => [id!, { enforced: mark === "✓", message: message! }])),
    });

    const { client } = column;
    for (const [service, port, targetPort] of [["front", 8080, 8080], ["back", 80, 8080]] as const) await client.create(resources.services, "default", { metadata: { name: service }, spec: { selector: { app: service }, ports: [{ port, targetPort }] } });
    await client.create(resources.configMaps, "default", { metadata: { name: "settings" }, data: { key: "value" } });
    await column.run("burns", burner);
    await column.run("back", nodeServer(8080), { hostname: "back-1" });
    await column.run("victim", { image: "busybox", command: ["sh", "-c", "printf secret > $FOLDER/file; chmod 600 $FOLDER/file; sleep 1000; :", "the-victim"], env: [{ name: "FOLDER", value: "/private" }], volumeMounts: [{ name: "private", mountPath: "/private" }] }, { volumes: [{ name: "private", emptyDir: {} }] });
    await column.until("back answers", async () => column.kubectl("logs", "back").includes("listens"));

    await Promise.all([...promises].map(([row, cells]) => t.test(row, () => checks[row]![cells.get(name)!]!(column, row))));
    up.kill("SIGINT");
    assert.equal((await up.ended).code, 130);
  });
}
