import assert from "node:assert/strict";
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Pod } from "../../api/types.ts";
import { NodeHarness } from "../testing/harness.ts";
import { treeBytes } from "../volumes/usage.ts";
import { hasStorageLimits, overStorageLimit } from "./storage-limits.ts";

const mebi = 1 << 20;
const container = (name: string, limit?: string) => ({ name, ...(limit && { resources: { limits: { "ephemeral-storage": limit } } }) });
const podWith = (containers: object[], volumes: object[] = []): Pod => ({ metadata: { name: "p" }, spec: { containers, volumes } }) as unknown as Pod;

test("what passes a limit, in kubelet's words and order", () => {
  const cache = { name: "cache", emptyDir: { sizeLimit: "1Mi" } };
  const cases: [why: string, pod: Pod, volumes: Record<string, number>, containers: Record<string, number>, expected: string | undefined][] = [
    ["no limits", podWith([container("a")], [{ name: "cache", emptyDir: {} }]), { cache: 9 * mebi }, { a: 9 * mebi }, undefined],
    ["exactly what it may", podWith([container("a")], [cache]), { cache: mebi }, {}, undefined],
    ["a volume", podWith([container("a", "1Gi")], [cache]), { cache: mebi + 1 }, {}, 'Usage of EmptyDir volume "cache" exceeds the limit "1Mi". '],
    ["zero is no limit", podWith([container("a")], [{ name: "cache", emptyDir: { sizeLimit: "0" } }]), { cache: mebi }, {}, undefined],
    ["one of two that have limits", podWith([container("a", "1Mi"), container("b", "8Mi")]), {}, { a: 2 * mebi, b: 0 }, 'Container a exceeded its local ephemeral storage limit "1Mi". '],
    ["both together, and what has no limit counts", podWith([container("a", "1Mi"), container("b")]), {}, { a: 0, b: 2 * mebi }, "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "],
    ["volumes on disk count for the pod", podWith([container("a", "1Mi")], [{ name: "cache", emptyDir: {} }]), { cache: mebi }, { a: 1 }, "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "],
    ["those in memory do not", podWith([container("a", "1Mi")], [{ name: "cache", emptyDir: { medium: "Memory" } }]), { cache: mebi }, { a: 1 }, undefined],
    ["written as it was not", podWith([container("a")], [{ name: "cache", emptyDir: { sizeLimit: "1024Ki" } }]), { cache: 2 * mebi }, {}, 'Usage of EmptyDir volume "cache" exceeds the limit "1Mi". '],
  ];
  for (const [why, pod, volumes, containers, expected] of cases) assert.equal(overStorageLimit(pod, { volumes: new Map(Object.entries(volumes)), containers: new Map(Object.entries(containers)) }), expected, why);
  assert.deepEqual([podWith([container("a")]), podWith([container("a", "1Mi")]), podWith([container("a")], [cache])].map(hasStorageLimits), [false, true, true]);
});

test("a tree is counted as du counts it: blocks, links once, nothing outside", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "wherry-usage-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  assert.equal(await treeBytes(join(dir, "absent")), 0);
  mkdirSync(join(dir, "tree", "below"), { recursive: true });
  const empty = await treeBytes(join(dir, "tree"));
  writeFileSync(join(dir, "tree", "below", "file"), Buffer.alloc(mebi, 1));
  linkSync(join(dir, "tree", "below", "file"), join(dir, "tree", "twin"));
  writeFileSync(join(dir, "outside"), Buffer.alloc(8 * mebi, 1));
  symlinkSync("../outside", join(dir, "tree", "link"));
  const bytes = (await treeBytes(join(dir, "tree"))) - empty;
  assert.ok(bytes >= mebi && bytes < 1.1 * mebi, String(bytes));
});

test("a pod that writes more than it may is evicted, and told why", async () => {
  await using node = new NodeHarness();
  const worker = await node.run({ volumes: [{ name: "cache", emptyDir: { sizeLimit: "64Ki" } }], containers: [{ name: "app", image: "app:1", volumeMounts: [{ name: "cache", mountPath: "/cache" }] }] });
  writeFileSync(join(worker.dir, "volumes", "cache", "file"), Buffer.alloc(60 << 10, 1));
  await node.advance(25_000);
  assert.equal(node.pod()!.status!.phase, "Running");
  writeFileSync(join(worker.dir, "volumes", "cache", "more"), Buffer.alloc(60 << 10, 1));
  await node.advance(10_000);
  const { phase, reason, message, conditions } = node.pod()!.status!;
  const expected = 'Usage of EmptyDir volume "cache" exceeds the limit "64Ki". ';
  assert.deepEqual([phase, reason, message], ["Failed", "Evicted", expected]);
  assert.deepEqual(node.events.filter((event) => event.reason === "Evicted").map(({ type, message }) => [type, message]), [["Warning", expected]]);
  const target = conditions!.find(({ type }) => type === "DisruptionTarget")!;
  assert.deepEqual([target.status, target.reason, target.message], ["True", "TerminationByKubelet", expected]);
});
