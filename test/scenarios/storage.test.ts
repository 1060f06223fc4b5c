import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { snapshotDefinitions } from "../../src/api/snapshot/definition.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { runTranscript } from "./transcript.ts";

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
  const folder = join(dirname(wherry.dataDir), "manifests");
  mkdirSync(folder);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  await runTranscript(join(import.meta.dirname, "storage.transcript"), { cwd: folder, env: { ...wherry.env, DATA: wherry.dataDir }, onStep: process.env["STEPS"] ? (command, ms) => console.log(`${ms.toFixed(0).padStart(6)} ms  ${command}`) : () => {} });
});
