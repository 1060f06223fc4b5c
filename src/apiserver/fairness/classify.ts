import type { KubeObject } from "../../api/meta.ts";
import type { RequestInfo } from "../http/request-info.ts";
import type { Identity } from "../rest/context.ts";

/** Which flow a request belongs to. Source: k8s.io/apiserver/pkg/util/flowcontrol/{rule,apf_controller}.go. */
export interface FlowSchema extends KubeObject {
  spec: { priorityLevelConfiguration: { name: string }; matchingPrecedence: number; distinguisherMethod?: { type: "ByUser" | "ByNamespace" }; rules?: Rule[] };
}
interface Rule {
  subjects?: { kind: "User" | "Group" | "ServiceAccount"; user?: { name: string }; group?: { name: string }; serviceAccount?: { namespace: string; name: string } }[];
  resourceRules?: { verbs: string[]; apiGroups: string[]; resources: string[]; clusterScope?: boolean; namespaces?: string[] }[];
  nonResourceRules?: { verbs: string[]; nonResourceURLs: string[] }[];
}

/** The schema of lowest precedence that matches; of equal ones the first by name. `sorted` is in that order. */
export function classify(sorted: readonly FlowSchema[], info: RequestInfo, user: Identity): FlowSchema | undefined {
  return sorted.find(({ spec }) => spec.rules?.some((rule) => rule.subjects?.some((subject) => isSubject(subject, user)) && matches(rule, info)));
}

export const byPrecedence = (a: FlowSchema, b: FlowSchema): number => a.spec.matchingPrecedence - b.spec.matchingPrecedence || (a.metadata.name < b.metadata.name ? -1 : 1);

function isSubject({ kind, user, group, serviceAccount }: NonNullable<Rule["subjects"]>[number], { name, groups }: Identity): boolean {
  if (kind === "User") return user?.name === "*" || user?.name === name;
  if (kind === "Group") return group?.name === "*" || groups.includes(group?.name ?? "");
  if (serviceAccount?.name === "*") return name.startsWith(`system:serviceaccount:${serviceAccount.namespace}:`);
  return name === `system:serviceaccount:${serviceAccount?.namespace}:${serviceAccount?.name}`;
}

function matches({ resourceRules = [], nonResourceRules = [] }: Rule, { verb, path, resource }: RequestInfo): boolean {
  const has = (list: readonly string[], value: string) => list.includes("*") || list.includes(value);
  if (!resource) return nonResourceRules.some((rule) => has(rule.verbs, verb) && rule.nonResourceURLs.some((url) => url === "*" || url === path || (url.endsWith("/*") && path.startsWith(url.slice(0, -1)))));
  const name = resource.subresource === undefined ? resource.resource : `${resource.resource}/${resource.subresource}`;
  return resourceRules.some(
    (rule) => has(rule.verbs, verb) && has(rule.apiGroups, resource.group) && has(rule.resources, name) && (resource.namespace === undefined ? rule.clusterScope === true : has(rule.namespaces ?? [], resource.namespace)),
  );
}
