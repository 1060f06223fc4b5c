/**
 * The scalars that Go decodes by code of their own: times and bytes. Each function returns the canonical text or
 * throws an Error with Go's message.
 * Source: Go's time.Parse and encoding/base64; k8s.io/apimachinery/pkg/apis/meta/v1/{time,micro_time}.go.
 */
export class ScalarError extends Error {}

const secondsLayout = "2006-01-02T15:04:05Z07:00";
const microLayout = "2006-01-02T15:04:05.000000Z07:00";
const canonicalSeconds = /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ$/;
const rfc3339 = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)$/;

/** RFC 3339 of any zone → UTC with whole seconds. */
export function canonicalTime(text: string): string {
  // Days up to 29 exist in every month but one; the slow way looks at the rest.
  if (canonicalSeconds.test(text) && text.slice(8, 10) !== "29") return text;
  return timeText(parseTime(text, secondsLayout));
}

/** Milliseconds since the epoch → UTC with whole seconds. */
export const timeText = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");

/** RFC 3339 with exactly six digits of fraction → the same in UTC. */
export function canonicalMicroTime(text: string): string {
  const micros = /\.(\d{6})(?:Z|[+-]\d\d:\d\d)$/.exec(text)?.[1];
  if (micros === undefined) throw unparsable(text, microLayout);
  return new Date(parseTime(text, microLayout)).toISOString().replace(/\.\d+Z$/, `.${micros}Z`);
}

function parseTime(text: string, layout: string): number {
  const match = rfc3339.exec(text);
  if (!match) throw unparsable(text, layout);
  const [, year, month, day, hour, minute, second, , zone] = match as unknown as string[];
  const days = new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate();
  const wrong = Number(month) < 1 || Number(month) > 12 ? "month" : Number(day) < 1 || Number(day) > days ? "day" : Number(hour) > 23 ? "hour" : Number(minute) > 59 ? "minute" : Number(second) > 59 ? "second" : undefined;
  if (wrong) throw new ScalarError(`parsing time ${JSON.stringify(text)}: ${wrong} out of range`);
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}${zone}`);
}

const layoutParts = (layout: string): [RegExp, string][] => [
  [/^\d{4}/, "2006"],
  [/^-/, "-"],
  [/^\d\d/, "01"],
  [/^-/, "-"],
  [/^\d\d/, "02"],
  [/^T/, "T"],
  [/^\d\d/, "15"],
  [/^:/, ":"],
  [/^\d\d/, "04"],
  [/^:/, ":"],
  ...(layout === microLayout ? ([[/^\d\d/, "05"], [/^\.\d{6}/, ".000000"]] as [RegExp, string][]) : ([[/^\d\d(?:[.,]\d+)?/, "05"]] as [RegExp, string][])),
  [/^(?:Z|[+-]\d\d:\d\d)/, "Z07:00"],
];

/** Says where Go's time.Parse gives up: the rest of the text, and the part of the layout that it wanted there. */
function unparsable(text: string, layout: string): ScalarError {
  let rest = text;
  for (const [pattern, wanted] of layoutParts(layout)) {
    const match = pattern.exec(rest);
    if (!match) return new ScalarError(`parsing time ${JSON.stringify(text)} as ${JSON.stringify(layout)}: cannot parse ${JSON.stringify(rest)} as ${JSON.stringify(wanted)}`);
    rest = rest.slice(match[0].length);
  }
  return new ScalarError(`parsing time ${JSON.stringify(text)}: extra text: ${JSON.stringify(rest)}`);
}

/** Base64 without the line breaks that Go skips. */
export function canonicalBase64(text: string): string {
  const bare = text.includes("\n") || text.includes("\r") ? text.replace(/[\r\n]/g, "") : text;
  const padding = bare.endsWith("==") ? 2 : bare.endsWith("=") ? 1 : 0;
  // One search with a character class: a pattern of the whole would take 60 times as long on a large Secret.
  const wrong = bare.slice(0, bare.length - padding).search(/[^A-Za-z0-9+/]/);
  if (wrong < 0 && bare.length % 4 === 0) return bare;
  throw new ScalarError(`illegal base64 data at input byte ${wrong < 0 ? bare.length - (bare.length % 4) : wrong}`);
}
