import type { EventData } from "node:test";

/** A reporter for tools/test.ts: a line for each test file, with the milliseconds that its tests took. */
export default async function* fileTimes(events: AsyncIterable<{ type: string; data: Partial<EventData.TestPass> }>): AsyncGenerator<string> {
  const times = new Map<string, number>();
  for await (const { type, data } of events) {
    if ((type !== "test:pass" && type !== "test:fail") || data.nesting !== 0 || !data.file) continue;
    times.set(data.file, (times.get(data.file) ?? 0) + (data.details?.duration_ms ?? 0));
  }
  for (const [file, ms] of times) yield `${Math.round(ms)} ${file}\n`;
}
