import type { KubeObject } from "../../api/meta.ts";
import { forbiddenError, notFoundError } from "../../api/status.ts";
import { semanticEqual } from "../../api/validation/checks.ts";
import { type PolicyRule, Rbac, uncovered } from "../authz/rbac.ts";
import type { ApiOptions } from "../api.ts";
import type { AdmissionStep } from "../rest/context.ts";

/**
 * Nobody grants what he does not hold: a role may be written by those who have all its rules (or the verb
 * "escalate"), a binding by those who have all of the role's (or "bind").
 * Source: k8s.io/kubernetes/pkg/registry/rbac/{role,rolebinding}/policybased.
 */
export function rbacEscalation({ store }: Pick<ApiOptions, "store">): AdmissionStep {
  return {
    name: "RbacEscalation",
    validate({ operation, kind, namespace, name, object, old, user, subresource }) {
      if (operation === "DELETE" || subresource !== undefined || kind.group !== "rbac.authorization.k8s.io" || !object || user.groups.includes("system:masters")) return;
      const isBinding = kind.resource.endsWith("bindings");
      // What the garbage collector has to change, it may.
      if (old && semanticEqual(withoutOwners(old), withoutOwners(object))) return;
      // Asked rarely and by few: the roles are read for this one question.
      const rbac = new Rbac(store);
      const reference = object["roleRef"] as { kind: string; name: string } | undefined;
      // The address of a request that creates has no name, so a rule for one name does not help.
      const asked = isBinding ? { verb: "bind", resource: reference!.kind === "ClusterRole" ? "clusterroles" : "roles", name: reference!.name } : { verb: "escalate", resource: kind.resource, name: operation === "CREATE" ? undefined : name };
      if (rbac.authorize(user, { verb: asked.verb, group: kind.group, resource: asked.resource, name: asked.name, namespace }).allowed) return;
      const wanted = isBinding ? rbac.rulesOf(reference!, namespace) : ((object["rules"] as PolicyRule[] | undefined) ?? []);
      // Upstream names the resource of the request here, with the name of the role.
      if (!wanted) throw notFoundError(kind, reference!.name);
      const { rules: owned, missing: absent } = rbac.rulesFor(user, namespace);
      const missing = compact(uncovered(owned, wanted)).map(ruleText).sort();
      if (missing.length > 0) throw forbiddenError(kind, object.metadata.name, `user ${JSON.stringify(user.name)} (groups=[${user.groups.map((group) => JSON.stringify(group)).join(" ")}]) is attempting to grant RBAC permissions not currently held:\n${missing.join("\n")}${absent.length > 0 ? `; resolution errors: [${absent.map((text) => text.replace("role.", "roles.")).join(", ")}]` : ""}`);
      // What it gathers in time may be anything.
      if (!isBinding && object["aggregationRule"] && uncovered(owned, everything).length > 0) throw forbiddenError(kind, object.metadata.name, "must have cluster-admin privileges to use the aggregationRule");
    },
  };
}

function withoutOwners({ metadata, ...rest }: KubeObject): object {
  const { ownerReferences: _, finalizers: __, managedFields: ___, resourceVersion: ____, ...named } = metadata;
  return { ...rest, metadata: named };
}

const everything: PolicyRule[] = [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }, { verbs: ["*"], nonResourceURLs: ["*"] }];

/** Rules of one verb each, joined where only the verb differs. Source: k8s.io/kubernetes/pkg/apis/rbac/validation/policy_compact.go. */
function compact(rules: readonly PolicyRule[]): PolicyRule[] {
  const joined = new Map<string, PolicyRule>();
  for (const rule of rules) {
    // Addresses stay apart, as there.
    const key = JSON.stringify(rule.nonResourceURLs ? rule : { ...rule, verbs: [] });
    const known = joined.get(key);
    joined.set(key, known ? { ...known, verbs: [...known.verbs!, ...rule.verbs!] } : rule);
  }
  return [...joined.values()];
}

/** `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}` */
function ruleText(rule: PolicyRule): string {
  const parts = [["APIGroups", rule.apiGroups], ["Resources", rule.resources], ["ResourceNames", rule.resourceNames], ["NonResourceURLs", rule.nonResourceURLs], ["Verbs", rule.verbs]] as const;
  return `{${parts.flatMap(([name, list]) => (list?.length ? [`${name}:[${list.map((item) => JSON.stringify(item)).join(" ")}]`] : [])).join(", ")}}`;
}
