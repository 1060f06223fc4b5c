import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import type { Artifact } from "../../api/artifacts.ts";
import type { Pod } from "../../api/types.ts";
import { containersRunning } from "./reloader.ts";
import { marksOf, patienceMs, verdictOf } from "./verdict.ts";

interface Container {
  id?: string;
  state?: object;
  last?: { id: string; code: number };
}
function podWith(containers: Record<string, Container>, ready: boolean, more: object = {}): Pod {
  return {
    metadata: { name: "web", namespace: "default", uid: "1", ...more },
    spec: { containers: Object.keys(containers).map((name) => ({ name })) },
    status: {
      conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
      containerStatuses: Object.entries(containers).map(([name, { id, state, last }]) => ({ name, containerID: id, state: state ?? { running: {} }, lastState: last ? { terminated: { exitCode: last.code, containerID: last.id } } : {} })),
    },
  } as unknown as Pod;
}
const ended = (id: string, code: number) => ({ terminated: { exitCode: code, containerID: id } });

test("verdictOf(): Ready with another program than before; ended, when a program has come and gone since", () => {
  const before = marksOf(podWith({ app: { id: "a", last: { id: "z", code: 1 } } }, true), ["app"]);
  const cases: [string, Pod, string | undefined][] = [
    ["not begun", podWith({ app: { id: "a", last: { id: "z", code: 1 } } }, true), undefined],
    ["the old one ends", podWith({ app: { id: "a", state: { waiting: { reason: "Reloading" } }, last: { id: "z", code: 1 } } }, false), undefined],
    ["the new one runs", podWith({ app: { id: "b", last: { id: "z", code: 1 } } }, false), undefined],
    ["and is Ready", podWith({ app: { id: "b", last: { id: "z", code: 1 } } }, true), "ready"],
    ["the new one ended", podWith({ app: { id: "b", state: ended("b", 7) } }, false), "failed: app: the new code exited with code 7"],
    ["and is started again", podWith({ app: { id: "c", last: { id: "b", code: 7 } } }, false), "failed: app: the new code exited with code 7"],
    ["waits for that", podWith({ app: { id: "b", state: { waiting: { reason: "CrashLoopBackOff" } }, last: { id: "b", code: 7 } } }, false), "failed: app: the new code exited with code 7"],
    ["is being deleted", podWith({ app: { id: "b" } }, true, { deletionTimestamp: "2026-01-01T00:00:00Z" }), "gone"],
  ];
  for (const [name, pod, expected] of cases) {
    const verdict = verdictOf(pod, before);
    assert.equal(verdict?.kind === "failed" ? `failed: ${verdict.container}: ${verdict.why}` : verdict?.kind, expected, name);
  }
  // Of two, both must be new.
  const both = marksOf(podWith({ app: { id: "a" }, other: { id: "o" } }, true), ["app", "other"]);
  assert.equal(verdictOf(podWith({ app: { id: "b" }, other: { id: "o" } }, true), both), undefined);
  assert.equal(verdictOf(podWith({ app: { id: "b" }, other: { id: "p" } }, true), both)?.kind, "ready");
});

test("patienceMs() is what probes and grace allow", () => {
  const pod = { spec: { terminationGracePeriodSeconds: 5, containers: [{ name: "app", readinessProbe: { initialDelaySeconds: 5, periodSeconds: 2, failureThreshold: 3 }, startupProbe: { periodSeconds: 10, failureThreshold: 30 } }, { name: "other", readinessProbe: { periodSeconds: 1000 } }] } } as unknown as Pod;
  assert.equal(patienceMs(pod, ["app"]), (10 + 5 + 6 + 300 + 5) * 1000);
});

test("containersRunning(): which containers of a pod run a folder", () => {
  const artifact = (image: string, tag = "") => ({ image, tag, context: "/c", entrypoint: ["node"] }) as unknown as Artifact;
  const id = (of: Artifact) => `wherry://${of.image}@sha256:${createHash("sha256").update(JSON.stringify(of)).digest("hex")}`;
  const untagged = artifact("shop/web");
  const tagged = artifact("shop/web", "v1");
  const pod = (image: string, imageID: string, more: { policy?: string; initialized?: boolean; phase?: string } = {}) =>
    ({
      metadata: { name: "p", namespace: "d", uid: "1" },
      spec: { restartPolicy: more.policy, containers: [{ name: "main", image }] },
      status: { phase: more.phase ?? "Running", conditions: [{ type: "Initialized", status: more.initialized === false ? "False" : "True" }], containerStatuses: [{ name: "main", image, imageID }] },
    }) as unknown as Pod;
  const cases: [string, Pod, Artifact, boolean][] = [
    ["the same", pod("shop/web:v1", id(untagged)), untagged, true],
    ["an earlier state of it", pod("shop/web:v1", id(artifact("shop/web", "v0"))), untagged, true],
    ["another image", pod("shop/webs", id(artifact("shop/webs"))), untagged, false],
    ["of two tags, its own", pod("shop/web:v1", id(tagged)), tagged, true],
    ["of two tags, the other", pod("shop/web:v2", id(artifact("shop/web", "v2"))), tagged, false],
    ["just starting", pod("shop/web:v1", ""), untagged, true],
    ["waiting for its init containers", pod("shop/web:v1", "", { initialized: false }), untagged, false],
    ["a Job's", pod("shop/web", id(untagged), { policy: "Never" }), untagged, false],
    ["ended", pod("shop/web", id(untagged), { phase: "Succeeded" }), untagged, false],
  ];
  for (const [name, running, of, expected] of cases) assert.equal(containersRunning(running, [of]).length > 0, expected, name);
});
