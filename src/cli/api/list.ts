import { type ApiObject, apiResource, type ApiStage } from "../../api/product/kinds.ts";
import { type ApiVerb, table } from "./verb.ts";

export const list: ApiVerb = {
  name: "list",
  line: "list",
  about: "APIs, their stages, which deployment is live in each, where and for whom, and below what is wrong with them",
  words: 0,
  options: [],
  async run(client, { namespace }) {
    const { items } = await client.list<ApiObject>(apiResource, namespace === undefined ? {} : { namespace });
    if (items.length === 0) return "there are no APIs\n";
    const wrong: string[] = [];
    const rows = items.flatMap(({ metadata, spec, status }) => {
      const newest = status?.deployments?.[0];
      const accepted = status?.conditions?.find(({ type }) => type === "Accepted");
      const common = [metadata.namespace ?? "", metadata.name];
      const said = (stage: string, message: string): void => void wrong.push(`${common.join("/")}${stage}: ${message}`);
      if (accepted?.status === "False") said("", accepted.message);
      const stages = spec.stages ?? [];
      if (stages.length === 0) return [[...common, "-", "-", String(newest?.revision ?? "-"), "-", "it has no stages"]];
      return stages.map((given) => {
        const stage = status?.stages?.find((one) => one.name === given.name);
        const all = status?.deployments?.find(({ revision }) => revision === stage?.deployment)?.operations;
        if (stage?.message !== undefined) said(` ${given.name}`, stage.message);
        const where = stage ? `${stage.url ?? "nowhere"}${forWhom(given)}${stage.message === undefined ? "" : " (see below)"}` : "not looked at yet";
        return [...common, given.name, String(stage?.deployment ?? "-"), String(newest?.revision ?? "-"), `${stage?.operations ?? 0}${all === undefined || all === stage?.operations ? "" : ` of ${all}`}`, where];
      });
    });
    return `${table(["NAMESPACE", "API", "STAGE", "LIVE", "NEWEST", "OPERATIONS", "WHERE"], rows)}${wrong.length > 0 ? `\n${wrong.join("\n")}\n` : ""}`;
  },
};

/** Of a stage that does not serve everybody. */
function forWhom({ headers = [], canary }: ApiStage): string {
  return `${headers.map(({ name, value }, i) => ` ${i === 0 ? "with" : "and"} ${name}: ${value}`).join("")}${canary ? ` for ${canary.percent} % of clients` : ""}`;
}
