import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";
import type { Claim } from "./features.ts";

/** Where the report of a whole run is kept. */
export const reportFile = (claim: Claim): string => join(import.meta.dirname, claim.report);

/** What the suite is told: the whole of it makes the report; a part, asked for with --run-test, does not. */
export function suiteArguments(claim: Claim, flags: readonly string[], timeoutMinutes: number): string[] {
  const isWhole = !isPart(flags);
  return [
    "-test.run",
    "TestConformance",
    "-test.v",
    `-test.timeout=${timeoutMinutes}m`,
    "--gateway-class=wherry",
    `--supported-features=${claim.features.join(",")}`,
    "--usable-address=127.99.250.1",
    "--unusable-address=192.0.2.1",
    "--organization=wherry",
    "--project=wherry",
    "--url=https://wherry.dev",
    "--version=0.1.0",
    "--contact=maintainers",
    ...(isWhole ? [`--conformance-profiles=${claim.profiles.join(",")}`, `--report-output=${reportFile(claim)}`] : []),
    ...flags,
  ];
}
export const isPart = (flags: readonly string[]): boolean => flags.some((flag) => /^--?run-test\b/.test(flag));

interface Outcome {
  result?: string;
  statistics?: { Passed: number; Failed: number; Skipped: number };
}
/** A line for each profile of a ConformanceReport; throws with what is not as upstream has it. */
export function summary({ profiles }: Claim, text: string): string[] {
  const report = load(text) as { kind?: string; apiVersion?: string; gatewayAPIVersion?: string; gatewayAPIChannel?: string; profiles?: { name: string; core?: Outcome; extended?: Outcome }[] } | undefined;
  if (report?.kind !== "ConformanceReport" || !report.apiVersion?.startsWith("gateway.networking.k8s.io/")) throw new Error("not a ConformanceReport of gateway.networking.k8s.io");
  const missing = profiles.filter((wanted) => !report.profiles?.some(({ name }) => name === wanted));
  if (missing.length > 0) throw new Error(`the report lacks the profiles ${missing.join(", ")}`);
  const said = (outcome: Outcome | undefined) => (outcome?.statistics ? `${outcome.statistics.Passed} passed, ${outcome.statistics.Failed} failed, ${outcome.statistics.Skipped} skipped` : "nothing");
  return report.profiles!.map(({ name, core, extended }) => `${name} (Gateway API ${report.gatewayAPIVersion}, ${report.gatewayAPIChannel}): core ${said(core)}; extended ${said(extended)}`);
}

/** Of the report that a run has written which began then. */
export function writtenSummary(claim: Claim, sinceMs: number): string[] {
  const file = reportFile(claim);
  const writtenMs = statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;
  if (writtenMs < sinceMs) throw new Error(`the suite wrote no report to ${file}`);
  return summary(claim, readFileSync(file, "utf8"));
}
