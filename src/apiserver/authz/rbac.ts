import type { KubeObject } from "../../api/meta.ts";
import { labelSelectorOf } from "../../api/selectors.ts";
import type { Store, Watch } from "../../store/store.ts";
import type { Identity } from "../rest/context.ts";

/** One question: may this identity do this? */
export type Attributes = { verb: string; namespace?: string | undefined } & ({ path: string } | { group: string; resource: string; subresource?: string | undefined; name?: string | undefined });

export interface Decision {
  allowed: boolean;
  /** Which binding allowed it, as upstream's audit annotation says it; or why the question could not be answered in full. */
  reason: string;
}

export interface PolicyRule {
  verbs?: string[];
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
  nonResourceURLs?: string[];
}
interface Role extends KubeObject {
  rules?: PolicyRule[] | null;
  aggregationRule?: { clusterRoleSelectors?: Parameters<typeof labelSelectorOf>[0][] } | null;
}
interface Binding extends KubeObject {
  subjects?: { kind: string; name: string; namespace?: string }[] | null;
  roleRef: { kind: string; name: string };
}

const prefix = "/rbac.authorization.k8s.io/";
const allowedAlways = "system:masters";

/**
 * Role-based access control over the roles and bindings in the store, read again when one of them changes.
 * Rules of an aggregated ClusterRole are gathered here, at the time of the question, from the roles that its
 * selectors choose; the copy that a controller writes into it is for those who look. Source: k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac.
 */
export class Rbac {
  readonly #store: Store;
  #index: Index | undefined;
  #watch: Watch | undefined;
  #closed = false;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Follows the store until `close`. A change counts for the next question after it is durable. */
  start(): void {
    if (this.#closed) return;
    this.#index = undefined;
    this.#watch = this.#store.watch(prefix, this.#store.revision, { onEvents: () => void (this.#index = undefined), onEnd: () => this.start() });
  }
  close(): void {
    this.#closed = true;
    this.#watch?.close();
  }

  authorize(user: Identity, attributes: Attributes): Decision {
    if (user.groups.includes(allowedAlways)) return { allowed: true, reason: "" };
    const grants = this.#grants(user, attributes.namespace);
    for (const { rules, why } of grants) {
      if (rules?.some((rule) => covers(rule, attributes))) return { allowed: true, reason: why };
    }
    const missing = missingOf(grants);
    return { allowed: false, reason: missing.length > 0 ? `RBAC: ${failureText(missing)}` : "" };
  }

  /**
   * Everything the identity may do in a namespace, binding by binding (SelfSubjectRulesReview; escalation checks).
   * `missing` are the roles that are bound to it and not there: `clusterrole.rbac.authorization.k8s.io "x" not found`.
   */
  rulesFor(user: Identity, namespace: string | undefined): { rules: PolicyRule[]; missing: string[] } {
    const grants = this.#grants(user, namespace);
    return { rules: grants.flatMap(({ rules = [] }) => rules), missing: missingOf(grants) };
  }

  /** The rules a role reference stands for; undefined when there is no such role. */
  rulesOf(reference: { kind: string; name: string }, namespace: string | undefined): PolicyRule[] | undefined {
    return this.#built().rulesOf(reference, namespace);
  }

  /** One a binding, those of the whole cluster first. */
  #grants(user: Identity, namespace: string | undefined): Grant[] {
    const { cluster, namespaced } = this.#built();
    const subjects = [`User/${user.name}`, ...user.groups.map((group) => `Group/${group}`)];
    const local = namespace === undefined ? undefined : namespaced.get(namespace);
    const found = new Map<number, Grant>();
    for (const subject of subjects) {
      for (const grants of [cluster.get(subject), local?.get(subject)]) {
        for (const grant of grants ?? []) {
          const known = found.get(grant.binding);
          if (!known || grant.subject < known.subject) found.set(grant.binding, grant);
        }
      }
    }
    return [...found.values()].sort((a, b) => a.binding - b.binding);
  }

  #built(): Index {
    // Behind the store: a change of roles is on its way to us, and must not be a moment late.
    if (this.#watch && this.#watch.revision < this.#store.revision) this.#index = undefined;
    return (this.#index ??= build(this.#store));
  }
}

interface Grant {
  /** Place among the bindings: those of the cluster come first. */
  binding: number;
  /** Place among the binding's subjects. */
  subject: number;
  /** Undefined: the role is not there. */
  rules: readonly PolicyRule[] | undefined;
  /** What allowed it, or what is missing. */
  why: string;
}
const missingOf = (grants: readonly Grant[]): string[] => [...new Set(grants.flatMap(({ rules, why }) => (rules ? [] : [why])))];
/** As Go prints several errors. */
export const failureText = (failures: readonly string[]): string => (failures.length > 1 ? `[${failures.join(", ")}]` : (failures[0] ?? ""));
/** Grants by subject: "User/alice", "Group/dev"; a service account is the user it authenticates as. */
type BySubject = Map<string, Grant[]>;
interface Index {
  cluster: BySubject;
  namespaced: Map<string, BySubject>;
  rulesOf(reference: { kind: string; name: string }, namespace: string | undefined): PolicyRule[] | undefined;
}

function build(store: Store): Index {
  const of = <T>(resource: string): T[] => store.range(`${prefix}${resource}/`).map((entry) => entry.object as unknown as T);
  const clusterRoles = new Map(of<Role>("clusterroles").map((role) => [role.metadata.name, role]));
  const roles = new Map(of<Role>("roles").map((role) => [`${role.metadata.namespace}/${role.metadata.name}`, role]));

  const aggregated = (role: Role, seen: Set<Role>): PolicyRule[] => {
    if (seen.has(role)) return [];
    seen.add(role);
    if (!role.aggregationRule) return role.rules ?? [];
    const selectors = (role.aggregationRule.clusterRoleSelectors ?? []).map((selector) => labelSelectorOf(selector));
    return [...clusterRoles.values()].filter((other) => selectors.some((selector) => selector?.matches(other.metadata.labels ?? {}))).flatMap((other) => aggregated(other, seen));
  };
  const rulesOf: Index["rulesOf"] = ({ kind, name }, namespace) => {
    const role = kind === "ClusterRole" ? clusterRoles.get(name) : roles.get(`${namespace}/${name}`);
    return role && aggregated(role, new Set());
  };
  const cluster: BySubject = new Map();
  const namespaced = new Map<string, BySubject>();
  let count = 0;
  const put = (target: BySubject, binding: Binding, kind: string) => {
    const rules = rulesOf(binding.roleRef, binding.metadata.namespace);
    const number = count++;
    for (const [index, subject] of (binding.subjects ?? []).entries()) {
      const key = subject.kind === "ServiceAccount" ? `User/system:serviceaccount:${subject.namespace ?? binding.metadata.namespace}:${subject.name}` : `${subject.kind}/${subject.name}`;
      const place = binding.metadata.namespace ? `${binding.metadata.name}/${binding.metadata.namespace}` : binding.metadata.name;
      const who = subject.kind === "ServiceAccount" ? `${subject.name}/${subject.namespace ?? binding.metadata.namespace}` : subject.name;
      const missing = `${binding.roleRef.kind.toLowerCase()}.rbac.authorization.k8s.io ${JSON.stringify(binding.roleRef.name)} not found`;
      const grant = { binding: number, subject: index, rules, why: !rules ? missing : `RBAC: allowed by ${kind} ${JSON.stringify(place)} of ${binding.roleRef.kind} ${JSON.stringify(binding.roleRef.name)} to ${subject.kind} ${JSON.stringify(who)}` };
      target.set(key, [...(target.get(key) ?? []), grant]);
    }
  };
  for (const binding of of<Binding>("clusterrolebindings")) put(cluster, binding, "ClusterRoleBinding");
  for (const binding of of<Binding>("rolebindings")) {
    const { namespace } = binding.metadata;
    if (!namespaced.has(namespace!)) namespaced.set(namespace!, new Map());
    put(namespaced.get(namespace!)!, binding, "RoleBinding");
  }
  return { cluster, namespaced, rulesOf };
}

const has = (list: readonly string[] | undefined, value: string): boolean => list?.includes("*") === true || list?.includes(value) === true;

export function covers(rule: PolicyRule, attributes: Attributes): boolean {
  if (!has(rule.verbs, attributes.verb)) return false;
  if ("path" in attributes) return (rule.nonResourceURLs ?? []).some((url) => url === "*" || url === attributes.path || (url.endsWith("*") && attributes.path.startsWith(url.slice(0, -1))));
  const { group, resource, subresource, name } = attributes;
  if (!has(rule.apiGroups, group)) return false;
  const full = subresource ? `${resource}/${subresource}` : resource;
  const named = (rule.resources ?? []).some((wanted) => wanted === "*" || wanted === full || (subresource !== undefined && subresource !== "" && wanted === `*/${subresource}`));
  if (!named) return false;
  return !rule.resourceNames?.length || (name !== undefined && rule.resourceNames.includes(name));
}

/** The parts of `wanted` that `owned` does not cover: what a person may not hand on. */
export function uncovered(owned: readonly PolicyRule[], wanted: readonly PolicyRule[]): PolicyRule[] {
  return wanted.flatMap(split).filter((part) => {
    const [verb] = part.verbs!;
    return !owned.some((rule) => {
      if (!has(rule.verbs, verb!)) return false;
      if (part.nonResourceURLs) return (rule.nonResourceURLs ?? []).some((url) => url === "*" || url === part.nonResourceURLs![0] || (url.endsWith("*") && part.nonResourceURLs![0]!.startsWith(url.slice(0, -1))));
      const [resource] = part.resources!;
      const subresource = resource!.includes("/") ? resource!.slice(resource!.indexOf("/") + 1) : undefined;
      if (!has(rule.apiGroups, part.apiGroups![0]!) || !(has(rule.resources, resource!) || (subresource !== undefined && rule.resources?.includes(`*/${subresource}`)))) return false;
      return !rule.resourceNames?.length || (part.resourceNames !== undefined && rule.resourceNames.includes(part.resourceNames[0]!));
    });
  });
}

/** One rule a combination of verb, group, resource and name. */
function split(rule: PolicyRule): PolicyRule[] {
  const verbs = rule.verbs ?? [];
  if (rule.nonResourceURLs?.length) return verbs.flatMap((verb) => rule.nonResourceURLs!.map((url) => ({ verbs: [verb], nonResourceURLs: [url] })));
  const names = rule.resourceNames?.length ? rule.resourceNames.map((name) => ({ resourceNames: [name] })) : [{}];
  return verbs.flatMap((verb) => (rule.apiGroups ?? []).flatMap((group) => (rule.resources ?? []).flatMap((resource) => names.map((name) => ({ verbs: [verb], apiGroups: [group], resources: [resource], ...name })))));
}

/** `User "u" cannot list resource "pods" in API group "" in the namespace "default"` */
export function refusalText(user: Identity, attributes: Attributes): string {
  const who = `User ${JSON.stringify(user.name)} cannot ${attributes.verb}`;
  if ("path" in attributes) return `${who} path ${JSON.stringify(attributes.path)}`;
  const resource = attributes.subresource ? `${attributes.resource}/${attributes.subresource}` : attributes.resource;
  return `${who} resource ${JSON.stringify(resource)} in API group ${JSON.stringify(attributes.group)} ${attributes.namespace ? `in the namespace ${JSON.stringify(attributes.namespace)}` : "at the cluster scope"}`;
}
