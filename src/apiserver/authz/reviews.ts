import type { Kind } from "../../api/kind.ts";
import { type KubeObject, timestamp } from "../../api/meta.ts";
import { type FieldError, invalid } from "../../api/field.ts";
import { badRequestError, invalidError } from "../../api/status.ts";
import type { Api, VirtualCreate } from "../api.ts";
import { apiAudience, type Tokens } from "../authn/tokens.ts";
import type { Identity } from "../rest/context.ts";
import { placeIn } from "../rest/create.ts";
import { decode } from "../rest/decode.ts";
import { recordWrite } from "../rest/managed-fields.ts";
import { type Attributes, failureText, type Rbac } from "./rbac.ts";
import { accessErrors, type AccessSpec, evaluationError, shown } from "./review-checks.ts";

interface ReviewSpec extends AccessSpec {
  uid?: string;
  extra?: Record<string, string[]>;
  namespace?: string;
  token?: string;
  audiences?: string[];
}

interface Answer {
  spec?: ReviewSpec;
  status: object;
  /** Default: what was sent. */
  metadata?: object;
}

/** The kinds that are questions: created, answered, never stored. `kubectl auth can-i`, `whoami`, and what dashboards ask. */
export function registerReviews(api: Api, rbac: Rbac, tokens: Tokens): void {
  const add = (name: string, answer: (spec: ReviewSpec, user: Identity, metadata: KubeObject["metadata"]) => Answer | Promise<Answer>): void => {
    const create: VirtualCreate = async (kind: Kind, namespace, body, context) => {
      const review = decode(kind, body, context, true);
      placeIn(kind, review, namespace);
      const { metadata: sent, ...rest } = review;
      const { spec, status, metadata = sent } = await answer((rest["spec"] as ReviewSpec | undefined) ?? {}, context.user, sent);
      const managedFields = spec === undefined ? undefined : recordWrite({ registry: api.registry, clock: api.clock }, kind, undefined, review, context.fieldManager, undefined);
      return { ...rest, metadata: { ...metadata, ...(managedFields && { managedFields }), ...(kind.resource === "selfsubjectreviews" && { creationTimestamp: timestamp(api.clock.now()) }) }, ...(spec !== undefined && { spec }), status };
    };
    api.virtual.set(name, create);
  };
  const decide = (user: Identity, spec: ReviewSpec) => {
    const { allowed, reason } = rbac.authorize(user, attributesOf(spec));
    const failure = evaluationError(spec);
    return { allowed, ...(reason !== "" && { reason }), ...(failure !== "" && { evaluationError: failure }) };
  };
  const named = (spec: ReviewSpec): Identity => ({ name: spec.user ?? "", groups: spec.groups ?? [], ...(spec.uid && { uid: spec.uid }), ...(spec.extra && { extra: spec.extra }) });

  add("selfsubjectaccessreviews.authorization.k8s.io", (spec, user, metadata) => {
    check([...accessErrors(spec, true), ...metadataErrors(metadata, "must be empty")]);
    return { spec, status: decide(user, spec) };
  });
  add("subjectaccessreviews.authorization.k8s.io", (spec, _user, metadata) => {
    check([...accessErrors(spec, false), ...metadataErrors(metadata, "must be empty")]);
    return { spec, status: decide(named(spec), spec) };
  });
  add("localsubjectaccessreviews.authorization.k8s.io", (spec, _user, metadata) => {
    const { namespace } = metadata;
    const { resourceAttributes, nonResourceAttributes } = spec;
    check([
      ...accessErrors(spec, false),
      ...metadataErrors(metadata, "must be empty except for namespace", "namespace"),
      ...(resourceAttributes && (resourceAttributes.namespace ?? "") !== namespace ? [invalid("spec.resourceAttributes.namespace", resourceAttributes.namespace ?? "", "must match metadata.namespace")] : []),
      ...(nonResourceAttributes ? [invalid("spec.nonResourceAttributes", shown(nonResourceAttributes), "disallowed on this kind of request")] : []),
    ]);
    return { spec, status: decide(named(spec), spec) };
  });
  add("selfsubjectrulesreviews.authorization.k8s.io", (spec, user) => {
    if (!spec.namespace) throw badRequestError("no namespace on request");
    const { rules, missing } = rbac.rulesFor(user, spec.namespace);
    return {
      spec: {},
      status: {
        resourceRules: rules.filter((rule) => rule.resources?.length).map(({ verbs, apiGroups, resources, resourceNames }) => ({ verbs, apiGroups, resources, ...(resourceNames?.length && { resourceNames }) })),
        nonResourceRules: rules.filter((rule) => rule.nonResourceURLs?.length).map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
        incomplete: false,
        ...(missing.length > 0 && { evaluationError: failureText(missing) }),
      },
    };
  });
  add("selfsubjectreviews.authentication.k8s.io", (_spec, user) => ({ status: { userInfo: userInfoOf(user) }, metadata: {} }));
  add("tokenreviews.authentication.k8s.io", async (spec) => {
    if (!spec.token) throw badRequestError("token is required for TokenReview in authentication");
    const wanted = spec.audiences?.length ? spec.audiences : [apiAudience];
    const judged = tokens.judge(spec.token, wanted);
    if (typeof judged === "string") return { spec, status: { user: {}, error: `[invalid bearer token, ${judged}]` } };
    const { structured } = tokens;
    const foreign = judged || !wanted.includes(apiAudience) ? undefined : await (structured?.judge ?? structured?.authenticate)?.(spec.token);
    if (typeof foreign === "string") return { spec, status: { user: {}, error: `[invalid bearer token, ${foreign}]` } };
    const found = judged ?? (foreign && { ...foreign, audiences: [apiAudience] });
    if (!found) return { spec, status: { user: {}, error: "invalid bearer token" } };
    const { audiences, ...identity } = found;
    return { spec, status: { authenticated: true, user: userInfoOf(identity), audiences } };
  });
}

const userInfoOf = ({ name, uid, groups, extra }: Identity) => ({ username: name, ...(uid !== undefined && { uid }), groups: [...groups], ...(extra && { extra }) });

const metadataErrors = (metadata: object, why: string, but?: string): FieldError[] => {
  const { managedFields: _, ...rest } = metadata as { managedFields?: unknown };
  return Object.entries(rest).some(([field, value]) => field !== but && value !== undefined) ? [invalid("metadata", rest, why)] : [];
};
/** Upstream names no kind here. */
function check(errors: FieldError[]): void {
  if (errors.length > 0) throw invalidError({ group: "authorization.k8s.io", kind: "" }, "", errors);
}

/** Of a spec that passed the checks above. */
function attributesOf({ resourceAttributes, nonResourceAttributes }: ReviewSpec): Attributes {
  if (nonResourceAttributes) return { verb: nonResourceAttributes.verb ?? "", path: nonResourceAttributes.path ?? "" };
  const { verb = "", namespace, group = "", resource = "", subresource, name } = resourceAttributes!;
  return { verb, namespace: namespace || undefined, group, resource, subresource, name };
}
