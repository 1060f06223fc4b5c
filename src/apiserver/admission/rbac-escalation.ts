import type { KubeObject } from "../../api/meta.ts";
import { forbiddenError, invalidError } from "../../api/status.ts";
import { forbidden, notFound } from "../../api/field.ts";
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
      if (old && semanticEqual(old["rules"], object["rules"]) && semanticEqual(old["aggregationRule"], object["aggregationRule"]) && semanticEqual(old["subjects"], object["subjects"]) && semanticEqual(old["roleRef"], object["roleRef"])) return;
      // Asked rarely and by few: the roles are read for this one question.
      const rbac = new Rbac(store);
      const reference = object["roleRef"] as { kind: string; name: string } | undefined;
      const asked = isBinding ? { verb: "bind", resource: reference!.kind === "ClusterRole" ? "clusterroles" : "roles", name: reference!.name } : { verb: "escalate", resource: kind.resource, name };
      if (rbac.authorize(user, { verb: asked.verb, group: kind.group, resource: asked.resource, name: asked.name, namespace }).allowed) return;
      const wanted = isBinding ? rbac.rulesOf(reference!, namespace) : ((object["rules"] as PolicyRule[] | undefined) ?? []);
      if (!wanted) throw invalidError(kind, object.metadata.name, [notFound("roleRef", `${asked.resource}.rbac.authorization.k8s.io ${JSON.stringify(asked.name)} not found`)]);
      if (!isBinding && (object as KubeObject)["aggregationRule"] && !(rbac.rulesFor(user, undefined).some((rule) => rule.verbs?.includes("*") && rule.apiGroups?.includes("*") && rule.resources?.includes("*")))) {
        throw invalidError(kind, object.metadata.name, [forbidden("aggregationRule", "must have cluster-admin privileges to use the aggregationRule")]);
      }
      const missing = uncovered(rbac.rulesFor(user, namespace), wanted);
      if (missing.length === 0) return;
      throw forbiddenError(kind, object.metadata.name, `user ${JSON.stringify(user.name)} (groups=${JSON.stringify(user.groups).replaceAll(",", " ")}) is attempting to grant RBAC permissions not currently held:\n${missing.map(ruleText).join("\n")}`);
    },
  };
}

/** `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}` */
function ruleText(rule: PolicyRule): string {
  const parts = [["APIGroups", rule.apiGroups], ["Resources", rule.resources], ["ResourceNames", rule.resourceNames], ["NonResourceURLs", rule.nonResourceURLs], ["Verbs", rule.verbs]] as const;
  return `{${parts.flatMap(([name, list]) => (list?.length ? [`${name}:${JSON.stringify(list)}`] : [])).join(", ")}}`;
}
