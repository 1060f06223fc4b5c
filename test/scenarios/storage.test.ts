import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { snapshotDefinitions } from "../../src/api/snapshot/definition.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { playTranscript } from "./stack.ts";

const claim = (name: string, more = "", size = "16Mi"): string => `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: ${name}}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: ${size}}}
  ${more}
`;
const pod = (name: string, volumes: string, mounts = "[{name: data, mountPath: /data}]", more = "", command = "sleep infinity"): string => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, labels: {app: ${name}}, annotations: {colour: blue}}
spec:
  terminationGracePeriodSeconds: 0
  ${more}
  containers:
  - name: main
    image: busybox
    command: [sh, -c, ${JSON.stringify(command)}]
    volumeMounts: ${mounts}
  volumes: ${volumes}
`;
const of = (claimName: string): string => `[{name: data, persistentVolumeClaim: {claimName: ${claimName}}}]`;
const snapshot = (name: string, source: string, more = ""): string => `
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: ${name}}
spec:
  source: ${source}
  ${more}
`;
// A hundred files, each written in turn as fast as can be: at one instant there are two numbers in them at most.
const turns = "i=0; while :; do i=$((i+1)); f=0; while [ $f -lt 100 ]; do f=$((f+1)); echo $i > /data/$f; done; done";

const fill = (file: string, megabytes: number): string => `head -c ${megabytes}m /dev/zero | tr '\\0' x > ${file}`;

const files: Record<string, string> = {
  "data.yaml": [claim("data"), pod("writer", of("data"))].join("---"),
  "busy.yaml": [claim("busy"), pod("busy", of("busy"), undefined, "", turns)].join("---"),
  "before.yaml": snapshot("before", "{persistentVolumeClaimName: data}"),
  "busy-snapshot.yaml": snapshot("busy", "{persistentVolumeClaimName: busy}"),
  "restored.yaml": [claim("restored", "dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: before}"), pod("restored", of("restored"))].join("---"),
  "torn.yaml": [claim("torn", "dataSourceRef: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: busy}"), pod("torn", of("torn"))].join("---"),
  "clone.yaml": [claim("clone", "dataSource: {kind: PersistentVolumeClaim, name: data}", "64Mi"), pod("clone", of("clone"))].join("---"),
  "small.yaml": [claim("small", "dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: before}", "1Mi"), pod("small", of("small"))].join("---"),
  "nothing.yaml": snapshot("nothing", "{persistentVolumeClaimName: absent}"),
  "keep.yaml": `
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata: {name: keep}
driver: wherry.dev/local
deletionPolicy: Retain
---${snapshot("kept", "{persistentVolumeClaimName: data}", "volumeSnapshotClassName: keep")}`,
  "again.yaml": `
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotContent
metadata: {name: again}
spec:
  deletionPolicy: Delete
  driver: wherry.dev/local
  source: {snapshotHandle: HANDLE}
  volumeSnapshotRef: {name: again, namespace: default}
---${snapshot("again", "{volumeSnapshotContentName: again}")}---${claim("late", "dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: again}")}---${pod("late", of("late"))}`,
  "outside.yaml": `
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotContent
metadata: {name: outside}
spec:
  deletionPolicy: Delete
  driver: wherry.dev/local
  source: {snapshotHandle: ../../pki}
  volumeSnapshotRef: {name: outside, namespace: default}
`,
  "block.yaml": [claim("block", "volumeMode: Block"), pod("block", of("block"))].join("---"),
  "exclusive.yaml": [claim("exclusive").replace("ReadWriteOnce", "ReadWriteOncePod"), pod("first", of("exclusive")), pod("second", of("exclusive"))].join("---"),
  // Each writes more than it may: to an emptyDir, to its own files, or to both together; the last keeps to what it may.
  "greedy.yaml": [
    pod("greedy-volume", "[{name: data, emptyDir: {sizeLimit: 1Mi}}]", undefined, "", `${fill("/data/file", 2)}; sleep infinity`),
    pod("greedy-files", "[]", "[]", "", `${fill("/tmp/file", 2)}; sleep infinity`).replace("    volumeMounts:", "    resources: {limits: {ephemeral-storage: 1Mi}}\n    volumeMounts:"),
    pod("greedy-both", "[{name: data, emptyDir: {}}]", undefined, "", `${fill("/data/file", 1)}; ${fill("/tmp/file", 1)}; sleep infinity`).replace("    volumeMounts:", "    resources: {limits: {ephemeral-storage: 1536Ki}}\n    volumeMounts:"),
    pod("modest", "[{name: data, emptyDir: {sizeLimit: 4Mi}}]", undefined, "", `${fill("/data/file", 2)}; ${fill("/tmp/file", 1)}; sleep infinity`).replace("    volumeMounts:", "    resources: {limits: {ephemeral-storage: 4Mi}}\n    volumeMounts:"),
  ].join("---"),
  "huge.yaml": pod("huge", "[]", "[]").replace("    volumeMounts:", "    resources: {requests: {ephemeral-storage: 9Pi}}\n    volumeMounts:"),
  "config.yaml": `
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {one: "1", two: "1"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: fixed}
immutable: true
data: {one: "1"}
---${pod(
    "reader",
    `
  - {name: config, configMap: {name: config, defaultMode: 0440, items: [{key: one, path: deep/one}, {key: two, path: two, mode: 0400}]}}
  - {name: later, secret: {secretName: later, optional: true}}
  - {name: told, downwardAPI: {items: [{path: colour, fieldRef: {fieldPath: "metadata.annotations['colour']"}}]}}`,
    "[{name: config, mountPath: /config}, {name: config, mountPath: /alone, subPath: two}, {name: later, mountPath: /later}, {name: told, mountPath: /told}]",
  )}`,
  "definitions.json": JSON.stringify({ apiVersion: "v1", kind: "List", items: snapshotDefinitions.map(({ object }) => object) }),
  "ephemeral.yaml": pod("scratch", "[{name: data, ephemeral: {volumeClaimTemplate: {metadata: {labels: {of: scratch}}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}}}]"),
};

test("storage as kubectl sees it: claims that grow, snapshots, restores, clones", { timeout: 120_000 }, async (t) => {
  if (!needs(t, "kubectl")) return;
  await using wherry = await startWherry({ test: t });
  await playTranscript(wherry, "storage", files, { env: { DATA: wherry.dataDir } });
});

const sharing = `
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {key: secret}
---${claim("shared").replace("ReadWriteOnce", "ReadWriteMany")}---
apiVersion: v1
kind: Pod
metadata: {name: family}
spec:
  terminationGracePeriodSeconds: 0
  shareProcessNamespace: true
  securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000, supplementalGroups: [3000], fsGroupChangePolicy: OnRootMismatch}
  containers:
  - name: one
    image: busybox
    command: [sh, -c, "trap 'echo told' USR1; while :; do sleep 0.05; done"]
    volumeMounts: [{name: disk, mountPath: /disk}, {name: memory, mountPath: /memory}, {name: key, mountPath: /key}, {name: claim, mountPath: /claim}, {name: claim, mountPath: /below, subPath: deep/er}]
  - {name: two, image: busybox, command: [sleep, infinity], securityContext: {runAsUser: 1001, runAsGroup: 2000}, volumeMounts: [{name: memory, mountPath: /memory}]}
  volumes:
  - {name: disk, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory}}
  - {name: key, secret: {secretName: key, defaultMode: 0400}}
  - {name: claim, persistentVolumeClaim: {claimName: shared}}
---
apiVersion: v1
kind: Pod
metadata: {name: friend}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 5000, runAsGroup: 5000, fsGroup: 2000, fsGroupChangePolicy: OnRootMismatch}
  containers: [{name: one, image: busybox, command: [sleep, infinity], volumeMounts: [{name: claim, mountPath: /claim}]}]
  volumes: [{name: claim, persistentVolumeClaim: {claimName: shared}}]
`;

test("pods that share: volumes by a group, processes with one another", { timeout: 60_000 }, async (t) => {
  if (!needs(t, "kubectl")) return;
  await using wherry = await startWherry({ test: t });
  const file = join(dirname(wherry.dataDir), "sharing.yaml");
  writeFileSync(file, sharing);
  const kubectl = async (...args: string[]) => {
    const { stdout, stderr, code } = await wherry.kubectl(...args);
    assert.equal(code, 0, `${args.join(" ")}: ${stderr}`);
    return stdout;
  };
  await kubectl("apply", "-f", file);
  await kubectl("wait", "--for=condition=ready", "pod/family", "pod/friend", "--timeout=30s");

  const processes = await kubectl("exec", "family", "-c", "two", "--", "sh", "-c", "for p in /proc/[0-9]*; do echo ${p#/proc/} $(tr '\\0' ' ' < $p/cmdline); done");
  assert.match(processes, /^1 .*sleep infinity/m);
  const pid = /^(\d+) sh -c trap 'echo told'/m.exec(processes)![1]!;
  await kubectl("exec", "family", "-c", "two", "--", "sh", "-c", `kill -USR1 ${pid}`);
  for (const end = performance.now() + 5_000; !/told/.test(await kubectl("logs", "family", "-c", "one")); ) assert.ok(performance.now() < end, "the signal did not arrive");

  const untold = (await kubectl("events", "--for", "pod/family", "-o", "jsonpath={.items[?(@.reason=='NotHonoured')].message}"));
  if (process.getuid?.() !== 0) return assert.match(untold, /fsGroup 2000: .*supplementalGroups \(3000\)/s);
  assert.equal(untold, "");
  const look = (pod: string, container: string, script: string) => kubectl("exec", pod, "-c", container, "--", "sh", "-c", script);
  assert.equal(await look("family", "one", "id -G; stat -c '%g %a' /disk /memory /key /claim /below; stat -L -c '%g %a' /key/key; cat /key/key"), "1000 2000 3000\n2000 2777\n2000 2777\n2000 2755\n2000 2777\n2000 2775\n2000 440\nsecret");
  assert.equal(await look("family", "two", "id -u; id -G"), "1001\n2000 3000\n");
  // Both write what the other reads, whoever they are on the machine and inside.
  assert.equal(await look("family", "one", "umask 027; echo hello > /claim/deep/greeting; stat -c '%u %g %a' /claim/deep/greeting"), "1000 2000 640\n");
  assert.equal(await look("friend", "one", "cat /claim/deep/greeting; echo back > /claim/answer; stat -c '%g' /claim/answer"), "hello\n2000\n");
  assert.equal(await look("family", "one", "cat /claim/answer"), "back\n");

  // Its own end is its own; the end of the first process is everybody's.
  await look("family", "one", "echo kept > /memory/file");
  await kubectl("exec", "family", "-c", "one", "--", "sh", "-c", "kill 1").catch(() => {});
  await kubectl("wait", "--for=jsonpath={.status.containerStatuses[1].restartCount}=1", "pod/family", "--timeout=30s");
  await kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/family", "--timeout=30s");
  assert.equal(await look("friend", "one", "echo here"), "here\n");
  assert.equal(await look("family", "two", "cat /memory/file; stat -f -c %T /memory"), "kept\ntmpfs\n", "memory is the pod's, not a container's");
});
