import type { GroupVersionResource, KubeObject } from "../meta.ts";
import type { labelSelectorOf } from "../selectors.ts";

type LabelSelector = NonNullable<Parameters<typeof labelSelectorOf>[0]>;

/** Envoy Gateway's kinds as far as they are read; see gateway.envoyproxy.io/docs/api/extension_types for the meaning of each field. */
export const envoyGroup = "gateway.envoyproxy.io";
const resource = (name: string): GroupVersionResource => ({ group: envoyGroup, version: "v1alpha1", resource: name });
export const envoyResources = {
  securityPolicies: resource("securitypolicies"),
  backendTrafficPolicies: resource("backendtrafficpolicies"),
  clientTrafficPolicies: resource("clienttrafficpolicies"),
  httpRouteFilters: resource("httproutefilters"),
} as const;

/** What a rule of a route names as a filter, in its own namespace. */
export interface HttpRouteFilterObject extends KubeObject {
  spec: object;
}

/** Policies that are attached to Gateways and routes. */
export const policyKinds = ["SecurityPolicy", "BackendTrafficPolicy", "ClientTrafficPolicy"] as const;
export type PolicyKind = (typeof policyKinds)[number];

export const policyResources: Record<PolicyKind, GroupVersionResource> = { SecurityPolicy: envoyResources.securityPolicies, BackendTrafficPolicy: envoyResources.backendTrafficPolicies, ClientTrafficPolicy: envoyResources.clientTrafficPolicies };

/** In the policy's own namespace. */
export interface PolicyTarget {
  group: string;
  kind: string;
  name: string;
  /** Of a Gateway's listener, or a route's rule. */
  sectionName?: string;
}

export interface TargetSelector {
  group?: string;
  kind: string;
  matchLabels?: Record<string, string>;
  matchExpressions?: LabelSelector["matchExpressions"];
  /** Absent: the policy's own. */
  namespaces?: { from: "Same" | "All" | "Selector"; selector?: LabelSelector };
}

export interface PolicyTargets {
  /** Deprecated there; means the same as one in the list. */
  targetRef?: PolicyTarget;
  targetRefs?: PolicyTarget[];
  targetSelectors?: TargetSelector[];
  /** A route's policy is put over that of its Gateway, instead of taking its place. */
  mergeType?: "StrategicMerge" | "JSONMerge";
}

export interface Policy<Spec extends object = Record<string, unknown>> extends KubeObject {
  kind: PolicyKind;
  spec: PolicyTargets & Spec;
}
