import type { Kind } from "../../api/kind.ts";
import { timestamp } from "../../api/meta.ts";
import { type FieldError, invalid } from "../../api/field.ts";
import { badRequestError, invalidError } from "../../api/status.ts";
import type { Api, VirtualCreate } from "../api.ts";
import { apiAudience, type Tokens } from "../authn/tokens.ts";
import type { Identity } from "../rest/context.ts";
import { decode } from "../rest/decode.ts";
import type { Attributes, Rbac } from "./rbac.ts";

interface ReviewSpec {
  user?: string;
  uid?: string;
  groups?: string[];
  extra?: Record<string, string[]>;
  namespace?: string;
  token?: string;
  audiences?: string[];
  resourceAttributes?: { namespace?: string; verb?: string; group?: string; resource?: string; subresource?: string; name?: string };
  nonResourceAttributes?: { path?: string; verb?: string };
}

interface Answer {
  spec?: ReviewSpec;
  status: object;
}

/** The kinds that are questions: created, answered, never stored. `kubectl auth can-i`, `whoami`, and what dashboards ask. */
export function registerReviews(api: Api, rbac: Rbac, tokens: Tokens): void {
  const add = (name: string, answer: (spec: ReviewSpec, user: Identity, namespace: string | undefined) => Answer | Promise<Answer>): void => {
    const create: VirtualCreate = async (kind: Kind, namespace, body, context) => {
      const review = decode(kind, body, context, true);
      const { metadata, ...rest } = review;
      const { spec, status } = await answer((rest["spec"] as ReviewSpec | undefined) ?? {}, context.user, namespace);
      return { ...rest, metadata: { ...metadata, ...(kind.resource.startsWith("self") && { creationTimestamp: timestamp(api.clock.now()) }) }, ...(spec !== undefined && { spec }), status };
    };
    api.virtual.set(name, create);
  };
  const decide = (user: Identity, spec: ReviewSpec) => {
    const { allowed, reason } = rbac.authorize(user, attributesOf(spec));
    return { allowed, ...(reason !== "" && { reason }) };
  };
  const named = (spec: ReviewSpec): Identity => ({ name: spec.user ?? "", groups: spec.groups ?? [], ...(spec.uid && { uid: spec.uid }), ...(spec.extra && { extra: spec.extra }) });

  add("selfsubjectaccessreviews.authorization.k8s.io", (spec, user) => {
    check(attributeErrors(spec));
    return { spec, status: decide(user, spec) };
  });
  add("subjectaccessreviews.authorization.k8s.io", (spec) => {
    check([...attributeErrors(spec), ...userErrors(spec)]);
    return { spec, status: decide(named(spec), spec) };
  });
  add("localsubjectaccessreviews.authorization.k8s.io", (spec, _user, namespace) => {
    check([...attributeErrors(spec), ...userErrors(spec), ...(spec.nonResourceAttributes ? [invalid("spec.nonResourceAttributes", spec.nonResourceAttributes, "disallowed on this kind of request")] : [])]);
    if (spec.resourceAttributes!.namespace !== namespace) throw badRequestError(`spec.resourceAttributes.namespace must match namespace: ${namespace}`);
    return { spec, status: decide(named(spec), spec) };
  });
  add("selfsubjectrulesreviews.authorization.k8s.io", (spec, user) => {
    if (!spec.namespace) throw badRequestError("no namespace on request");
    const rules = rbac.rulesFor(user, spec.namespace);
    return {
      spec: {},
      status: {
        resourceRules: rules.filter((rule) => rule.resources?.length).map(({ verbs, apiGroups, resources, resourceNames }) => ({ verbs, apiGroups, resources, ...(resourceNames?.length && { resourceNames }) })),
        nonResourceRules: rules.filter((rule) => rule.nonResourceURLs?.length).map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
        incomplete: false,
      },
    };
  });
  add("selfsubjectreviews.authentication.k8s.io", (_spec, user) => ({ status: { userInfo: userInfoOf(user) } }));
  add("tokenreviews.authentication.k8s.io", async (spec) => {
    if (!spec.token) throw badRequestError("token is required for TokenReview in authentication");
    const wanted = spec.audiences?.length ? spec.audiences : [apiAudience];
    const found = tokens.authenticate(spec.token, wanted) ?? (wanted.includes(apiAudience) ? await tokens.structured?.authenticate(spec.token).then((identity) => identity && { ...identity, audiences: [apiAudience] }) : undefined);
    if (!found) return { spec, status: { user: {}, error: "invalid bearer token" } };
    const { audiences, ...identity } = found;
    return { spec, status: { authenticated: true, user: userInfoOf(identity), audiences } };
  });
}

const userInfoOf = ({ name, uid, groups, extra }: Identity) => ({ username: name, ...(uid !== undefined && { uid }), groups: [...groups], ...(extra && { extra }) });
/** Source: k8s.io/kubernetes/pkg/apis/authorization/validation/validation.go. */
function attributeErrors({ resourceAttributes, nonResourceAttributes }: ReviewSpec): FieldError[] {
  if (resourceAttributes && nonResourceAttributes) return [invalid("spec.nonResourceAttributes", nonResourceAttributes, "cannot be specified in combination with resourceAttributes")];
  if (!resourceAttributes && !nonResourceAttributes) return [invalid("spec.resourceAttributes", null, "exactly one of nonResourceAttributes or resourceAttributes must be specified")];
  return [];
}
const userErrors = ({ user, groups }: ReviewSpec): FieldError[] => (user || groups?.length ? [] : [invalid("spec.user", "", "at least one of user or group must be specified")]);
/** Upstream names no kind here: a review is refused as ".authorization.k8s.io". */
function check(errors: FieldError[]): void {
  if (errors.length > 0) throw invalidError({ group: "authorization.k8s.io", kind: "" }, "", errors);
}

/** Of a spec that passed the checks above. */
function attributesOf({ resourceAttributes, nonResourceAttributes }: ReviewSpec): Attributes {
  if (nonResourceAttributes) return { verb: nonResourceAttributes.verb ?? "", path: nonResourceAttributes.path ?? "" };
  const { verb = "", namespace, group = "", resource = "", subresource, name } = resourceAttributes!;
  return { verb, namespace: namespace || undefined, group, resource, subresource, name };
}
