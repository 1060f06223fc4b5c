import { WherryError } from "../../base/errors.ts";
import { apiNamed, type ApiVerb, liveIn, setDeployment, stageAt } from "./verb.ts";

export const promote: ApiVerb = {
  name: "promote",
  line: "promote API --to STAGE [--from STAGE]",
  about: "make the deployment of one stage, or the newest, live in another",
  words: 1,
  options: ["to", "from"],
  async run(client, { words: [name], namespace = "default", to, from }) {
    if (to === undefined) throw new WherryError("USAGE", `say: wherry api ${promote.line}`);
    const api = await apiNamed(client, namespace, name!);
    const at = stageAt(api, to);
    if (from !== undefined) stageAt(api, from);
    const deployment = from === undefined ? api.status?.deployments?.[0]?.revision : liveIn(api, from);
    if (deployment === undefined) throw new WherryError("USAGE", `API ${name} has no deployment yet`);
    const before = api.spec.stages![at]!.deployment;
    if (before === deployment) return `${name} ${to}: deployment ${deployment} is live already\n`;
    await setDeployment(client, api, at, deployment);
    const live = before ?? liveIn(api, to);
    return live === deployment ? `${name} ${to}: stays with deployment ${deployment}, and follows the newest no longer\n` : `${name} ${to}: deployment ${live ?? "none"} → ${deployment}\n`;
  },
};
