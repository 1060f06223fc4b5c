import { randomBytes } from "node:crypto";
import type { Client } from "../../api/client.ts";
import { envoyResources, type Policy } from "../../api/envoy/kinds.ts";
import { routeNameOf } from "../../api/product/kinds.ts";
import { resources } from "../../api/resources.ts";
import type { Secret } from "../../api/types.ts";
import { StatusError } from "../../api/status.ts";
import { WherryError } from "../../base/errors.ts";
import { apiNamed, type ApiVerb, stageAt, table } from "./verb.ts";

interface ApiKeySpec extends Record<string, unknown> {
  apiKeyAuth?: { credentialRefs: { name: string; namespace?: string }[] };
}

const keyBytes = 24;

/** A Secret of keys, and who names it. */
interface Holder {
  secret: Secret;
  plan?: string;
}

/** Keys are Secrets that the stage's plans or a SecurityPolicy name: a client's name for each, and its key. What is shown of a key is its client. */
export const keys: ApiVerb = {
  name: "keys",
  line: "keys API STAGE [--plan PLAN] [--add CLIENT | --remove CLIENT]",
  about: "whose keys open a stage; make one, or take one back",
  words: 2,
  options: ["add", "remove", "plan"],
  async run(client, { words: [name, stage], namespace = "default", add, remove, plan }) {
    if (add !== undefined && remove !== undefined) throw new WherryError("USAGE", "--add and --remove: say one of them");
    const api = await apiNamed(client, namespace, name!);
    const { plans = [] } = api.spec.stages![stageAt(api, stage!)]!;
    if (plan !== undefined && !plans.some((one) => one.name === plan)) throw new WherryError("USAGE", `stage ${stage} has no plan ${plan}; it has ${plans.map((one) => one.name).join(", ") || "none"}`);
    const all = [...(await Promise.all(plans.map(async (one): Promise<Holder> => ({ plan: one.name, secret: await secretAt(client, namespace, one.secretRef.name, `plan ${one.name}`) })))), ...(await ofPolicies(client, namespace, routeNameOf(name!, stage!), plans.length > 0))];
    const holders = all.filter((one) => plan === undefined || one.plan === plan);
    const having = (of: string, among: readonly Holder[]): Holder[] => among.filter(({ secret: { data } }) => data && Object.hasOwn(data, of));
    if (add !== undefined) {
      if (!/^[-._a-zA-Z0-9]{1,253}$/.test(add)) throw new WherryError("USAGE", `--add ${add}: a client's name has letters, digits, '-', '_' and '.'`);
      const [other] = having(add, all);
      if (other) throw new WherryError("USAGE", `client ${add} has a key in Secret ${other.secret.metadata.name} already; --remove it first`);
      if (plan === undefined && plans.length > 1) throw new WherryError("USAGE", `stage ${stage} has several plans: say --plan ${plans.map((one) => one.name).join(" or --plan ")}`);
      const key = randomBytes(keyBytes).toString("base64url");
      const { metadata } = holders[0]!.secret;
      await client.patch(resources.secrets, metadata.namespace, metadata.name, { data: { [add]: Buffer.from(key).toString("base64") } }, { type: "merge", fieldManager: "wherry-cli" });
      return `${key}\n`;
    }
    if (remove !== undefined) {
      const [from, other] = having(remove, holders);
      if (!from) throw new WherryError("USAGE", `client ${remove} has no key of ${name} ${stage}${plan === undefined ? "" : ` in plan ${plan}`}`);
      if (other) throw new WherryError("USAGE", `client ${remove} has keys of several plans: say --plan ${[from, other].map((one) => one.plan).join(" or --plan ")}`);
      const { metadata } = from.secret;
      await client.patch(resources.secrets, metadata.namespace, metadata.name, { metadata: { resourceVersion: metadata.resourceVersion }, data: { [remove]: null } }, { type: "merge", fieldManager: "wherry-cli" });
      return `the key of ${remove} is taken out of Secret ${metadata.name}\n`;
    }
    const rows = holders.flatMap(({ secret: { metadata, data = {} }, plan: of = "-" }) => Object.keys(data).sort().map((one) => [one, ...(plans.length > 0 ? [of] : []), `${metadata.namespace}/${metadata.name}`]));
    return rows.length === 0 ? `nobody has a key of ${name} ${stage}\n` : table(["CLIENT", ...(plans.length > 0 ? ["PLAN"] : []), "SECRET"], rows);
  },
};

/** Those that policies for the stage's route name, in their order. @throws WherryError there are none, and must be */
async function ofPolicies(client: Client, namespace: string, route: string, mayLack: boolean): Promise<Holder[]> {
  const { items } = await client.list<Policy<ApiKeySpec>>(envoyResources.securityPolicies, { namespace });
  const policies = items.filter(({ spec }) => spec.apiKeyAuth && [spec.targetRef, ...(spec.targetRefs ?? [])].some((target) => target?.kind === "HTTPRoute" && target.name === route));
  if (policies.length === 0 && !mayLack) throw new WherryError("USAGE", `the stage has no plans, and no SecurityPolicy in namespace ${namespace} asks for API keys of HTTPRoute ${route}: see docs/reference/api-product.md`);
  const references = policies.flatMap(({ metadata, spec }) => spec.apiKeyAuth!.credentialRefs.map((reference) => ({ ...reference, by: `SecurityPolicy ${metadata.name}` })));
  return await Promise.all(references.map(async ({ name, namespace: where = namespace, by }): Promise<Holder> => ({ secret: await secretAt(client, where, name, by) })));
}

async function secretAt(client: Client, namespace: string, name: string, by: string): Promise<Secret> {
  try {
    return await client.get<Secret>(resources.secrets, namespace, name);
  } catch (error) {
    if (!(error instanceof StatusError && error.code === 404)) throw error;
    throw new WherryError("USAGE", `Secret ${namespace}/${name}, which ${by} names, does not exist: kubectl create secret generic ${name} -n ${namespace}`);
  }
}
