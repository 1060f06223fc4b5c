import type { ApiRule, ApiStage } from "../../api/product/kinds.ts";
import type { RequestRule } from "../../api/traffic-content.ts";
import type { HttpFilter } from "../../api/traffic.ts";
import { checkRule } from "../../policy/route-table.ts";
import { NotHonoured } from "./not-honoured.ts";

/** A stage's `rules` as the one filter that stands before its operations. @throws NotHonoured with the name of the rule */
export function rulesOf({ name, rules = [], inspection = {} }: ApiStage, share: string): HttpFilter[] {
  if (rules.length === 0) return [];
  const { maxBodyBytes, oversize } = inspection;
  const filter = (of: readonly RequestRule[]): HttpFilter => ({ type: "requestRules", rules: [...of], ...(maxBodyBytes !== undefined && { bodyBytesMax: maxBodyBytes }), ...(oversize === "Pass" && { oversize: "pass" }), share });
  const made = rules.map(ruleOf);
  for (const rule of made) {
    const wrong = checkRule({ name: "rules", matches: [{ path: { type: "prefix", value: "/" } }], filters: [filter([rule])], backends: [] });
    if (wrong) throw new NotHonoured(`stages[${name}].rules[${rule.name}]:`, `${wrong.message.replace(/^filters\[0\]\.(?:rules\[0\]\.)?/, "")}`);
  }
  return [filter(made)];
}

function ruleOf({ action, deny, ...rule }: ApiRule): RequestRule {
  const places = deny && [...(deny.in ?? []), ...(deny.headers ?? []).map((header) => ({ header }))];
  return { ...rule, ...(deny && { deny: { in: places!, pattern: deny.pattern, ...(deny.ignoreCase !== undefined && { ignoreCase: deny.ignoreCase }) } }), ...(action === "Log" && { dryRun: true }) };
}
