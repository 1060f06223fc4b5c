import { type ApiObject, apiResource } from "../../api/product/kinds.ts";
import { type ApiVerb, table } from "./verb.ts";

export const list: ApiVerb = {
  name: "list",
  line: "list",
  about: "APIs, their stages, which deployment is live in each, and where",
  words: 0,
  options: [],
  async run(client, { namespace }) {
    const { items } = await client.list<ApiObject>(apiResource, namespace === undefined ? {} : { namespace });
    if (items.length === 0) return "there are no APIs\n";
    const rows = items.flatMap(({ metadata, spec, status }) => {
      const newest = status?.deployments?.[0];
      const accepted = status?.conditions?.find(({ type }) => type === "Accepted");
      const common = [metadata.namespace ?? "", metadata.name];
      const note = accepted?.status === "False" ? accepted.message : "";
      const stages = spec.stages ?? [];
      if (stages.length === 0) return [[...common, "-", "-", String(newest?.revision ?? "-"), "-", note || "it has no stages"]];
      return stages.map(({ name }) => {
        const stage = status?.stages?.find((one) => one.name === name);
        const wrong = [note, stage?.ready ? "" : (stage?.message ?? "")].filter(Boolean).join("; ");
        return [...common, name, String(stage?.deployment ?? "-"), String(newest?.revision ?? "-"), String(stage?.operations ?? 0), wrong || (stage?.ready ? [stage.url ?? "", stage.message === undefined ? "" : `(${stage.message})`].filter(Boolean).join(" ") : "not looked at yet")];
      });
    });
    return table(["NAMESPACE", "API", "STAGE", "LIVE", "NEWEST", "OPERATIONS", "WHERE"], rows);
  },
};
