import type { Compiled } from "../../../api/cel/composition.ts";
import { type AccessQuestion, Authorizer, ResourceCheck } from "../../../api/cel/functions/authorizer.ts";
import type { CostBudget } from "../../../api/cel/program.ts";
import type { Kind } from "../../../api/kind.ts";
import type { KubeObject } from "../../../api/meta.ts";
import type { Store } from "../../../store/store.ts";
import { type Attributes, Rbac } from "../../authz/rbac.ts";
import type { AdmissionRequest, Identity } from "../../rest/context.ts";
import { inVersion } from "../webhooks/convert.ts";
import { createReview } from "../webhooks/review.ts";
import { LazyVariables } from "./expressions.ts";

/** The variables of one request, seen in the version of `kind`. */
export function activate(store: Store, request: AdmissionRequest, kind: Kind, namespace: KubeObject | undefined): Record<string, unknown> {
  const { authorizer, requestResource } = authorizers(store, request);
  return {
    object: inVersion(request, request.object, kind) ?? null,
    oldObject: inVersion(request, request.old, kind) ?? null,
    request: requestOf(request, kind),
    namespaceObject: namespace ? namespaceObjectOf(namespace) : null,
    authorizer,
    "authorizer.requestResource": requestResource,
  };
}

/** The same with a policy's parameters and its variables, which see them. */
export function withVariables(activation: Readonly<Record<string, unknown>>, params: KubeObject | null, compiled: ReadonlyMap<string, Compiled>, budget: CostBudget): Record<string, unknown> {
  const all: Record<string, unknown> = { ...activation, params };
  all["variables"] = new LazyVariables(compiled, () => all, budget);
  return all;
}

/** As in an AdmissionReview, but for the objects, which are variables of their own. */
function requestOf(request: AdmissionRequest, kind: Kind): object {
  const { request: review } = createReview(request, kind, undefined, undefined, ["v1"]).body as { request: Record<string, unknown> };
  const { object: _, oldObject: __, uid: ___, ...rest } = review;
  return rest;
}

function namespaceObjectOf({ metadata, ...rest }: KubeObject): object {
  const { uid, ...others } = metadata;
  return { ...rest, metadata: { ...others, UID: uid } };
}

const serviceAccountPrefix = "system:serviceaccount:";

/** Who sent the request, or the service account that the expression names. */
function authorizers(store: Store, { user, kind, namespace, name, subresource }: AdmissionRequest): { authorizer: Authorizer; requestResource: ResourceCheck } {
  // Roles are read once a request, and only when an expression asks.
  let rbac: Rbac | undefined;
  const ask = (question: AccessQuestion) => {
    const { serviceAccount: account } = question;
    const who: Identity = account ? { name: `${serviceAccountPrefix}${account.namespace}:${account.name}`, groups: ["system:serviceaccounts", `system:serviceaccounts:${account.namespace}`, "system:authenticated"] } : user;
    const attributes: Attributes =
      question.path === undefined
        ? { verb: question.verb, group: question.group ?? "", resource: question.resource!, subresource: question.subresource || undefined, name: question.name || undefined, namespace: question.namespace || undefined }
        : { verb: question.verb, path: question.path };
    return (rbac ??= new Rbac(store)).authorize(who, attributes);
  };
  return { authorizer: new Authorizer(ask), requestResource: new ResourceCheck(ask, { group: kind.group, resource: kind.resource, ...(subresource && { subresource }), ...(namespace && { namespace }), name }) };
}
