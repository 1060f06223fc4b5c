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

/** Keys are Secrets that a SecurityPolicy names: a client's name for each, and its key. What is shown of a key is its client. */
export const keys: ApiVerb = {
  name: "keys",
  line: "keys API STAGE [--add CLIENT | --remove CLIENT]",
  about: "whose keys open a stage; make one, or take one back",
  words: 2,
  options: ["add", "remove"],
  async run(client, { words: [name, stage], namespace = "default", add, remove }) {
    if (add !== undefined && remove !== undefined) throw new WherryError("USAGE", "--add and --remove: say one of them");
    stageAt(await apiNamed(client, namespace, name!), stage!);
    const secrets = await secretsOf(client, namespace, routeNameOf(name!, stage!));
    const holder = (of: string): Secret | undefined => secrets.find(({ data }) => data && Object.hasOwn(data, of));
    if (add !== undefined) {
      if (!/^[-._a-zA-Z0-9]{1,253}$/.test(add)) throw new WherryError("USAGE", `--add ${add}: a client's name has letters, digits, '-', '_' and '.'`);
      const other = holder(add);
      if (other) throw new WherryError("USAGE", `client ${add} has a key in Secret ${other.metadata.name} already; --remove it first`);
      const key = randomBytes(keyBytes).toString("base64url");
      const { metadata } = secrets[0]!;
      await client.patch(resources.secrets, metadata.namespace, metadata.name, { data: { [add]: Buffer.from(key).toString("base64") } }, { type: "merge", fieldManager: "wherry-cli" });
      return `${key}\n`;
    }
    if (remove !== undefined) {
      const from = holder(remove);
      if (!from) throw new WherryError("USAGE", `client ${remove} has no key of ${name} ${stage}`);
      await client.patch(resources.secrets, from.metadata.namespace, from.metadata.name, { metadata: { resourceVersion: from.metadata.resourceVersion }, data: { [remove]: null } }, { type: "merge", fieldManager: "wherry-cli" });
      return `the key of ${remove} is taken out of Secret ${from.metadata.name}\n`;
    }
    const rows = secrets.flatMap(({ metadata, data = {} }) => Object.keys(data).sort().map((of) => [of, `${metadata.namespace}/${metadata.name}`]));
    return rows.length === 0 ? `nobody has a key of ${name} ${stage}\n` : table(["CLIENT", "SECRET"], rows);
  },
};

/** Those that policies for the stage's route name, in their order. @throws WherryError there are none */
async function secretsOf(client: Client, namespace: string, route: string): Promise<Secret[]> {
  const { items } = await client.list<Policy<ApiKeySpec>>(envoyResources.securityPolicies, { namespace });
  const policies = items.filter(({ spec }) => spec.apiKeyAuth && [spec.targetRef, ...(spec.targetRefs ?? [])].some((target) => target?.kind === "HTTPRoute" && target.name === route));
  if (policies.length === 0) throw new WherryError("USAGE", `no SecurityPolicy in namespace ${namespace} asks for API keys of HTTPRoute ${route}: see docs/reference/api-product.md`);
  const references = policies.flatMap(({ spec }) => spec.apiKeyAuth!.credentialRefs);
  const found = await Promise.all(
    references.map(({ name, namespace: where = namespace }) =>
      client.get<Secret>(resources.secrets, where, name).catch((error: unknown) => {
        if (!(error instanceof StatusError && error.code === 404)) throw error;
        throw new WherryError("USAGE", `Secret ${where}/${name}, which SecurityPolicy ${policies[0]!.metadata.name} names, does not exist: kubectl create secret generic ${name} -n ${where}`);
      }),
    ),
  );
  return found;
}
