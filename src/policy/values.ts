/** Looking single values up in what a request carries, without parsing the rest. */

/** The parameters of a query or a form: a question mark at its beginning is part of a name, which URLSearchParams would take away. */
export const parametersOf = (query: string): URLSearchParams => new URLSearchParams(query.startsWith("?") ? `?${query}` : query);

/** The first value of a query parameter, decoded; undefined when there is none. */
export function queryValue(query: string, name: string): string | undefined {
  let start = 0;
  while (start < query.length) {
    let end = query.indexOf("&", start);
    if (end < 0) end = query.length;
    let equals = query.indexOf("=", start);
    if (equals < 0 || equals > end) equals = end;
    if (query.startsWith(name, start) && start + name.length === equals) return decoded(query.slice(equals + 1, end));
    // A name that is written otherwise is still the same name.
    if (equals - start > name.length && decoded(query.slice(start, equals)) === name) return decoded(query.slice(equals + 1, end));
    start = end + 1;
  }
  return undefined;
}

function decoded(text: string): string {
  if (!text.includes("%") && !text.includes("+")) return text;
  const spaced = text.replaceAll("+", " ");
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}

/** The first cookie of this name in a Cookie header, as it stands there, without quotes. Source: RFC 6265 §5.2. */
export function cookieValue(header: string | undefined, name: string): string | undefined {
  if (header === undefined) return undefined;
  let start = 0;
  while (start < header.length) {
    while (header[start] === " " || header[start] === "\t") start++;
    let end = header.indexOf(";", start);
    // Repeated Cookie headers are one value here, joined by a comma.
    const comma = header.indexOf(", ", start);
    if (comma >= 0 && (end < 0 || comma < end)) end = comma;
    if (end < 0) end = header.length;
    if (header.startsWith(name, start) && header[start + name.length] === "=") {
      const value = header.slice(start + name.length + 1, end).trim();
      return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    }
    start = end + 1;
  }
  return undefined;
}
