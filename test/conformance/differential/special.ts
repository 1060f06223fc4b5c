import type { Random } from "../../../src/base/random.ts";
import type { Request } from "./objects.ts";
import { policyRules } from "./world.ts";

/** Sequences that are not about one object of a kind: what policies say of a write, who may do what. */
const json = "application/json";
type Make = (random: Random) => Request[];

const pick = <T>(random: Random, items: readonly T[]): T => items[Math.floor(random.next() * items.length)]!;
const some = <T>(random: Random, items: readonly T[], share = 0.5): T[] => items.filter(() => random.next() < share);

/** Writes that a policy looks at, none of them kept. */
const policies: Make = (random) =>
  Array.from({ length: 8 }, () => {
    const name = pick(random, ["NS-a", "NS-b"]);
    const body = { apiVersion: "v1", kind: "ConfigMap", metadata: { name, labels: { check: pick(random, Object.keys(policyRules)), ...(random.next() < 0.5 && { app: "web" }) } }, ...(random.next() < 0.8 && { data: Object.fromEntries(some(random, ["a", "b", "c"], 0.6).map((key) => [key, pick(random, ["0", "1", "2", "x"])])) }) };
    const options = `?fieldManager=one&dryRun=All`;
    return random.next() < 0.8
      ? { method: "POST", path: `/api/v1/namespaces/NS/configmaps${options}`, contentType: json, body, eventually: true }
      : { method: "PATCH", path: `/api/v1/namespaces/NS/configmaps/${name}${options}`, contentType: "application/apply-patch+yaml", body, eventually: true };
  });

const verbs = ["get", "list", "create", "delete", "*", "deletecollection", "escalate"];
const resources = ["pods", "pods/log", "deployments", "configmaps", "*", "*/scale"];
const groups = ["", "apps", "*"];
const authorization = "/apis/authorization.k8s.io/v1";

/** A few roles and bindings, then questions about them. */
const access: Make = (random) => {
  const rule = () => ({ apiGroups: some(random, groups, 0.6), resources: some(random, resources, 0.5), verbs: some(random, verbs, 0.5), ...(random.next() < 0.3 && { resourceNames: ["web"] }) });
  const whole = <T extends { apiGroups: string[]; resources: string[]; verbs: string[] }>({ apiGroups, resources: of, verbs: may, ...rest }: T) => ({ ...rest, apiGroups: apiGroups.length > 0 ? apiGroups : [""], resources: of.length > 0 ? of : ["pods"], verbs: may.length > 0 ? may : ["get"] });
  const rbac = "rbac.authorization.k8s.io";
  const clusterWide = random.next() < 0.4;
  const [roles, bindings, kind] = clusterWide ? [`/apis/${rbac}/v1/clusterroles`, `/apis/${rbac}/v1/clusterrolebindings`, "ClusterRole"] : [`/apis/${rbac}/v1/namespaces/NS/roles`, `/apis/${rbac}/v1/namespaces/NS/rolebindings`, "Role"];
  const subject = pick<object>(random, [{ kind: "User", name: "NS-ann", apiGroup: rbac }, { kind: "Group", name: "NS-ops", apiGroup: rbac }, { kind: "ServiceAccount", name: "default", namespace: "NS" }]);
  const setUp: Request[] = [
    { method: "POST", path: roles, contentType: json, body: { metadata: { name: "NS-role" }, rules: [whole(rule()), ...(clusterWide && random.next() < 0.5 ? [{ nonResourceURLs: ["/metrics", "/api/*"], verbs: ["get"] }] : []), whole(rule())] } },
    { method: "POST", path: bindings, contentType: json, body: { metadata: { name: "NS-binding" }, roleRef: { apiGroup: rbac, kind, name: "NS-role" }, subjects: [subject] } },
  ];
  const attributes = () =>
    random.next() < 0.15
      ? { nonResourceAttributes: { path: pick(random, ["/metrics", "/api/v1", "/healthz", ""]), verb: pick(random, ["get", "post"]) } }
      : { resourceAttributes: { ...(random.next() < 0.8 && { namespace: pick(random, ["NS", "default", ""]) }), verb: pick(random, verbs), group: pick(random, groups), resource: pick(random, ["pods", "deployments", "configmaps", "*"]), ...(random.next() < 0.3 && { subresource: pick(random, ["log", "scale"]) }), ...(random.next() < 0.3 && { name: pick(random, ["web", "db"]) }), ...(random.next() < 0.1 && { labelSelector: { rawSelector: pick(random, ["a=b", "a b"]) } }), ...(random.next() < 0.05 && { fieldSelector: { requirements: [{ key: "spec.nodeName", operator: pick(random, ["In", "Equals"]), values: ["n"] }] } }) } };
  const who = () => pick<object>(random, [{ user: "NS-ann" }, { user: "NS-ann", groups: ["NS-ops", "system:authenticated"] }, { groups: ["NS-ops"] }, { user: "system:serviceaccount:NS:default", groups: ["system:serviceaccounts"] }, {}, { user: "root", groups: ["system:masters"] }]);
  const question = (): Request =>
    pick<() => Request>(random, [
      () => ({ method: "POST", path: `${authorization}/subjectaccessreviews`, contentType: json, body: { spec: { ...attributes(), ...who() } }, eventually: true }),
      () => ({ method: "POST", path: `${authorization}/subjectaccessreviews`, contentType: json, body: { spec: { ...attributes(), ...who() } }, eventually: true }),
      () => ({ method: "POST", path: `${authorization}/namespaces/NS/localsubjectaccessreviews`, contentType: json, body: { metadata: { namespace: "NS" }, spec: { ...attributes(), ...who() } }, eventually: true }),
      () => ({ method: "POST", path: `${authorization}/selfsubjectaccessreviews`, contentType: json, body: { spec: attributes() }, eventually: true }),
      () => ({ method: "POST", path: "/apis/authentication.k8s.io/v1/selfsubjectreviews", contentType: json, body: {}, eventually: true }),
      () => ({ method: "POST", path: "/apis/authentication.k8s.io/v1/tokenreviews", contentType: json, body: { spec: pick<object>(random, [{ token: "nonsense" }, {}, { token: "nonsense", audiences: ["x"] }]) }, eventually: true }),
    ])();
  return [...setUp, ...Array.from({ length: 7 }, question)];
};

const makers: Readonly<Record<string, Make>> = { policies, access };
export const specialKinds: readonly string[] = Object.keys(makers);

export function special(random: Random, only?: string): { kind: string; requests: Request[] } {
  const kind = only ?? pick(random, specialKinds);
  return { kind, requests: makers[kind]!(random) };
}
