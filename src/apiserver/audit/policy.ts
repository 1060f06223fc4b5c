import { readConfig, refuse } from "../authn/config-file.ts";
import { dns1123Subdomain } from "../../api/validation/names.ts";
import type { RequestInfo } from "../http/request-info.ts";
import type { Identity } from "../rest/context.ts";

/** How much of a request is recorded. Source: k8s.io/apiserver/pkg/{apis/audit/v1,audit/policy/checker.go}. */
export type Level = "None" | "Metadata" | "Request" | "RequestResponse";
export type Stage = "RequestReceived" | "ResponseStarted" | "ResponseComplete" | "Panic";

interface Rule {
  level: Level;
  users?: string[];
  userGroups?: string[];
  verbs?: string[];
  resources?: { group?: string; resources?: string[]; resourceNames?: string[] }[];
  namespaces?: string[];
  nonResourceURLs?: string[];
  omitStages?: Stage[];
  omitManagedFields?: boolean;
}
export interface AuditPolicy {
  rules: Rule[];
  omitStages?: Stage[];
  omitManagedFields?: boolean;
}
export interface Verdict {
  level: Level;
  omitted: ReadonlySet<Stage>;
  omitManagedFields: boolean;
}

const levels: readonly string[] = ["None", "Metadata", "Request", "RequestResponse"];
const stages: readonly string[] = ["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"];
const texts = ["string"] as const;
const shape = {
  omitStages: texts,
  omitManagedFields: "boolean",
  rules: [{ level: "string", users: texts, userGroups: texts, verbs: texts, resources: [{ group: "string", resources: texts, resourceNames: texts }], namespaces: texts, nonResourceURLs: texts, omitStages: texts, omitManagedFields: "boolean" }],
} as const;

/** Throws WherryError ACCESS_CONFIG_INVALID. */
export function readAuditPolicy(file: string): AuditPolicy {
  const policy = readConfig<AuditPolicy>(file, "audit.k8s.io", "Policy", ["v1"], shape);
  const errors = stageErrors("omitStages", policy.omitStages);
  if (!policy.rules?.length) errors.push("rules: Required value: a policy without rules records nothing");
  (policy.rules ?? []).forEach((rule, index) => {
    const at = `rules[${index}]`;
    if (!rule.level) errors.push(`${at}.level: Required value`);
    else if (!levels.includes(rule.level)) errors.push(`${at}.level: Unsupported value: ${JSON.stringify(rule.level)}: supported values: ${levels.map((level) => JSON.stringify(level)).join(", ")}`);
    (rule.nonResourceURLs ?? []).forEach((url, position) => {
      const wrong = (why: string): string => `${at}.nonResourceURLs[${position}]: Invalid value: ${JSON.stringify(url)}: ${why}`;
      if (url === "*") return;
      if (!url.startsWith("/")) errors.push(wrong("non-resource URL rules must begin with a '/' character"));
      if (url.slice(0, -1).includes("*")) errors.push(wrong("non-resource URL wildcards '*' must be the final character of the rule"));
    });
    for (const { group, resources, resourceNames } of rule.resources ?? []) {
      if (group) for (const why of dns1123Subdomain(group)) errors.push(`${at}.resources.group: Invalid value: ${JSON.stringify(group)}: ${why}`);
      if (resourceNames?.length && !resources?.length) errors.push(`${at}.resources.resourceNames: Invalid value: ${JSON.stringify(resourceNames)}: using resourceNames requires at least one resource`);
    }
    errors.push(...stageErrors(`${at}.omitStages`, rule.omitStages));
    if (rule.nonResourceURLs?.length && (rule.resources?.length || rule.namespaces?.length)) errors.push(`${at}.nonResourceURLs: Invalid value: ${JSON.stringify(rule.nonResourceURLs)}: rules cannot apply to both regular resources and non-resource URLs`);
  });
  refuse(file, errors);
  return policy;
}

const stageErrors = (at: string, given: readonly string[] | undefined): string[] => (given ?? []).flatMap((stage, index) => (stages.includes(stage) ? [] : [`${at}[${index}]: Invalid value: ${JSON.stringify(stage)}: allowed stages are ${stages.join(",")}`]));

/** The first rule that fits counts; where none does, nothing is recorded. */
export function judge(policy: AuditPolicy, info: RequestInfo, user: Identity): Verdict {
  const rule = policy.rules.find((candidate) => fits(candidate, info, user));
  return { level: rule?.level ?? "None", omitted: new Set([...(policy.omitStages ?? []), ...(rule?.omitStages ?? [])]), omitManagedFields: rule?.omitManagedFields ?? policy.omitManagedFields ?? false };
}

function fits(rule: Rule, info: RequestInfo, user: Identity): boolean {
  if (rule.users?.length && !rule.users.includes(user.name)) return false;
  if (rule.userGroups?.length && !rule.userGroups.some((group) => user.groups.includes(group))) return false;
  if (rule.verbs?.length && !rule.verbs.includes(info.verb)) return false;
  if (rule.namespaces?.length || rule.resources?.length) return fitsResource(rule, info);
  if (rule.nonResourceURLs?.length) return !info.resource && rule.nonResourceURLs.some((url) => url === "*" || url === info.path || (url.endsWith("*") && info.path.startsWith(url.slice(0, -1))));
  return true;
}

function fitsResource(rule: Rule, { resource: asked }: RequestInfo): boolean {
  if (!asked) return false;
  if (rule.namespaces?.length && !rule.namespaces.includes(asked.namespace ?? "")) return false;
  if (!rule.resources?.length) return true;
  const { group, resource, subresource = "", name = "" } = asked;
  const whole = subresource === "" ? resource : `${resource}/${subresource}`;
  return rule.resources.some((entry) => {
    if ((entry.group ?? "") !== group) return false;
    if (!entry.resources?.length) return true;
    if (entry.resourceNames?.length && !entry.resourceNames.includes(name)) return false;
    // "pods/*" means pods as well, as upstream's checker has it.
    return entry.resources.some((wanted) => wanted === "*" || wanted === whole || wanted === `${resource}/*` || (subresource !== "" && wanted === `*/${subresource}`));
  });
}
