import type { Kind } from "../../../api/kind.ts";
import type { KubeObject } from "../../../api/meta.ts";
import type { KindRegistry } from "../../../api/registry.ts";
import { labelSelectorOf, type Selector } from "../../../api/selectors.ts";
import type { Entry, Store } from "../../../store/store.ts";
import type { AdmissionRequest } from "../../rest/context.ts";
import type { WebhookClientConfig } from "../../webhooks/call.ts";

/** One webhook of a configuration, after its kind's defaults. */
export interface Webhook {
  name: string;
  clientConfig: WebhookClientConfig;
  rules?: Rule[];
  failurePolicy: "Fail" | "Ignore";
  matchPolicy: "Exact" | "Equivalent";
  namespaceSelector?: object;
  objectSelector?: object;
  matchConditions?: { name: string; expression: string }[];
  sideEffects: "None" | "NoneOnDryRun" | "Some" | "Unknown";
  timeoutSeconds: number;
  admissionReviewVersions: string[];
  reinvocationPolicy?: "Never" | "IfNeeded";
}

export interface Rule {
  operations: string[];
  apiGroups: string[];
  apiVersions: string[];
  resources: string[];
  scope?: "*" | "Cluster" | "Namespaced";
}

/** A webhook with what need not be made for each request. */
export interface Hook extends Webhook {
  /** Of all hooks, whatever configurations share a name. */
  readonly id: string;
  readonly configuration: string;
  readonly namespaces: Selector;
  readonly objects: Selector;
}

/** A hook whose rules choose the request, and the version in which it wants to see the object. */
export interface Candidate {
  readonly hook: Hook;
  readonly kind: Kind;
}

export type ConfigurationResource = "mutatingwebhookconfigurations" | "validatingwebhookconfigurations";

/**
 * The webhooks of all configurations, by name of configuration, and which of them a request concerns by its rules.
 * Configurations are read from the store with every request, so that a change holds for the next one; what follows
 * from them is kept until one changes. Without configurations there is nothing to do.
 */
export class Configurations {
  readonly #store: Store;
  readonly #registry: KindRegistry;
  readonly #prefix: string;
  #seen: readonly Entry[] = [];
  #hooks: readonly Hook[] = [];
  #generation = 0;
  #candidates = new Map<string, readonly Candidate[]>();

  constructor(store: Store, registry: KindRegistry, resource: ConfigurationResource) {
    this.#store = store;
    this.#registry = registry;
    this.#prefix = `/admissionregistration.k8s.io/${resource}/`;
  }

  /** The hooks whose rules choose the request, in the order in which they are called. */
  candidates({ operation, kind, subresource }: Pick<AdmissionRequest, "operation" | "kind" | "subresource">): readonly Candidate[] {
    this.#refresh();
    if (this.#hooks.length === 0) return none;
    const key = `${operation} ${kind.group}/${kind.version}/${kind.resource}/${subresource ?? ""}`;
    let found = this.#candidates.get(key);
    if (!found) this.#candidates.set(key, (found = this.#hooks.flatMap((hook) => candidateOf(hook, operation, kind, subresource, this.#registry))));
    return found;
  }

  #refresh(): void {
    const entries = this.#store.range(this.#prefix);
    const { generation } = this.#registry;
    if (generation === this.#generation && entries.length === this.#seen.length && entries.every((entry, index) => entry.revision === this.#seen[index]!.revision)) return;
    this.#seen = entries;
    this.#generation = generation;
    this.#hooks = entries.flatMap(hooksOf);
    this.#candidates = new Map();
  }
}

const none: readonly Candidate[] = [];

function hooksOf(entry: Entry): Hook[] {
  const { metadata, webhooks } = entry.object as unknown as KubeObject & { webhooks?: Webhook[] };
  return (webhooks ?? []).map((webhook, index) => ({
    ...webhook,
    id: `${metadata.name}/${webhook.name}/${index}`,
    configuration: metadata.name,
    namespaces: labelSelectorOf(webhook.namespaceSelector ?? {})!,
    objects: labelSelectorOf(webhook.objectSelector ?? {})!,
  }));
}

/** By the resource itself first, then by another version of it that the hook asks for. */
function candidateOf(hook: Hook, operation: string, kind: Kind, subresource: string | undefined, registry: KindRegistry): Candidate[] {
  const rules = hook.rules ?? [];
  if (rules.some((rule) => matches(rule, operation, kind, subresource))) return [{ hook, kind }];
  if (hook.matchPolicy !== "Equivalent") return [];
  const others = equivalentsOf(kind, registry);
  for (const rule of rules) {
    const other = others.find((candidate) => matches(rule, operation, candidate, subresource));
    if (other) return [{ hook, kind: other }];
  }
  return [];
}

/** The same objects under another version, or in another group that lives where they do. */
function equivalentsOf(kind: Kind, registry: KindRegistry): Kind[] {
  const home = (of: Kind) => `${of.storedAs?.group ?? of.group}/${of.storedAs?.resource ?? of.resource}`;
  return registry.all().filter((other) => other !== kind && home(other) === home(kind));
}

/** Source: k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules/rules.go. */
export function matches(rule: Rule, operation: string, kind: Pick<Kind, "group" | "version" | "resource" | "scope">, subresource: string | undefined): boolean {
  const has = (list: readonly string[] | undefined, wanted: string) => list !== undefined && (list.includes("*") || list.includes(wanted));
  if (rule.scope === "Namespaced" ? kind.scope !== "Namespaced" : rule.scope === "Cluster" && kind.scope !== "Cluster") return false;
  if (!has(rule.operations, operation) || !has(rule.apiGroups, kind.group) || !has(rule.apiVersions, kind.version)) return false;
  return (rule.resources ?? []).some((entry) => {
    const slash = entry.indexOf("/");
    const [resource, sub] = slash < 0 ? [entry, ""] : [entry.slice(0, slash), entry.slice(slash + 1)];
    return (resource === "*" || resource === kind.resource) && (sub === "*" || sub === (subresource ?? ""));
  });
}
