import type { Policy } from "../../api/envoy/kinds.ts";
import type { HttpFilter, QuotaRule, ValueMatch } from "../../api/traffic.ts";
import type { Refusal } from "./effect.ts";

export interface RateLimitSpec {
  /** Deprecated there, and says nothing that the other two do not. */
  type?: "Global" | "Local";
  global?: { rules?: Rule[] };
  local?: { rules?: Rule[] };
}
interface Rule {
  clientSelectors?: Selector[];
  limit: { requests: number; unit: string };
  cost?: { request?: Cost; response?: Cost };
  shared?: boolean;
  shadowMode?: boolean;
  xRateLimitHeaders?: "Off" | "DraftVersion03";
}
interface Selector {
  headers?: Value[];
  queryParams?: Value[];
  methods?: { value: string; invert?: boolean }[];
  path?: { type?: string; value?: string; invert?: boolean };
  sourceCIDR?: { type?: string; value: string; invert?: boolean };
}
interface Value {
  name: string;
  type?: string;
  value?: string;
  invert?: boolean;
}
interface Cost {
  from: string;
  number?: number;
}

/**
 * Rate limits of a BackendTrafficPolicy, local before global. Counts are named after the policy that says it (of merged ones the nearest),
 * so that neither another limit nor a policy that is made again begins anew. Local ones are one for all workers of this machine: it is
 * one gateway, as one Envoy is.
 */
export function rateLimitFilters(spec: RateLimitSpec, policies: readonly Policy[], refused: Refusal[]): HttpFilter[] {
  const filters: HttpFilter[] = [];
  for (const [scope, word] of [["local", "Local"], ["global", "Global"]] as const) {
    if (spec.type === word && !spec[scope]) refused.push({ field: "rateLimit.type", why: `is ${word}, and there is no ${scope}` });
    const owner = policies.find((policy) => (policy.spec as { rateLimit?: RateLimitSpec }).rateLimit?.[scope]) ?? policies[0];
    const rules = (spec[scope]?.rules ?? []).flatMap((rule, i) => {
      const field = `rateLimit.${scope}.rules[${i}]`;
      const before = refused.length;
      const made = ruleOf(rule, scope === "local", (inner, why) => refused.push({ field: `${field}.${inner}`, why }));
      return refused.length > before ? [] : [{ ...made, id: `policy/${owner?.metadata.namespace ?? ""}/${owner?.metadata.name ?? ""}/${scope}/${i}` }];
    });
    if (rules.length > 0) filters.push({ type: "quota", rules });
  }
  return filters;
}

type Refuse = (field: string, why: string) => void;

function ruleOf({ clientSelectors = [], limit, cost, shared, shadowMode, xRateLimitHeaders }: Rule, isLocal: boolean, refuse: Refuse): Omit<QuotaRule, "id"> {
  const unit = limit.unit.toLowerCase() as QuotaRule["unit"];
  if (isLocal && shadowMode) refuse("shadowMode", "is only supported for Global Rate Limits");
  if (isLocal && xRateLimitHeaders === "DraftVersion03") refuse("xRateLimitHeaders", "is only honoured of Global Rate Limits: what is left of a local one is not known");
  const request = costOf(cost?.request, "cost.request", refuse);
  const response = costOf(cost?.response, "cost.response", refuse);
  if (isLocal && cost?.response) refuse("cost.response", "is only supported for Global Rate Limits");
  const selected = selectorsOf(clientSelectors, refuse);
  return {
    limit: limit.requests,
    unit,
    ...(!shared && { perRoute: true }),
    ...(isLocal ? { isLocal } : xRateLimitHeaders !== "Off" && { hasHeaders: true }),
    ...selected,
    ...((request !== undefined || response !== undefined) && { cost: { ...(request !== undefined && { request }), ...(response !== undefined && { response }) } }),
    ...(shadowMode && { isShadow: true }),
  };
}

function costOf(cost: Cost | undefined, field: string, refuse: Refuse): number | undefined {
  if (!cost) return undefined;
  if (cost.from !== "Number") refuse(`${field}.from`, `${JSON.stringify(cost.from)} is not honoured; supported values: "Number"`);
  else if (cost.number === undefined || cost.number < 0) refuse(`${field}.number`, "must be a number that is not negative");
  return cost.number;
}

/** All conditions of all selectors must hold. */
function selectorsOf(selectors: readonly Selector[], refuse: Refuse): Pick<QuotaRule, "when" | "by"> {
  const when: NonNullable<QuotaRule["when"]> = {};
  const by: NonNullable<QuotaRule["by"]> = [];
  for (const [i, { headers = [], queryParams = [], methods, path, sourceCIDR }] of selectors.entries()) {
    const at = (field: string): string => `clientSelectors[${i}].${field}`;
    for (const [j, header] of headers.entries()) {
      if (header.type === "Distinct") by.push({ header: header.name.toLowerCase() });
      else (when.headers ??= []).push(valueOf({ ...header, name: header.name.toLowerCase() }, at(`headers[${j}]`), refuse));
      checkDistinct(header, at(`headers[${j}]`), refuse);
    }
    for (const [j, parameter] of queryParams.entries()) {
      if (parameter.type === "Distinct") by.push({ query: parameter.name });
      else (when.query ??= []).push(valueOf(parameter, at(`queryParams[${j}]`), refuse));
      checkDistinct(parameter, at(`queryParams[${j}]`), refuse);
    }
    if (methods?.length) {
      if (when.methods) refuse(at("methods"), "stand in more than one selector: one request has one method");
      when.methods = methods.map(({ value, invert }) => ({ method: value, ...(invert && { not: true }) }));
    }
    if (path) {
      if (when.path) refuse(at("path"), "stands in more than one selector");
      const types = { Exact: "exact", PathPrefix: "prefix", RegularExpression: "regex" } as const;
      const type = types[(path.type ?? "PathPrefix") as keyof typeof types];
      if (!type) refuse(at("path.type"), `${JSON.stringify(path.type)} is not honoured; supported values: ${Object.keys(types).join(", ")}`);
      else when.path = { type, value: path.value ?? "/", ...(path.invert && { not: true }) };
    }
    if (sourceCIDR) {
      const { type = "Exact", value, invert } = sourceCIDR;
      (when.clients ??= []).push({ ranges: [value], ...(invert && { not: true }) });
      if (type === "Distinct" && !by.includes("client")) by.push("client");
    }
  }
  return { ...(Object.keys(when).length > 0 && { when }), ...(by.length > 0 && { by }) };
}

function checkDistinct({ type, value, invert }: Value, field: string, refuse: Refuse): void {
  if (type !== "Distinct") return;
  if (value !== undefined) refuse(`${field}.value`, "must not be set where type is Distinct");
  if (invert) refuse(`${field}.invert`, "must not be set where type is Distinct");
}

function valueOf({ name, type = "Exact", value, invert }: Value, field: string, refuse: Refuse): ValueMatch {
  if (value === undefined) refuse(`${field}.value`, "must be set");
  if (type !== "Exact" && type !== "RegularExpression") refuse(`${field}.type`, `${JSON.stringify(type)} is not honoured; supported values: Exact, RegularExpression, Distinct`);
  return { name, type: type === "Exact" ? "exact" : "regex", value: value ?? "", ...(invert && { not: true }) };
}
