import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CommandLine, everybodyMayRead, familyOf, foreignListener, isUp, nobody, type Running, survivors } from "./command-line.ts";
import { needs } from "../needs.ts";
import { freePort } from "./stack.ts";

/** A program with data: it notes each of its starts, and takes its time to end. */
const ledger = `
apiVersion: v1
kind: Service
metadata: {name: ledger}
spec: {clusterIP: None, selector: {app: ledger}, ports: [{port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: ledger}
spec:
  serviceName: ledger
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: ledger}}
  template:
    metadata: {labels: {app: ledger}}
    spec:
      terminationGracePeriodSeconds: 30
      containers:
      - name: ledger
        image: python:3
        command: [sh, -c]
        args:
        - |
          trap 'sleep 1; echo graceful >> /data/ledger; exit 0' TERM
          echo started >> /data/ledger
          setsid sleep 1000 &
          python3 -m http.server 8080 --directory /data &
          wait
        readinessProbe: {httpGet: {path: /ledger, port: 8080}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
`;

const read = (desk: CommandLine, context: string, pod: string) => desk.kubectl(context, "exec", pod, "--", "cat", "/data/ledger").trim().split("\n");
const uids = (desk: CommandLine, context: string) =>
  desk.kubectl(context, "get", "namespaces,pods,statefulsets,services,persistentvolumeclaims,persistentvolumes,configmaps,serviceaccounts", "-A", "-o", "jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid}{'\\n'}{end}").trim().split("\n").sort();
/** Each file below a folder with its size and time: what changes when anything is written. */
const contents = (folder: string) => readdirSync(folder, { recursive: true, encoding: "utf8" }).sort().map((name) => `${name} ${statSync(join(folder, name)).size} ${statSync(join(folder, name)).mtimeMs}`);

test("one stack from its start to its reset, by the command line", { timeout: 240_000 }, async (t) => {
  if (!needs(t, "kubectl", "python3")) return;
  await using desk = new CommandLine(t);
  mkdirSync(desk.path("app"));
  writeFileSync(desk.path("app", "ledger.yaml"), ledger);
  const [dataDir, port] = [desk.path("data"), await freePort()];
  const up = () => desk.start("up", "app", "--data-dir", dataDir, "--port", String(port));
  const stack: { now: Running } = { now: up() };
  await stack.now.said(isUp);

  await t.test("status, kubeconfig: what a person looks at", async () => {
    const status = await desk.wherry("status", "--data-dir", dataDir);
    assert.equal(status.code, 0, status.stdout + status.stderr);
    assert.match(status.stdout, /^Node wherry: Ready/);
    assert.match(status.stdout, /^NAMESPACE +WORKLOAD +READY +RESTARTS +HEALTH +ADDRESS$/m);
    assert.match(status.stdout, /^default +statefulset\/ledger +2\/2 +0 +Ready/m);
    assert.doesNotMatch(status.stdout, /What is wrong/);
    assert.equal((await desk.wherry("kubeconfig", "--data-dir", dataDir)).stdout, `${join(dataDir, "kubeconfig")}\n`);
    assert.equal(desk.kubectl("wherry", "config", "current-context").trim(), "wherry");
  });

  await t.test("a second up on the same data directory is refused, and changes nothing", async () => {
    const before = contents(join(dataDir, "pki"));
    for (const detach of [[], ["--detach"]]) {
      const second = await desk.wherry("up", "--data-dir", dataDir, ...detach);
      assert.equal(second.code, 3, second.stderr);
      assert.match(second.stdout + second.stderr, new RegExp(`${dataDir} belongs to a running Wherry, process ${stack.now.pid}\n +Stop the other Wherry \\(\`wherry down\`\\), or give this one its own --data-dir`));
      assert.equal(existsSync(join(dataDir, "wherry.log")), false);
    }
    const reset = await desk.wherry("reset", "--yes", "--data-dir", dataDir);
    assert.deepEqual([reset.code, /belongs to a running Wherry/.test(reset.stderr)], [3, true]);
    assert.deepEqual(contents(join(dataDir, "pki")), before);
    assert.equal((await desk.wherry("status", "--data-dir", dataDir)).code, 0);
  });

  await t.test("kill -9 of wherry, then up: the same objects, the same data, Ready again, nobody left over", async () => {
    const before = uids(desk, "wherry");
    assert.deepEqual(read(desk, "wherry", "ledger-0"), ["started"]);
    const first = familyOf(dataDir, stack.now.pid);
    t.diagnostic(`${first.length} processes before the kill`);
    assert.ok(first.length > 12, `${first.length} processes: wherry, its children, two pods with a stray each`);
    stack.now.kill("SIGKILL");
    await stack.now.ended;
    stack.now = up();
    await stack.now.said(isUp);
    // The kernel takes namespaces down in its own time.
    assert.deepEqual(await survivors(first, 15_000), []);
    assert.deepEqual(uids(desk, "wherry"), before);
    for (const pod of ["ledger-0", "ledger-1"]) assert.deepEqual(read(desk, "wherry", pod), ["started", "started"], "the pod was killed, not stopped, and found its data");
    assert.match((await desk.wherry("status", "--data-dir", dataDir)).stdout, /statefulset\/ledger +2\/2 +\d+ +Ready/);
  });

  await t.test("two stacks side by side; --detach returns when all is Ready; down waits for the grace of each pod", async () => {
    const here = uids(desk, "wherry");
    const second = await desk.wherry("up", "app", "--name", "second", "--port", String(await freePort()), "--detach");
    assert.equal(second.code, 0, second.stdout + second.stderr);
    assert.match(second.stdout, /✓ ledger +2\/2 +Ready/);
    assert.match(second.stdout, /`wherry down`/);
    const theirs = desk.path(".wherry-second");
    const pid = Number(/Running as process (\d+)/.exec(second.stdout)![1]);
    const family = familyOf(theirs, pid);
    assert.ok(family.some((identity) => identity.pid === pid));

    assert.deepEqual(desk.kubectl("wherry", "config", "get-contexts", "-o", "name").trim().split("\n").sort(), ["second", "wherry"]);
    assert.equal(desk.kubectl("wherry", "config", "current-context").trim(), "wherry");
    desk.kubectl("second", "create", "configmap", "only-there");
    const there = uids(desk, "second");
    assert.deepEqual(there.filter((line) => here.includes(line)), [], "no object of one is in the other");
    assert.deepEqual(uids(desk, "wherry"), here);

    const began = performance.now();
    const down = await desk.wherry("down", "--data-dir", theirs);
    t.diagnostic(`down took ${(performance.now() - began).toFixed(0)} ms, of which a pod's own second`);
    assert.equal(down.code, 0, down.stderr);
    assert.deepEqual(await survivors(family, 0), []);
    const ledgers = readdirSync(theirs, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith("/ledger") && statSync(join(theirs, name)).isFile());
    assert.deepEqual(ledgers.map((name) => readFileSync(join(theirs, name), "utf8")), ["started\ngraceful\n", "started\ngraceful\n"]);
    const again = await desk.wherry("down", "--data-dir", theirs);
    assert.deepEqual([again.code, /no Wherry runs on .*\n +Start it with `wherry up`/.test(again.stderr)], [9, true]);

    assert.deepEqual(uids(desk, "wherry"), here, "the first goes on");
    assert.deepEqual(read(desk, "wherry", "ledger-0"), ["started", "started"]);
  });

  await t.test("Ctrl-C: at once, exit code 130, nobody and no listener left", async () => {
    const family = familyOf(dataDir, stack.now.pid);
    const began = performance.now();
    stack.now.kill("SIGINT");
    const { code } = await stack.now.ended;
    const ms = performance.now() - began;
    t.diagnostic(`Ctrl-C took ${ms.toFixed(0)} ms; the mark is 1000`);
    assert.equal(code, 130);
    assert.ok(ms < 5_000, `${ms} ms`);
    assert.deepEqual(await survivors(family, 0), []);
    assert.deepEqual(familyOf(dataDir), []);
    const listener = await foreignListener(port);
    assert.ok(listener, "the API's port is free again");
    await listener.close();
    const status = await desk.wherry("status", "--data-dir", dataDir);
    assert.deepEqual([status.code, /no Wherry runs on /.test(status.stderr)], [9, true]);
  });

  await t.test("reset asks first, and leaves an empty data directory", async () => {
    const before = contents(dataDir);
    const asked = await desk.wherry("reset", "--data-dir", dataDir);
    assert.deepEqual([asked.code, /say --yes/.test(asked.stderr)], [2, true]);
    assert.deepEqual(contents(dataDir), before);
    assert.equal((await desk.wherry("reset", "--yes", "--data-dir", dataDir)).code, 0);
    assert.deepEqual(readdirSync(dataDir), []);
  });
});

test("Ctrl-C during a graceful stop ends it at once", { timeout: 60_000 }, async (t) => {
  await using desk = new CommandLine(t);
  writeFileSync(desk.path("stubborn.yaml"), stubborn);
  const up = desk.start("up", "stubborn.yaml", "--data-dir", "data", "--port", String(await freePort()));
  await up.said(isUp);
  const family = familyOf(desk.path("data"), up.pid);
  up.kill("SIGTERM");
  await up.said(/every pod gets its grace period; Ctrl-C stops at once/);
  const began = performance.now();
  up.kill("SIGINT");
  assert.equal((await up.ended).code, 130);
  const ms = performance.now() - began;
  t.diagnostic(`Ctrl-C took ${ms.toFixed(0)} ms; the pod's grace is ten minutes`);
  assert.ok(ms < 5_000, `${ms} ms`);
  assert.deepEqual(await survivors(family, 0), []);
});

const stubborn = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: stubborn}
spec:
  selector: {matchLabels: {app: stubborn}}
  template:
    metadata: {labels: {app: stubborn}}
    spec:
      terminationGracePeriodSeconds: 600
      containers:
      - {name: stubborn, image: busybox, command: [sh, -c, "trap '' TERM; while :; do sleep 1; done"]}
`;

test("two stacks in plain mode on one machine: names are answered by the stack of who asks", { timeout: 120_000 }, async (t) => {
  await using desk = new CommandLine(t);
  const names = ["one", "two"];
  const stacks = await Promise.all(
    names.map(async (name) => {
      writeFileSync(desk.path(`${name}.yaml`), named(name));
      const up = desk.start("up", `${name}.yaml`, "--name", name, "--isolation", "plain", "--port", String(await freePort()));
      await up.said(isUp);
      return up;
    }),
  );
  for (const name of names) {
    desk.kubectl(name, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/asks", "--timeout=60s");
    assert.equal(desk.kubectl(name, "logs", "asks").trim().split("\n").at(-1), name);
  }
  const addresses = names.map((name) => desk.kubectl(name, "get", "pods", "-o", "jsonpath={.items[*].status.podIP}").split(" ")).flat();
  assert.equal(new Set(addresses).size, 4, addresses.join(" "));
  for (const up of stacks) up.kill("SIGINT");
  for (const up of stacks) assert.equal((await up.ended).code, 130);
});

/** A Service that says its stack's name, and a pod that asks it by name until it answers. */
const named = (stack: string) => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: node:26
        command: [node, -e, "require('http').createServer((q, s) => s.end('${stack}')).listen(8080)"]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: asks}
spec:
  restartPolicy: OnFailure
  containers:
  - name: asks
    image: node:26
    command: [node, -e, "const ask = () => fetch('http://web/').then((r) => r.text()).then(console.log, () => setTimeout(ask, 100)); ask()"]
`;

test("up is refused with the field, the value and the remedy, and nothing is changed", { timeout: 60_000 }, async (t) => {
  await using desk = new CommandLine(t);
  const port = await freePort();
  const foreign = await foreignListener(port);
  assert.ok(foreign);
  mkdirSync(desk.path("files"));
  writeFileSync(desk.path("files", "mine.txt"), "mine");
  writeFileSync(desk.path("file"), "a file");
  const cases: { what: string; args: string[]; code: number; says: RegExp }[] = [
    { what: "a port that another program has", args: ["--data-dir", "new", "--port", String(port)], code: 5, says: new RegExp(`port ${port} on 127\\.0\\.0\\.1 .*EADDRINUSE.*\n +Stop the program on that port, or choose another with --port`) },
    { what: "a file for a data directory", args: ["--data-dir", "file"], code: 3, says: new RegExp(`the data directory ${desk.path("file")} cannot be used: .*\n +Make the folder yours .* or name another with --data-dir`) },
    { what: "a folder of other things", args: ["--data-dir", "files"], code: 3, says: new RegExp(`the data directory ${desk.path("files")} cannot be used: it holds mine\\.txt.*\n +.*name another with --data-dir`) },
    { what: "a port that is none", args: ["--data-dir", "new", "--port", "70000"], code: 2, says: /--port 70000: must be a number between 1 and 65535/ },
    { what: "a mode that is none", args: ["--data-dir", "new", "--isolation", "full"], code: 2, says: /--isolation full: must be auto, isolated or plain/ },
    { what: "a name that is none", args: ["--name", "My Stack"], code: 2, says: /--name My Stack: lower-case letters, digits and dashes only/ },
    { what: "an option that is none", args: ["--prot", "1"], code: 2, says: /Unknown option '--prot'/ },
  ];
  for (const { what, args, code, says } of cases) {
    for (const detach of [[], ["--detach"]]) {
      await t.test(`${what}${detach.length > 0 ? ", detached" : ""}`, async () => {
        const before = contents(desk.folder);
        const result = await desk.wherry("up", ...args, ...detach);
        assert.match(result.stdout + result.stderr, says);
        assert.equal(result.code, code);
        assert.deepEqual(contents(desk.folder), before);
      });
    }
  }
  await foreign.close();
});

test("version and doctor", { timeout: 60_000 }, async (t) => {
  await using desk = new CommandLine(t);
  const version = await desk.wherry("version");
  assert.match(version.stdout, /^wherry \d+\.\d+\.\d+\nserves Kubernetes v1\.\d+\.\d+\nNode v\d+/);
  for (const mode of ["isolated", "plain"]) {
    const doctor = await desk.wherry("doctor", "--isolation", mode);
    if (mode === "isolated" && doctor.code === 8) {
      assert.match(doctor.stderr, /--isolation=isolated is impossible here\. \S/);
      continue;
    }
    assert.equal(doctor.code, 0, doctor.stderr);
    assert.match(doctor.stdout, mode === "plain" ? /^Pods would run in plain mode/ : /^Pods would run isolated/);
    assert.match(doctor.stdout, /^[✓✗] +memory-limits +\S/m);
  }
  assert.deepEqual(readdirSync(desk.folder).sort(), ["bin", "home"], "doctor makes nothing");
});

test("plain mode as root: a folder that pods may not pass through is named at once, and nothing is changed", { timeout: 60_000 }, async (t) => {
  if (process.getuid?.() !== 0) return t.skip("only root's pods have users of their own");
  await using desk = new CommandLine(t);
  const closed = desk.path("closed");
  mkdirSync(join(closed, "app"), { recursive: true });
  chmodSync(closed, 0o700);
  writeFileSync(join(closed, "app", "skaffold.yaml"), "apiVersion: skaffold/v4beta11\nkind: Config\nbuild:\n  artifacts:\n  - image: mine\n");
  writeFileSync(join(closed, "app", "Dockerfile"), 'FROM node:26\nWORKDIR /app\nCOPY . .\nCMD ["node", "main.js"]\n');
  const remedy = "\n +Let others pass through the folder \\(`chmod o\\+x FOLDER`\\), move what lies below it, or run Wherry as its owner instead of root";
  const cases: { what: string; args: string[]; says: string }[] = [
    { what: "the data directory", args: ["--data-dir", "closed/data"], says: `none may pass through ${closed} to its files in the data directory ${closed}/data${remedy}` },
    { what: "a linked folder", args: ["--data-dir", "data", "--link", "closed/app"], says: `none may pass through ${closed} to the code of image mine in ${closed}/app${remedy}` },
  ];
  for (const { what, args, says } of cases) {
    await t.test(what, async () => {
      const before = contents(closed);
      const up = await desk.wherry("up", "--isolation", "plain", "--port", String(await freePort()), ...args);
      assert.match(up.stderr, new RegExp(says), up.stdout);
      assert.equal(up.code, 10);
      assert.deepEqual(contents(closed), before);
    });
  }
  // The same folders do where each pod has files of its own.
  await t.test("isolated mode takes both", async (inner) => {
    if ((await desk.wherry("doctor", "--isolation", "isolated")).code === 8) return inner.skip("this machine allows no isolated mode");
    const up = desk.start("up", "--isolation", "isolated", "--port", String(await freePort()), "--data-dir", "closed/data", "--link", "closed/app");
    await up.said(isUp);
    up.kill("SIGINT");
    assert.equal((await up.ended).code, 130);
  });
});

test("an ordinary user: a data directory of somebody else", { timeout: 60_000 }, async (t) => {
  if (!needs(t, "setpriv")) return;
  if (process.getuid?.() !== 0) return t.skip("needs two users");
  if (!everybodyMayRead(import.meta.dirname)) return t.skip("the checkout lies in a folder that only root may enter");
  await using desk = new CommandLine(t, { uid: nobody });
  mkdirSync(desk.path("roots"), { mode: 0o700 });
  for (const [path, why] of [["roots", "EACCES"], ["roots/data", "EACCES"]] as const) {
    for (const detach of [[], ["--detach"]]) {
      const up = await desk.wherry("up", "--data-dir", path, ...detach);
      assert.match(up.stderr, new RegExp(`the data directory ${desk.path(path)} cannot be used: ${why}.*\n +Make the folder yours`));
      assert.equal(up.code, 3);
    }
  }
  assert.deepEqual([readdirSync(desk.path("roots")), statSync(desk.path("roots")).mode & 0o777], [[], 0o700]);
});
