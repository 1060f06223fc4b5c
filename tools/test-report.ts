import type { EventData } from "node:test";

/** What tools/test.ts reads of a suite: a line of JSON for each test file's time and for each test that failed by itself. */
export type TestReport = { file: string; ms: number } | { file: string; failed: string; error: string };

/** The reporter that writes them. A test that failed only because one below it did is left out: the one below says why. */
export default async function* testReport(events: AsyncIterable<{ type: string; data: Partial<EventData.TestFail> }>): AsyncGenerator<string> {
  const times = new Map<string, number>();
  for await (const { type, data } of events) {
    if ((type !== "test:pass" && type !== "test:fail") || !data.file) continue;
    const error = type === "test:fail" ? (data.details?.error as Error & { failureType?: string }) : undefined;
    if (error && error.failureType !== "subtestsFailed") yield line({ file: data.file, failed: data.name ?? "", error: text(error) });
    if (data.nesting === 0) times.set(data.file, (times.get(data.file) ?? 0) + (data.details?.duration_ms ?? 0));
  }
  for (const [file, ms] of times) yield line({ file, ms });
}

const line = (report: TestReport): string => `${JSON.stringify(report)}\n`;

/** node:test wraps what a test threw; the wrapped one has the message and the place, and may have a cause again (`fetch failed`). */
function text(error: Error): string {
  const { cause } = error;
  if (!(cause instanceof Error)) return String(cause ?? error.message);
  return `${cause.stack ?? cause.message}${cause.cause === undefined ? "" : `\ncaused by ${String(cause.cause)}`}`;
}
