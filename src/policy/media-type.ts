/** "Application/JSON; charset=utf-8" → "application/json"; "" when there is none. */
export function mediaTypeOf(contentType: string | undefined): string {
  if (contentType === undefined) return "";
  const semicolon = contentType.indexOf(";");
  return (semicolon < 0 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase();
}

/**
 * What makes a body something else than the text that it is here: gzip, UTF-16, UTF-7. Of several charsets readers do not agree which one counts,
 * and `Content_Encoding` is Content-Encoding for those who read it by CGI's rules.
 */
export function hiddenBy(request: { header(name: string): string | undefined }): string | undefined {
  const coding = request.header("content-encoding") ?? request.header("content_encoding");
  if (coding !== undefined && coding.toLowerCase() !== "identity") return coding.slice(0, 40);
  for (const [, charset = ""] of (request.header("content-type") ?? "").matchAll(/;\s*charset\*?\s*=\s*"?([^\s";,]*)/gi)) if (!/^(?:utf-?8|us-ascii|iso-8859-1|windows-1252)$/i.test(charset)) return `charset ${charset.slice(0, 40)}`;
  return undefined;
}

/** Whether one is of a range: "text/*", "application/*+json", "*\/*". */
export function isOfRange(mediaType: string, range: string): boolean {
  if (mediaType === range) return true;
  const star = range.indexOf("*");
  if (star < 0) return false;
  if (range === "*/*") return mediaType !== "";
  const [start, end] = [range.slice(0, star), range.slice(star + 1)];
  return mediaType.length >= start.length + end.length && mediaType.startsWith(start) && mediaType.endsWith(end);
}

export const isJson = (mediaType: string): boolean => mediaType === "application/json" || mediaType.endsWith("+json");
export const isForm = (mediaType: string): boolean => mediaType === "application/x-www-form-urlencoded";

/** The value of the range that fits best: exact ones before those with stars. */
export function chooseByMediaType<T>(choices: readonly (readonly [range: string, value: T])[], mediaType: string): T | undefined {
  let best: T | undefined;
  let length = -1;
  for (const [range, value] of choices) {
    if (!isOfRange(mediaType, range)) continue;
    const rank = range.includes("*") ? range.length : 1000;
    if (rank > length) [best, length] = [value, rank];
  }
  return best;
}
