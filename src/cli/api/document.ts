import { apiNamed, type ApiVerb, stageAt } from "./verb.ts";

/** For who has no `documentPath`, and for what wants the whole address in it. */
export const document: ApiVerb = {
  name: "document",
  line: "document API STAGE",
  about: "a stage's OpenAPI document as its clients are to see it: what is served, and where",
  words: 2,
  options: [],
  async run(client, { words: [name, stage], namespace = "default" }) {
    const api = await apiNamed(client, namespace, name!);
    stageAt(api, stage!);
    const { documentInCluster } = await import("../../wherry-api.ts");
    return `${JSON.stringify(await documentInCluster(client, api, stage!), null, 2)}\n`;
  },
};
