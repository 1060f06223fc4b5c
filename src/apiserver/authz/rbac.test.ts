import assert from "node:assert/strict";
import { test } from "node:test";
import { createMemoryStore } from "../../store/memory-store.ts";
import type { Identity } from "../rest/context.ts";
import { type Attributes, covers, type PolicyRule, Rbac, refusalText, uncovered } from "./rbac.ts";

const resource = (verb: string, name: string, more: { group?: string; namespace?: string; name?: string } = {}): Attributes => {
  const [kind, subresource] = name.split("/");
  return { verb, group: more.group ?? "", resource: kind!, subresource, namespace: more.namespace, name: more.name };
};

test("a rule covers what it names", () => {
  const rule = (text: Partial<PolicyRule>): PolicyRule => ({ verbs: ["get"], apiGroups: [""], resources: ["pods"], ...text });
  const cases: [PolicyRule, Attributes, boolean][] = [
    [rule({}), resource("get", "pods"), true],
    [rule({}), resource("list", "pods"), false],
    [rule({}), resource("get", "pods", { group: "apps" }), false],
    [rule({}), resource("get", "pods/log"), false],
    [rule({ resources: ["pods/log"] }), resource("get", "pods/log"), true],
    [rule({ resources: ["pods/log"] }), resource("get", "pods"), false],
    [rule({ resources: ["*/scale"] }), resource("get", "deployments/scale"), true],
    [rule({ resources: ["*"] }), resource("get", "deployments/scale"), true],
    [rule({ verbs: ["*"], apiGroups: ["*"] }), resource("delete", "pods", { group: "x" }), true],
    [rule({ resourceNames: ["a"] }), resource("get", "pods", { name: "a" }), true],
    [rule({ resourceNames: ["a"] }), resource("get", "pods", { name: "b" }), false],
    [rule({ resourceNames: ["a"] }), resource("get", "pods"), false],
    [{ verbs: ["get"], nonResourceURLs: ["/healthz/*"] }, { verb: "get", path: "/healthz/x" }, true],
    [{ verbs: ["get"], nonResourceURLs: ["/healthz"] }, { verb: "get", path: "/healthz/x" }, false],
    [{ verbs: ["get"], nonResourceURLs: ["*"] }, resource("get", "pods"), false],
  ];
  for (const [given, asked, expected] of cases) assert.equal(covers(given, asked), expected, `${JSON.stringify(given)} ${JSON.stringify(asked)}`);
});

test("what is handed on must be held, part by part", () => {
  const owned: PolicyRule[] = [{ verbs: ["get", "list"], apiGroups: [""], resources: ["pods", "*/log"] }, { verbs: ["update"], apiGroups: [""], resources: ["configmaps"], resourceNames: ["a"] }];
  const cases: [PolicyRule, number][] = [
    [{ verbs: ["get"], apiGroups: [""], resources: ["pods"] }, 0],
    [{ verbs: ["get", "delete"], apiGroups: [""], resources: ["pods"] }, 1],
    [{ verbs: ["*"], apiGroups: [""], resources: ["pods"] }, 1],
    [{ verbs: ["get"], apiGroups: [""], resources: ["pods/log"] }, 0],
    [{ verbs: ["get"], apiGroups: [""], resources: ["pods/exec"] }, 1],
    [{ verbs: ["update"], apiGroups: [""], resources: ["configmaps"], resourceNames: ["a"] }, 0],
    [{ verbs: ["update"], apiGroups: [""], resources: ["configmaps"] }, 1],
    [{ verbs: ["get"], nonResourceURLs: ["/x"] }, 1],
  ];
  for (const [wanted, missing] of cases) assert.equal(uncovered(owned, [wanted]).length, missing, JSON.stringify(wanted));
});

test("bindings reach users, groups and service accounts, inside their namespace only; aggregation is followed; changes count at once", async () => {
  const store = createMemoryStore();
  const put = (path: string, object: object) => {
    const [namespace, name] = path.split("/").length === 3 ? [path.split("/")[1], path.split("/")[2]!] : [undefined, path.split("/")[1]!];
    const whole = { ...object, metadata: { name, namespace, ...(object as { metadata?: object }).metadata } };
    return store.put(`/rbac.authorization.k8s.io/${path}`, store.get(`/rbac.authorization.k8s.io/${path}`)?.revision ?? 0, () => ({ bytes: Buffer.from(JSON.stringify(whole)), object: whole }));
  };
  const rules = (verb: string) => [{ verbs: [verb], apiGroups: [""], resources: ["pods"] }];
  await put("roles/a/reader", { rules: rules("get") });
  await put("clusterroles/lister", { rules: rules("list"), metadata: { labels: { part: "yes" } } });
  await put("clusterroles/whole", { aggregationRule: { clusterRoleSelectors: [{ matchLabels: { part: "yes" } }] } });
  await put("rolebindings/a/one", { roleRef: { kind: "Role", name: "reader" }, subjects: [{ kind: "User", name: "ann" }, { kind: "ServiceAccount", name: "bot" }] });
  await put("clusterrolebindings/two", { roleRef: { kind: "ClusterRole", name: "whole" }, subjects: [{ kind: "Group", name: "team" }] });
  const rbac = new Rbac(store);
  rbac.start();
  const as = (name: string, ...groups: string[]): Identity => ({ name, groups });
  const may = (user: Identity, verb: string, namespace?: string) => rbac.authorize(user, resource(verb, "pods", namespace === undefined ? {} : { namespace })).allowed;
  assert.deepEqual([may(as("ann"), "get", "a"), may(as("ann"), "get", "b"), may(as("ann"), "list", "a"), may(as("ann"), "get")], [true, false, false, false]);
  assert.equal(may(as("system:serviceaccount:a:bot"), "get", "a"), true);
  assert.equal(may(as("system:serviceaccount:b:bot"), "get", "a"), false);
  assert.deepEqual([may(as("bob", "team"), "list", "anywhere"), may(as("bob", "team"), "list"), may(as("bob"), "list")], [true, true, false]);
  assert.equal(may(as("root", "system:masters"), "anything"), true);
  await put("clusterroles/more", { rules: rules("watch"), metadata: { labels: { part: "yes" } } });
  assert.equal(may(as("bob", "team"), "watch"), true);
  rbac.close();
});

test("refusals are worded as upstream's", () => {
  const user = { name: "ann", groups: [] };
  assert.equal(refusalText(user, resource("list", "pods", { namespace: "default" })), 'User "ann" cannot list resource "pods" in API group "" in the namespace "default"');
  assert.equal(refusalText(user, resource("get", "pods/log")), 'User "ann" cannot get resource "pods/log" in API group "" at the cluster scope');
  assert.equal(refusalText(user, { verb: "get", path: "/metrics" }), 'User "ann" cannot get path "/metrics"');
});
