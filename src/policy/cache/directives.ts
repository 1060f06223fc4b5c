/** Directives of Cache-Control by their lower-case names; "" where one has no value. Source: RFC 9111 §5.2, RFC 9110 §5.6. */
export type Directives = ReadonlyMap<string, string>;

const none: Directives = new Map();
const one = /\s*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+\-.^_`|~0-9A-Za-z]*)))?\s*(?:,|$)/y;

/**
 * Of a directive that is there more than once the first counts, as RFC 9111 §4.2.1 advises. What cannot be read is passed over up
 * to the next comma: a directive that is not understood must be ignored, and its neighbours must not be.
 */
export function parseDirectives(text: string | undefined): Directives {
  if (text === undefined || text === "") return none;
  const found = new Map<string, string>();
  let at = 0;
  while (at < text.length) {
    one.lastIndex = at;
    const match = one.exec(text);
    if (!match) {
      const comma = text.indexOf(",", at);
      if (comma < 0) break;
      at = comma + 1;
      continue;
    }
    at = one.lastIndex;
    const name = match[1]!.toLowerCase();
    if (!found.has(name)) found.set(name, match[2]?.replaceAll(/\\(.)/g, "$1") ?? match[3] ?? "");
  }
  return found;
}

/** RFC 9651 §3.3: a number, a string, a token, bytes, or a boolean. */
const item = String.raw`-?\d{1,12}\.\d{1,3}|-?\d{1,15}|\?[01]|"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|[A-Za-z*][!#$%&'*+\-.^_\x60|~0-9A-Za-z:/]*|:[A-Za-z0-9+/=]*:`;
const key = "[a-z*][a-z0-9_.*-]*";
const member = new RegExp(String.raw`(${key})(?:=(${item}))?(?:;[ ]*${key}(?:=(?:${item}))?)*[ \t]*(?:,[ \t]*(?=.)|$)`, "y");
/** A structured field's dictionary (RFC 9651 §3.2): the last of a name counts; undefined when it is none, and then all of it is ignored. */
function parseDictionary(text: string): Directives | undefined {
  const found = new Map<string, string>();
  for (let at = text.length - text.trimStart().length; at < text.length; at = member.lastIndex) {
    member.lastIndex = at;
    const match = member.exec(text);
    if (!match) return undefined;
    const [, name, value] = match;
    found.delete(name!);
    // A directive of a type that it cannot have says nothing.
    if (value === undefined || value === "?1") found.set(name!, "");
    else if (/^\d+$/.test(value)) found.set(name!, value);
  }
  return found.size > 0 ? found : undefined;
}

/** What an answer says to a gateway's cache: where `CDN-Cache-Control` is there and can be read, that alone (RFC 9213), and Expires counts no more. */
export function controlOf(fields: { get(name: string): string | undefined }): { directives: Directives; isTargeted: boolean } {
  const targeted = fields.get("cdn-cache-control");
  const told = targeted === undefined ? undefined : parseDictionary(targeted);
  return told ? { directives: told, isTargeted: true } : { directives: parseDirectives(fields.get("cache-control")), isTargeted: false };
}

const secondsMax = 2 ** 31;
/** Delta-seconds (§1.2.2); undefined when there is none, NaN when it is none. More than can be counted is as much as can be. */
export function seconds(directives: Directives, name: string): number | undefined {
  const text = directives.get(name);
  if (text === undefined) return undefined;
  return /^\d+$/.test(text) ? Math.min(Number(text), secondsMax) : Number.NaN;
}

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const clock = String.raw`(\d{2}):(\d{2}):(\d{2})`;
const month = String.raw`([a-z]{3})`;
/** `Sun, 06 Nov 1994 08:49:37 GMT`; `Sunday, 06-Nov-94 08:49:37 GMT`; `Sun Nov  6 08:49:37 1994`. */
const fixed = new RegExp(`^[a-z]{3}, (\\d{2}) ${month} (\\d{4}) ${clock} gmt$`, "i");
const old = new RegExp(`^[a-z]{6,9}, (\\d{2})-${month}-(\\d{2}) ${clock} gmt$`, "i");
const asctime = new RegExp(`^[a-z]{3} ${month} ([ \\d]\\d) ${clock} (\\d{4})$`, "i");

/**
 * Milliseconds since the epoch of an HTTP-date (RFC 9110 §5.6.7), in any of its three forms, in whatever case; undefined when it is
 * none. A year of two digits is the one nearest to `nowMs` that is not more than 50 years ahead.
 */
export function httpDate(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  let found = fixed.exec(text);
  if (found) return instant(Number(found[3]), found[2]!, found[1]!, found, 4);
  found = old.exec(text);
  if (found) {
    const now = new Date(nowMs).getUTCFullYear();
    const year = now - (now % 100) + Number(found[3]);
    return instant(year > now + 50 ? year - 100 : year <= now - 50 ? year + 100 : year, found[2]!, found[1]!, found, 4);
  }
  found = asctime.exec(text);
  return found ? instant(Number(found[6]), found[1]!, found[2]!, found, 3) : undefined;
}
function instant(year: number, monthName: string, dayText: string, found: readonly string[], at: number): number | undefined {
  const monthIndex = months.indexOf(monthName.toLowerCase());
  const [day, hour, minute, second] = [Number(dayText), Number(found[at]), Number(found[at + 1]), Number(found[at + 2])];
  // A leap second may be told, and is the next minute's first.
  if (monthIndex < 0 || hour > 23 || minute > 59 || second > 60) return undefined;
  const date = new Date(0);
  date.setUTCFullYear(year, monthIndex, day);
  return date.getUTCMonth() === monthIndex && date.getUTCDate() === day ? date.setUTCHours(hour, minute, second, 0) : undefined;
}
