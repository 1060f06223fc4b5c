import { WherryError } from "../../base/errors.ts";
import { apiNamed, type ApiVerb, liveIn, setDeployment, stageAt } from "./verb.ts";

export const rollback: ApiVerb = {
  name: "rollback",
  line: "rollback API STAGE [--to NUMBER]",
  about: "make the deployment before the live one live again, or the one with this number",
  words: 2,
  options: ["to"],
  async run(client, { words: [name, stage], namespace = "default", to }) {
    if (to !== undefined && !/^[1-9]\d{0,14}$/.test(to)) throw new WherryError("USAGE", `--to ${to}: must be the number of a deployment`);
    const api = await apiNamed(client, namespace, name!);
    const at = stageAt(api, stage!);
    const known = (api.status?.deployments ?? []).map(({ revision }) => revision);
    const live = liveIn(api, stage!);
    const deployment = to === undefined ? known.find((revision) => live !== undefined && revision < live) : Number(to);
    if (deployment === undefined) throw new WherryError("USAGE", `API ${name} has no deployment before ${live ?? "the first"}; it has ${known.join(", ") || "none"}`);
    if (!known.includes(deployment)) throw new WherryError("USAGE", `API ${name} has no deployment ${deployment}; it has ${known.join(", ") || "none"}`);
    await setDeployment(client, api, at, deployment);
    return `${name} ${stage}: deployment ${live ?? "none"} → ${deployment}\n`;
  },
};
