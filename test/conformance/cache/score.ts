/** What the suite has found of one cache: for each test `true`, or the name of what went wrong with its message. */
export type Results = Record<string, true | [name: string, message: string]>;

export interface SuiteTest {
  id: string;
  name: string;
  /** Absent: required. A check has no right answer. */
  kind?: "required" | "optimal" | "check";
  browser_only?: boolean;
  depends_on?: string[];
}
export interface Group {
  id: string;
  name: string;
  tests: SuiteTest[];
}

export type Kind = "required" | "optimal" | "check";
export interface Score {
  passed: Record<Kind, number>;
  total: Record<Kind, number>;
  /** Those that count and did not pass. */
  failed: { id: string; kind: Kind; name: string; message: string }[];
}

export const kindOf = ({ kind }: SuiteTest): Kind => kind ?? "required";

/** Every test that is not for browsers alone; what a test depends on does not change its own result here. */
export function scoreOf(groups: readonly Group[], results: Results): Score {
  const score: Score = { passed: { required: 0, optimal: 0, check: 0 }, total: { required: 0, optimal: 0, check: 0 }, failed: [] };
  for (const test of groups.flatMap(({ tests }) => tests)) {
    if (test.browser_only) continue;
    const kind = kindOf(test);
    const result = results[test.id];
    score.total[kind]++;
    if (result === true) score.passed[kind]++;
    else if (kind !== "check") score.failed.push({ id: test.id, kind, name: test.name, message: result?.[1] ?? "not run" });
  }
  return score;
}

/** Tests whose requests were not answered in time: of the machine's load, as long as they pass alone. */
export const unanswered = (results: Results): string[] => Object.entries(results).flatMap(([id, result]) => (result !== true && result[0] === "AbortError" ? [id] : []));

/** A committed file: a row for each cache, and what ours does otherwise than the suite wants, with its reason. */
export function reportOf(caches: readonly { name: string; score: Score }[], reasons: Readonly<Record<string, string>>): string {
  const cell = (score: Score, kind: Kind) => `${score.passed[kind]} of ${score.total[kind]}`;
  const lines = ["# The public cache tests, of caches side by side", "", "`npm run conformance:cache` writes this file; the suite is http-tests/cache-tests (BSD-3-Clause), brought by `tools/cache-tests.sh`. A check has no right answer: yes is counted.", "", "| cache | required | optimal | checks |", "|---|---|---|---|"];
  for (const { name, score } of caches) lines.push(`| ${name} | ${cell(score, "required")} | ${cell(score, "optimal")} | ${cell(score, "check")} |`);
  lines.push("", "## What Wherry's does otherwise", "", "| test | kind | what happens | why |", "|---|---|---|---|");
  for (const { id, kind, message } of caches[0]!.score.failed) lines.push(`| ${id} | ${kind} | ${message.replaceAll("|", "\\|")} | ${reasons[id] ?? "**not explained**"} |`);
  return `${lines.join("\n")}\n`;
}

/** What ours must not do: fail a test for no reason that is written down. And a reason that is none any more is to go. */
export function faults({ failed }: Score, reasons: Readonly<Record<string, string>>): string[] {
  const ids = new Set(failed.map(({ id }) => id));
  return [...failed.filter(({ id }) => !(id in reasons)).map(({ id, kind, message }) => `${id} (${kind}): ${message}`), ...Object.keys(reasons).filter((id) => !ids.has(id)).map((id) => `${id} passes: its reason can go`)];
}
