import { setTimeout as delay } from "node:timers/promises";
import { scenarios, type World } from "./scenarios.ts";
import { type Acknowledged, join, ShopClient } from "./shop-client.ts";

export interface LoadOptions {
  url: string;
  scenario: string;
  /** A second. */
  rate: number;
  durationMs: number;
  customers: number;
  rough?: boolean;
}
export interface LoadReport {
  operations: { operation: string; count: number; p50: number; p99: number; max: number; statuses: Record<string, number> }[];
  pods: Record<string, number>;
  failures: string[];
  failureCount: number;
  sent: number;
  /** Were due while as many as are allowed were under way. */
  unsent: number;
  durationMs: number;
  ledger: Acknowledged[];
}

const underWayMax = 2_000;
const tickMs = 5;

/**
 * Sends at the rate it is told, whether answers come or not, and counts each from when it was due: a shop that stalls shows in the
 * percentiles instead of being asked less.
 */
export async function runLoad({ url, scenario, rate, durationMs, customers, rough = false }: LoadOptions): Promise<LoadReport> {
  const { run, shape = () => 1 } = scenarios[scenario]!;
  const shop = new ShopClient(url);
  const world: World = { shop, customers: scenario === "browse" ? [] : await Promise.all(Array.from({ length: customers }, () => join(shop, rough ? 300_000 : 10_000))), rough };
  const began = performance.now();
  const underWay = new Set<Promise<void>>();
  // Compared as it is: (began + duration) - began may be less than the duration, by a rounding.
  const end = began + durationMs;
  let [sent, unsent, owed, last] = [0, 0, 0, began];
  while (last < end) {
    await delay(tickMs);
    const now = Math.min(performance.now(), end);
    owed += (rate * shape((last - began) / durationMs) * (now - last)) / 1000;
    const due = Math.floor(owed);
    owed -= due;
    for (let i = 0; i < due; i++) {
      if (underWay.size >= underWayMax) {
        unsent++;
        continue;
      }
      sent++;
      const one = run(world, last + ((now - last) * (i + 1)) / due)
        .catch((error: unknown) => shop.fail(String(error)))
        .finally(() => underWay.delete(one));
      underWay.add(one);
    }
    last = now;
  }
  await Promise.all(underWay);
  const operations = [...shop.operations].map(([operation, { ms, statuses }]) => {
    const sorted = ms.toSorted((a, b) => a - b);
    const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]! * 10) / 10;
    return { operation, count: ms.length, p50: at(0.5), p99: at(0.99), max: at(1), statuses: Object.fromEntries([...statuses].sort()) };
  });
  return { operations, pods: Object.fromEntries([...shop.pods].sort()), failures: shop.failures, failureCount: shop.failureCount, sent, unsent, durationMs: performance.now() - began, ledger: shop.ledger };
}
