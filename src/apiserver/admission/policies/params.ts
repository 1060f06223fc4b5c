import type { Kind } from "../../../api/kind.ts";
import type { KubeObject } from "../../../api/meta.ts";
import type { KindRegistry } from "../../../api/registry.ts";
import { labelSelectorOf } from "../../../api/selectors.ts";
import type { Store } from "../../../store/store.ts";
import { keyOf, objectOf, prefixOf } from "../../rest/keys.ts";
import type { ParamKind, ParamRef } from "./definitions.ts";

/** A policy or binding that cannot be followed as it is written: its failurePolicy decides. */
export class ConfigurationError extends Error {}

/** The kind of a policy's parameters. @throws ConfigurationError when none such is served */
export function paramKindOf(registry: KindRegistry, { apiVersion, kind }: ParamKind): Kind {
  const [version, group = ""] = apiVersion.split("/").toReversed() as [string, string?];
  const found = registry.byKind(group, version, kind);
  if (!found) throw new ConfigurationError(`failed to find resource referenced by paramKind: '${apiVersion}, Kind=${kind}'`);
  return found;
}

/**
 * What a binding's policy is evaluated with: each object once, null for none.
 * Source: k8s.io/apiserver/pkg/admission/plugin/policy/generic/policy_matcher.go, CollectParams.
 * @throws ConfigurationError
 */
export function collectParams(store: Store, registry: KindRegistry, paramKind: ParamKind | undefined, reference: ParamRef | undefined, namespace: string | undefined): (KubeObject | null)[] {
  if (!paramKind || !reference) return [null];
  const kind = paramKindOf(registry, paramKind);
  if (kind.scope === "Cluster" && reference.namespace) throw new ConfigurationError("paramRef.namespace must not be provided for a cluster-scoped `paramKind`");
  const place = kind.scope === "Cluster" ? undefined : (reference.namespace ?? namespace);
  if (kind.scope === "Namespaced" && !place) throw new ConfigurationError("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources");
  const params = reference.name !== undefined && reference.name !== "" ? named(store, kind, place, reference.name) : selected(store, kind, place, reference);
  if (params.length === 0 && reference.parameterNotFoundAction === "Deny") throw new ConfigurationError("no params found for policy binding with `Deny` parameterNotFoundAction");
  return params;
}

function named(store: Store, kind: Kind, place: string | undefined, name: string): KubeObject[] {
  const entry = store.get(keyOf(kind, place, name));
  return entry ? [objectOf(kind, entry)] : [];
}
function selected(store: Store, kind: Kind, place: string | undefined, { selector }: ParamRef): KubeObject[] {
  if (!selector) throw new ConfigurationError("one of name or selector must be provided");
  const wanted = labelSelectorOf(selector)!;
  return store
    .range(prefixOf(kind, place))
    .map((entry) => objectOf(kind, entry))
    .filter(({ metadata }) => wanted.matches(metadata.labels));
}
