import { systemClock } from "../../base/clock.ts";
import { silentLog } from "../../base/log.ts";
import { type QuotaClock, type QuotaCount, QuotaCounters } from "../../policy/quotas/counters.ts";
import { QuotaLog } from "./log.ts";

/** What has been counted in windows that are open, as the file has it that `wherry` adds to before it answers; most first. */
export function usageIn(file: string, clock: QuotaClock = systemClock): (Pick<QuotaCount, "key" | "count" | "unit"> & { until: string; of: string })[] {
  const counters = new QuotaCounters(clock);
  new QuotaLog(file, counters, silentLog).read();
  const counts = [...counters.counts("")].sort((a, b) => b.count - a.count || (a.id < b.id ? -1 : 1));
  return counts.map(({ id, key, count, unit, endMs }) => ({ key, count, unit, until: new Date(endMs).toISOString().replace(".000", ""), of: inWords(id) }));
}

/** "policy/shop/month/global/0 HTTPRoute/shop/web": "BackendTrafficPolicy shop/month, rule 0, HTTPRoute/shop/web". */
function inWords(id: string): string {
  const [, namespace, policy, rule, route] = /^policy\/([^/]+)\/([^/]+)\/global\/(\d+)(?: (.+))?$/.exec(id) ?? [];
  if (rule !== undefined) return `BackendTrafficPolicy ${namespace}/${policy}, rule ${rule}${route === undefined ? "" : `, ${route}`}`;
  const [, stage, plan, operation] = /^plan\/([^/]+\/[^/]+)\/([^/]+)\/(.*)$/.exec(id) ?? [];
  return stage === undefined ? id : `API ${stage}, plan ${plan}${operation === "" ? "" : ` for ${operation}`}`;
}
