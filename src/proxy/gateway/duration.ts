/** Gateway API's durations (GEP-2257): "1h30m", "250ms"; milliseconds. The schema has proved the shape. */
export function parseDuration(text: string): number {
  const units: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };
  let ms = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|h|m|s)/g)) ms += Number(number) * units[unit!]!;
  return ms;
}
