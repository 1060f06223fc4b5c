import { apiNamed, type ApiVerb, stageAt, table } from "./verb.ts";

export const usage: ApiVerb = {
  name: "usage",
  line: "usage API STAGE",
  about: "what has been counted of a stage's quotas, for each client, as it was a few seconds ago",
  words: 2,
  options: [],
  async run(client, { words: [name, stage], namespace = "default" }) {
    const api = await apiNamed(client, namespace, name!);
    stageAt(api, stage!);
    const counted = api.status?.stages?.find((one) => one.name === stage)?.usage;
    if (!counted) return `no BackendTrafficPolicy with rateLimit.global is for ${name} ${stage}, and no plan of it has a quota: nothing is counted\n`;
    if (counted.length === 0) return `nothing has been counted of ${name} ${stage} yet\n`;
    return table(["KEY", "COUNT", "LIMIT", "UNIT", "UNTIL", "POLICY"], counted.map(({ key, count, limit, unit, until, policy, plan, operation }) => [key || "(all)", String(count), String(limit ?? "-"), unit, until, policy ?? `plan ${plan}${operation === undefined ? "" : ` for ${operation}`}`]));
  },
};
