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

const secondsMax = 2 ** 31;
/** Delta-seconds (§1.2.2); undefined when there is none, NaN when it is none. More than can be counted is as much as can be. */
export function seconds(directives: Directives, name: string): number | undefined {
  const text = directives.get(name);
  if (text === undefined) return undefined;
  return /^\d+$/.test(text) ? Math.min(Number(text), secondsMax) : Number.NaN;
}

/** Milliseconds since the epoch of an HTTP-date (RFC 9110 §5.6.7), in any of its three forms; undefined when it is none. */
export function httpDate(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^(?:[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]+day, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4})$/.test(text)) return undefined;
  const ms = Date.parse(text.endsWith("GMT") ? text : `${text} GMT`);
  return Number.isNaN(ms) ? undefined : ms;
}
