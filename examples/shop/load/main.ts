import { appendFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { runLoad } from "./run.ts";
import { scenarios } from "./scenarios.ts";

const usage = `Load for the shop, at a rate that does not slow down when the shop does.

usage: node load/main.ts [--scenario NAME] [options]

scenarios:
${Object.entries(scenarios).map(([name, { about }]) => `  ${name.padEnd(8)}  ${about}`).join("\n")}

options:
  --url URL          the shop's gateway; http://gateway.ecommerce.localhost:8088
  --scenario NAME    browse
  --rate N           requests a second; 20
  --duration TIME    10s (ms, s, m)
  --customers N      who join before it begins; 4
  --rough            parts of the shop will fail meanwhile: tries again as a good client does, and
                     counts as failed only what stays without an answer
  --ledger FILE      appends what the shop promised, a JSON line an order, for load/check.ts
  --json             the report as JSON
  --help

It ends with 1 when an answer was not as it must be, else with 0.`;

const { values } = parseArgs({
  options: { url: { type: "string", default: "http://gateway.ecommerce.localhost:8088" }, scenario: { type: "string", default: "browse" }, rate: { type: "string", default: "20" }, duration: { type: "string", default: "10s" }, customers: { type: "string", default: "4" }, rough: { type: "boolean", default: false }, ledger: { type: "string" }, json: { type: "boolean", default: false }, help: { type: "boolean", default: false } },
});
const wrong = (text: string): never => {
  console.error(`${text}\nnode load/main.ts --help says more`);
  process.exit(2);
};
if (values.help) {
  console.log(usage);
  process.exit(0);
}
const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(values.duration) ?? wrong(`--duration: Invalid value: "${values.duration}": must be like 500ms, 30s or 5m`);
const number = (name: "rate" | "customers", min: number, max: number): number => {
  const value = Number(values[name]);
  return value >= min && value <= max ? value : wrong(`--${name}: Invalid value: "${values[name]}": must be between ${min} and ${max}`);
};
if (!Object.hasOwn(scenarios, values.scenario)) wrong(`--scenario: Unsupported value: "${values.scenario}": supported values: ${Object.keys(scenarios).join(", ")}`);

const report = await runLoad({ url: values.url, scenario: values.scenario, rate: number("rate", 0.1, 10_000), durationMs: Number(amount) * { ms: 1, s: 1_000, m: 60_000 }[unit as "s"], customers: Math.round(number("customers", 1, 1_000)), rough: values.rough }).catch((error: Error) => {
  console.error(error.message);
  return process.exit(1);
});
if (values.ledger !== undefined) {
  writeFileSync(values.ledger, "", { flag: "a" });
  for (const line of report.ledger) appendFileSync(values.ledger, `${JSON.stringify(line)}\n`);
}
if (values.json) console.log(JSON.stringify({ ...report, ledger: report.ledger.length }, undefined, 2));
else {
  const columns = (cells: readonly (string | number)[]) => cells.map((cell, i) => (i === 0 ? String(cell).padEnd(24) : i === cells.length - 1 ? `  ${cell}` : String(cell).padStart(8))).join("");
  console.log(columns(["", "count", "p50 ms", "p99 ms", "max ms", "answers"]));
  for (const { operation, count, p50, p99, max, statuses } of report.operations) console.log(columns([operation, count, p50, p99, max, Object.entries(statuses).map(([status, times]) => `${status}×${times}`).join(" ")]));
  console.log(`\n${report.sent} sent in ${(report.durationMs / 1000).toFixed(1)} s${report.unsent > 0 ? `, ${report.unsent} not sent: too many were under way` : ""}; ${report.ledger.length} orders promised`);
  console.log(`pods: ${Object.entries(report.pods).map(([pod, times]) => `${pod} ${times}`).join(", ")}`);
  for (const failure of report.failures) console.log(`FAILED  ${failure}`);
}
process.exit(report.failureCount > 0 || report.unsent > 0 ? 1 : 0);
