import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chownSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { test } from "node:test";
import { descendantsOf } from "../../src/node/sandbox/processes.ts";
import { entry } from "../../src/wherry.ts";
import { needs } from "../needs.ts";
import { CommandLine, everybodyMayRead, isUp, nobody, type Running } from "./command-line.ts";
import { freePort } from "./stack.ts";

/** A program that notes the time in its volume, and is not Ready the moment one probe fails. */
const diary = `
apiVersion: v1
kind: Service
metadata: {name: diary}
spec: {clusterIP: None, selector: {app: diary}, ports: [{port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: diary}
spec:
  serviceName: diary
  selector: {matchLabels: {app: diary}}
  template:
    metadata: {labels: {app: diary}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: diary
        image: python:3
        command: [python3, -u, -c]
        args:
        - |
          import os, threading, time, http.server
          os.chdir(os.environ["FOLDER"])
          def write():
              while True:
                  with open("diary", "a") as file: file.write(f"{time.time()}\\n")
                  time.sleep(0.01)
          threading.Thread(target=write, daemon=True).start()
          http.server.test(http.server.SimpleHTTPRequestHandler, port=8080)
        env: [{name: FOLDER, value: /data}]
        readinessProbe: {httpGet: {path: /diary, port: 8080}, periodSeconds: 1, failureThreshold: 1}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`;

const isRoot = process.getuid?.() === 0;
const state = (pid: number): string => {
  try {
    return /^State:\s+(\w)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]!;
  } catch {
    return "X";
  }
};
const pvIn = (dataDir: string): string => readdirSync(`${dataDir}/volumes`).find((name) => name.startsWith("pvc-"))!;

async function until(what: string, done: () => boolean): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!done()) {
    assert.ok(performance.now() < deadline, `${what}: not within 30 s`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("backups that are refused, held up, interrupted or find no room; and one restored in another mode", { timeout: 240_000 }, async (t) => {
  if (!needs(t, "kubectl", "python3", "unshare", "mount")) return;
  await using desk = new CommandLine(t);
  mkdirSync(desk.path("app"));
  writeFileSync(desk.path("app", "diary.yaml"), diary);
  const data = desk.path("data");
  const refused = async (what: { code: number; stderr: RegExp }, ...args: string[]) => {
    const ran = await desk.wherry(...args);
    assert.deepEqual([ran.code, what.stderr.test(ran.stderr)], [what.code, true], ran.stdout + ran.stderr);
  };

  await refused({ code: 9, stderr: /there is nothing to back up: .* holds no stack\n +Start it with `wherry up`/ }, "backup", "--data-dir", "data");
  const up = desk.start("up", "app", "--no-watch", "--data-dir", "data", "--port", String(await freePort()));
  await up.said(isUp);
  const volume = `${data}/volumes/${pvIn(data)}`;
  const pages = () => readFileSync(`${volume}/diary`, "utf8").split("\n").length;
  const writer = () => descendantsOf(up.pid).find((pid) => readFileSync(`/proc/${pid}/cmdline`, "latin1").startsWith("python3"))!;
  const writes = async () => {
    const before = pages();
    await until("the program writes", () => pages() > before + 2);
  };
  const hidden = () => readdirSync(data).filter((name) => name.startsWith("."));
  /** A backup that has begun to copy; its packing of what does not compress takes its time. */
  const begun = async (): Promise<Running> => {
    const backup = desk.start("backup", "--data-dir", "data", "-o", "half.wherry");
    await until("the backup has begun", () => hidden().length > 0);
    return backup;
  };

  await t.test("one at a time: who holds the programs is named, probes that find them so count for nothing, and they go on when he is gone", async () => {
    const pid = writer();
    const since = () => desk.kubectl("wherry", "get", "pod", "diary-0", "-o", 'jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].lastTransitionTime}');
    const before = since();
    assert.match(before, /^True /);
    const other = connect({ path: `${data}/agent.sock` });
    other.write('{"op":"pause"}\n');
    await new Promise((resolve) => other.once("data", resolve));
    assert.equal(state(pid), "T");
    const held = performance.now();
    const length = pages();
    await refused({ code: 12, stderr: /could not be made to stand still while their volumes are copied: another backup is under way\n/ }, "backup", "--data-dir", "data", "-o", "b.wherry");
    // Longer than a probe's period and its time limit together.
    await until("probes have met it", () => performance.now() - held > 2_500);
    assert.equal(pages(), length, "nothing is written");
    other.destroy();
    await until("it goes on", () => state(pid) !== "T");
    await writes();
    assert.equal(since(), before, "it was Ready all the time");
    assert.doesNotMatch(desk.kubectl("wherry", "get", "events"), /Unhealthy|Killing/);
    assert.deepEqual([hidden(), existsSync(desk.path("b.wherry"))], [[], false]);
  });

  for (let index = 0; index < 4; index++) writeFileSync(`${volume}/ballast-${index}`, randomBytes(32 << 20));

  await t.test("Ctrl-C: exit code 130, nothing left, the program goes on", async () => {
    const backup = await begun();
    backup.kill("SIGINT");
    assert.equal((await backup.ended).code, 130, backup.stderr);
    assert.match(backup.stderr, /interrupted; nothing was left behind/);
    assert.deepEqual([hidden(), readdirSync(desk.folder).filter((name) => name.includes("half"))], [[], []]);
    await writes();
  });

  await t.test("kill -9: the program goes on, and the next backup removes what was left", async () => {
    const backup = await begun();
    backup.kill("SIGKILL");
    await backup.ended;
    await writes();
    const made = await desk.wherry("backup", "--data-dir", "data", "-o", "whole.wherry");
    assert.equal(made.code, 0, made.stderr);
    assert.deepEqual(hidden(), []);
    assert.match(made.stdout, /whole.wherry: [\d.]+ MB, objects at revision \d+, 13\d\.\d MB of volumes; programs stood still for [\d.]+ s\n/);
    t.diagnostic(/programs stood still.*/.exec(made.stdout)![0]);
    assert.match(made.stdout, /It holds every Secret and key of the stack\. Restore it with `wherry up --from whole\.wherry`\./);
  });

  /** Runs `wherry` where a disk of this size is at `disk`. */
  const onSmallDisk = (size: string, ...args: string[]) => {
    mkdirSync(desk.path("disk"), { recursive: true });
    const script = 'mount -t tmpfs -o "size=$1,mode=755" none disk && shift && "$@"; code=$?; echo "left: $(ls -A disk)"; exit $code';
    return spawnSync("unshare", [isRoot ? "-m" : "-Urm", "sh", "-c", script, "sh", size, process.execPath, entry, ...args], { cwd: desk.folder, env: desk.env, encoding: "utf8", timeout: 60_000 });
  };
  await t.test("no room for the file, none for what is in it: exit code 4, and nothing left", async () => {
    const first = onSmallDisk("20m", "backup", "--data-dir", "data", "-o", "disk/b.wherry");
    assert.deepEqual([first.status, /no room for the backup: .*ENOSPC.*was removed\n +Free some space/.test(first.stderr)], [4, true], first.stderr);
    assert.match(first.stdout, /^left: $/m);
    assert.deepEqual(hidden(), []);
    const second = onSmallDisk("20m", "up", "--data-dir", "disk/new/data", "--from", "whole.wherry");
    assert.deepEqual([second.status, /no room to restore .*whole\.wherry into .*disk\/new\/data: .*ENOSPC/.test(second.stderr)], [4, true], second.stderr);
    assert.match(second.stdout, /^left: $/m);
    await writes();
  });

  await t.test("a data directory that holds something; a file that is cut", async () => {
    await refused({ code: 3, stderr: /the data directory .*data holds .*; a backup is restored into an empty one only\n +Name a folder that is empty/ }, "up", "--data-dir", "data", "--from", "whole.wherry");
    writeFileSync(desk.path("cut.wherry"), readFileSync(desk.path("whole.wherry")).subarray(0, 50 << 20));
    await refused({ code: 12, stderr: /cut\.wherry is not a whole backup of Wherry: .*\n +Fetch the file again/ }, "up", "--data-dir", "new", "--from", "cut.wherry");
    await refused({ code: 2, stderr: /--from .*none\.wherry: ENOENT/ }, "up", "--data-dir", "new", "--from", "none.wherry");
    await refused({ code: 2, stderr: /there is no folder .*\/nowhere/ }, "backup", "--data-dir", "data", "-o", "nowhere/b.wherry");
    assert.equal(existsSync(desk.path("new")), false);
  });

  await t.test("Ctrl-C while a backup is restored leaves nothing", async () => {
    const restoring = desk.start("up", "--data-dir", "new", "--from", "whole.wherry");
    await until("it has begun", () => existsSync(desk.path("new", ".restoring")));
    restoring.kill("SIGINT");
    assert.equal((await restoring.ended).code, 130, restoring.stderr);
    assert.match(restoring.stderr, /interrupted; nothing was left behind/);
    assert.equal(existsSync(desk.path("new")), false);
  });

  await t.test("a stack that does not run is backed up as well, and restored in the other mode", async (t) => {
    up.kill("SIGTERM");
    await up.ended;
    for (let index = 0; index < 4; index++) writeFileSync(`${volume}/ballast-${index}`, "");
    const last = readFileSync(`${volume}/diary`, "utf8").trim().split("\n").at(-1)!;
    const made = await desk.wherry("backup", "--data-dir", "data", "-o", "stopped.wherry");
    assert.equal(made.code, 0, made.stderr);
    assert.doesNotMatch(made.stdout, /stood still/);
    const plain = desk.start("up", "app", "--no-watch", "--isolation", "plain", "--data-dir", "plain", "--port", String(await freePort()), "--from", "stopped.wherry");
    assert.match(await plain.said(isUp), /restored .*stopped\.wherry: written .* by Wherry .*, objects at revision \d+\nWherry .*: plain pods/);
    desk.kubectl("wherry", "wait", "--for=condition=Ready", "pod/diary-0", "--timeout=60s");
    const there = `${desk.path("plain")}/volumes/${pvIn(desk.path("plain"))}`;
    assert.ok(readFileSync(`${there}/diary`, "utf8").includes(`${last}\n`));
    const before = readFileSync(`${there}/diary`, "utf8").length;
    await until("it writes there", () => readFileSync(`${there}/diary`, "utf8").length > before);

    await t.test("and from that mode, while it runs, by the same promises", async () => {
      const again = await desk.wherry("backup", "--data-dir", "plain", "-o", "plain.wherry");
      assert.equal(again.code, 0, again.stderr);
      assert.match(again.stdout, /programs stood still for/);
      const pages = readFileSync(`${there}/diary`, "utf8").length;
      await until("it goes on there", () => readFileSync(`${there}/diary`, "utf8").length > pages);
    });
  });
});

test("root's stack becomes an ordinary user's, and root's again", { timeout: 120_000, skip: !isRoot && "needs root" }, async (t) => {
  if (!needs(t, "kubectl", "python3", "setpriv")) return;
  if (!everybodyMayRead(entry)) return t.skip("another user may not read this checkout");
  await using root = new CommandLine(t);
  await using user = new CommandLine(t, { uid: nobody });
  writeFileSync(root.path("diary.yaml"), diary);
  const first = root.start("up", "diary.yaml", "--no-watch", "--data-dir", "data", "--port", String(await freePort()));
  await first.said(isUp);
  const firstPage = readFileSync(`${root.path("data")}/volumes/${pvIn(root.path("data"))}/diary`, "utf8").split("\n")[0]!;
  /** Hands the backup of one over to the other, who may have nothing but the file. */
  const move = async (from: CommandLine, dataDir: string, to: CommandLine, name: string, owner: number): Promise<{ running: Running; diary: string }> => {
    const made = await from.wherry("backup", "--data-dir", dataDir, "-o", name);
    assert.equal(made.code, 0, made.stderr);
    copyFileSync(from.path(name), to.path(name));
    chownSync(to.path(name), owner, owner);
    const running = to.start("up", "--data-dir", name.replace(".wherry", ""), "--port", String(await freePort()), "--from", name);
    await running.said(isUp);
    to.kubectl("wherry", "wait", "--for=condition=Ready", "pod/diary-0", "--timeout=60s");
    const there = to.path(name.replace(".wherry", ""));
    const diary = `${there}/volumes/${pvIn(there)}/diary`;
    assert.equal(readFileSync(diary, "utf8").split("\n")[0], firstPage);
    const length = readFileSync(diary, "utf8").length;
    await until("the program writes", () => readFileSync(diary, "utf8").length > length);
    return { running, diary };
  };
  const theirs = await move(root, "data", user, "theirs.wherry", nobody);
  assert.equal(statSync(theirs.diary).uid, nobody, "files are the user's");
  const back = await move(user, "theirs", root, "back.wherry", 0);
  assert.ok(statSync(back.diary).uid >= 100_000, "and the pod's own again");
  t.diagnostic(`the diary is now of uid ${statSync(back.diary).uid}`);
});
