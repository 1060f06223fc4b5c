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

const member = /([a-z*][a-z0-9_.*-]*)(?:=(-?\d{1,15}|\?[01]|-?\d{1,12}\.\d{1,3}|"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*|:[A-Za-z0-9+/=]*:))?(?:;[ ]*[a-z*][a-z0-9_.*-]*(?:=[^;,"]*|="[^"]*")?)*[ \t]*(,[ \t]*(?=.)|$)/y;
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

/** Milliseconds since the epoch of an HTTP-date (RFC 9110 §5.6.7), in any of its three forms; undefined when it is none. */
export function httpDate(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^(?:[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]+day, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4})$/.test(text)) return undefined;
  const ms = Date.parse(text.endsWith("GMT") ? text : `${text} GMT`);
  return Number.isNaN(ms) ? undefined : ms;
}
