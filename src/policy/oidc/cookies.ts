/** Browsers take cookies of 4096 bytes, name and attributes among them. */
const pieceChars = 3_600;
/** More of them, and heads would be longer than servers take. */
export const piecesMax = 8;

/** What all cookies of one policy have in common. */
export interface CookieShape {
  secure: boolean;
  sameSite?: "Lax" | "Strict" | "None";
  domain?: string;
}

/** The cookies of a request, the first of each name. */
export function readCookies(header: string | undefined): Map<string, string> {
  const cookies = new Map<string, string>();
  for (const pair of (header ?? "").split(/;\s*|,\s+/)) {
    const at = pair.indexOf("=");
    const name = pair.slice(0, at).trim();
    if (at > 0 && !cookies.has(name)) cookies.set(name, pair.slice(at + 1).trim());
  }
  return cookies;
}

/** A value of any length in as many cookies as it needs: NAME has "COUNT.PIECE", NAME.1 and so on the rest. Undefined: there is none that is whole. */
export function joinCookie(cookies: ReadonlyMap<string, string>, name: string): string | undefined {
  const [, digits, first] = /^([1-8])\.(.*)$/s.exec(cookies.get(name) ?? "") ?? [];
  if (digits === undefined) return undefined;
  const pieces = [first!];
  for (let i = 1; i < Number(digits); i++) {
    const piece = cookies.get(`${name}.${i}`);
    if (piece === undefined) return undefined;
    pieces.push(piece);
  }
  return pieces.join("");
}
/** Lines of Set-Cookie; those that a longer value has left in the browser go. Undefined: it is too long for any browser. */
export function splitCookie(name: string, value: string, maxAgeSeconds: number, shape: CookieShape, before: ReadonlyMap<string, string>): string[] | undefined {
  const pieces = value.match(new RegExp(`.{1,${pieceChars}}`, "gs")) ?? [""];
  if (pieces.length > piecesMax) return undefined;
  const lines = pieces.map((piece, i) => setCookie(i === 0 ? name : `${name}.${i}`, i === 0 ? `${pieces.length}.${piece}` : piece, maxAgeSeconds, shape));
  for (let i = pieces.length; i < piecesMax; i++) if (before.has(`${name}.${i}`)) lines.push(setCookie(`${name}.${i}`, "", 0, shape));
  return lines;
}
/** Of a value in whatever number of cookies. */
export function dropCookie(name: string, shape: CookieShape, before: ReadonlyMap<string, string>): string[] {
  const names = [name, ...Array.from({ length: piecesMax - 1 }, (_, i) => `${name}.${i + 1}`)];
  return names.filter((one) => before.has(one)).map((one) => setCookie(one, "", 0, shape));
}

export function setCookie(name: string, value: string, maxAgeSeconds: number, { secure, sameSite, domain }: CookieShape): string {
  return `${name}=${value}; Path=/; Max-Age=${Math.max(0, Math.floor(maxAgeSeconds))}${domain === undefined ? "" : `; Domain=${domain}`}; HttpOnly${secure ? "; Secure" : ""}${sameSite === undefined ? "" : `; SameSite=${sameSite}`}`;
}
