import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject, OwnerReference } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import { OwnerGraph } from "./graph.ts";
import { type OwnerState, planGarbage } from "./plan.ts";

const owner = (uid: string, blockOwnerDeletion = true): OwnerReference => ({ apiVersion: "v1", kind: "ConfigMap", name: uid, uid, blockOwnerDeletion });
const object = (uid: string, ownerReferences: OwnerReference[] = [], more: object = {}): KubeObject => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: uid, namespace: "default", uid, resourceVersion: "1", creationTimestamp: "", ...(ownerReferences.length > 0 && { ownerReferences }), ...more } });
const going = (...finalizers: string[]) => ({ deletionTimestamp: "2026-01-01T00:00:00Z", finalizers });

test("what is done about one object", () => {
  interface Case {
    why: string;
    subject: KubeObject;
    others?: KubeObject[];
    states?: Record<string, OwnerState>;
    steps: string[];
  }
  const cases: Case[] = [
    { why: "nobody owns it", subject: object("a"), steps: [] },
    { why: "its owner exists", subject: object("a", [owner("o")]), states: { o: "solid" }, steps: [] },
    { why: "its owner is absent", subject: object("a", [owner("o")]), states: { o: "absent" }, steps: ["delete a Background"] },
    { why: "one of two is absent", subject: object("a", [owner("o"), owner("p")]), states: { o: "absent", p: "solid" }, steps: ["setOwners a p"] },
    { why: "one of two waits for it", subject: object("a", [owner("o"), owner("p")]), states: { o: "waiting", p: "solid" }, steps: ["setOwners a p"] },
    { why: "its owner waits for it", subject: object("a", [owner("o")]), states: { o: "waiting" }, steps: ["delete a Background"] },
    { why: "its owner waits for it and its own dependents", subject: object("a", [owner("o")]), others: [object("b", [owner("a")])], states: { o: "waiting" }, steps: ["delete a Foreground"] },
    { why: "absent owner, but its dependents shall live", subject: object("a", [owner("o")], { finalizers: ["orphan"] }), states: { o: "absent" }, steps: ["delete a Orphan"] },
    { why: "its owner is elsewhere", subject: object("a", [owner("o")]), states: { o: "elsewhere" }, steps: ["warnForeign a", "delete a Background"] },
    { why: "nobody can tell which owner is meant", subject: object("a", [owner("o"), owner("p")]), states: { o: "unresolvable", p: "absent" }, steps: ["warnForeign a"] },
    { why: "it is on its way already", subject: object("a", [owner("o")], going("example.com/x")), states: { o: "absent" }, steps: [] },
    { why: "foreground, with a dependent that blocks", subject: object("a", [], going("foregroundDeletion")), others: [object("b", [owner("a")])], steps: [] },
    { why: "foreground, with one that does not", subject: object("a", [], going("foregroundDeletion")), others: [object("b", [owner("a", false)])], steps: ["dropFinalizer a foregroundDeletion"] },
    { why: "foreground, with none left", subject: object("a", [], going("foregroundDeletion")), steps: ["dropFinalizer a foregroundDeletion"] },
    { why: "orphaning, with dependents", subject: object("a", [], going("orphan")), others: [object("b", [owner("a"), owner("c")]), object("d", [owner("a")])], steps: ["setOwners b c", "setOwners d "] },
    { why: "orphaning, with none left", subject: object("a", [], going("orphan")), steps: ["dropFinalizer a orphan"] },
  ];
  for (const { why, subject, others = [], states = {}, steps } of cases) {
    const graph = new OwnerGraph();
    for (const one of [subject, ...others]) graph.observe(resources.configMaps, one, undefined);
    const plan = planGarbage(graph.get("a")!, graph, ({ uid }) => states[uid]!).map((step) => {
      const name = `${step.step} ${step.node.object.metadata.name}`;
      if (step.step === "delete") return `${name} ${step.propagationPolicy}`;
      if (step.step === "setOwners") return `${name} ${step.ownerReferences.map(({ uid }) => uid).join()}`;
      return step.step === "dropFinalizer" ? `${name} ${step.finalizer}` : name;
    });
    assert.deepEqual(plan, steps, why);
  }
});

test("which objects a change makes doubtful", () => {
  const graph = new OwnerGraph();
  const observe = (next: KubeObject | undefined, old?: KubeObject) => graph.observe(resources.configMaps, next, old).sort();
  const [parent, child] = [object("parent"), object("child", [owner("parent")])];
  assert.deepEqual(observe(child), ["child"], "a dependent whose owner is not known yet");
  assert.deepEqual(observe(parent), []);
  assert.deepEqual(observe(child, child), [], "known by now");
  assert.deepEqual(observe(object("other", [owner("parent")], { namespace: "elsewhere" })), ["other"], "an owner of another namespace");
  observe(undefined, object("other", [], { namespace: "elsewhere" }));
  const waiting = object("parent", [], going("foregroundDeletion"));
  assert.deepEqual(observe(waiting, parent), ["child", "parent"]);
  assert.deepEqual(observe(undefined, child), ["parent"], "who waits for its dependents is told of each end");
  observe(object("child", [owner("parent")]));
  assert.deepEqual(observe(undefined, waiting), ["child"], "dependents of what is gone");
  assert.equal(graph.size, 1);
});
