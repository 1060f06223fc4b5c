import { hexValues, unreserved } from "./bytes.ts";

/**
 * The one normal form of a path (`RequestView.path`), computed once and used for match, policy and upstream alike, so
 * that nobody behind us reads another path than the one we judged. Undefined: it cannot be brought into the form, 400.
 * `keepsSlashes`: a listener that says so has "//" stay.
 *
 * | in the path | becomes | why |
 * |---|---|---|
 * | `%41`, `%7e` | `A`, `~` | the same path by RFC 3986 §6.2.2.2 |
 * | `%2f`, `%c3` | `%2F`, `%C3` | upper case; not decoded |
 * | `//` | `/` | backends that merge would see another path than rules that do not |
 * | `/./`, `/a/../` | `/`, `/` | RFC 3986 §5.2.4, after decoding |
 * | `/..` above the root | 400 | only attacks climb there |
 * | `%2F`, `%5C`, `;x` in a segment | stay | names with a slash (`group%2Fproject`) are in use |
 * | a dot segment beside one of these: `..%2F`, `%5C..`, `..;x` | 400 | backends that decode once more, or cut parameters off, would climb |
 * | `\`, `%00`, `%0D`, `%0A`, `%zz`, bytes above 0x7f | 400 | no name holds them; truncation and injection behind us |
 */
export function normalPath(raw: string, keepsSlashes = false): string | undefined {
  let decoded = "";
  for (let i = 0; i < raw.length; i++) {
    const code = raw.charCodeAt(i);
    if (code !== 0x25) {
      decoded += raw[i];
      continue;
    }
    const high = i + 2 < raw.length ? hexValues[raw.charCodeAt(i + 1)]! : 255;
    const low = i + 2 < raw.length ? hexValues[raw.charCodeAt(i + 2)]! : 255;
    if (high === 255 || low === 255) return undefined;
    const value = high * 16 + low;
    if (value === 0 || value === 10 || value === 13) return undefined;
    decoded += unreserved[value] ? String.fromCharCode(value) : `%${"0123456789ABCDEF"[high]}${"0123456789ABCDEF"[low]}`;
    i += 2;
  }
  const kept: string[] = [];
  const segments = decoded.split("/");
  const last = segments.length - 1;
  for (let i = 1; i <= last; i++) {
    const segment = segments[i]!;
    if (segment === "..") {
      if (kept.pop() === undefined) return undefined;
    } else if (hidesDots(segment)) {
      return undefined;
    } else if (segment !== "." && (segment !== "" || (keepsSlashes && i < last))) {
      kept.push(segment);
      continue;
    }
    // What ends in a dot segment or a slash is a folder.
    if (i === last) kept.push("");
  }
  return `/${kept.join("/")}`;
}

/** Parts that are dot segments for whoever decodes once more, or cuts parameters off. */
function hidesDots(segment: string): boolean {
  if (!segment.includes("%") && !segment.includes(";")) return false;
  return segment.split(/%2F|%5C/).some((part) => /^\.\.?(;|$)/.test(part));
}

/**
 * The host of bytes, as {@link hostOf} has it. Clients name few hosts, again and again: what was found is kept by length and last
 * byte, so that no text is made of those that are known.
 */
export function hostAt(bytes: Buffer, from: number, to: number): string | undefined {
  const length = to - from;
  const slot = (length * 8 + bytes[to - 1]!) & (knownHosts.length - 1);
  const known = knownHosts[slot];
  if (known !== undefined && known.bytes.length === length) {
    let i = 0;
    while (i < length && known.bytes[i] === bytes[from + i]) i++;
    if (i === length) return known.host;
  }
  const host = hostOf(bytes.latin1Slice(from, to));
  // Of its own: a part of a shared buffer would hold on to all of that.
  if (host !== undefined) knownHosts[slot] = { bytes: Uint8Array.from(bytes.subarray(from, to)), host };
  return host;
}
const knownHosts = Array.from<{ bytes: Uint8Array; host: string } | undefined>({ length: 256 });

/** A Host or authority: "name", "name:port", "192.0.2.1", "[::1]:80". Undefined: not one. Lower case, trailing dot removed. */
export function hostOf(authority: string): string | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9A-Za-z_](?:[0-9A-Za-z._-]*[0-9A-Za-z_.-])?))(?::(\d{0,5}))?$/.exec(authority);
  if (!match || Number(match[3] ?? 0) > 65_535) return undefined;
  if (match[1] !== undefined) return match[1].includes(":") ? `[${match[1].toLowerCase()}]` : undefined;
  const name = match[2]!.toLowerCase();
  if (name.includes("..") || name.length > 255) return undefined;
  return name.endsWith(".") ? name.slice(0, -1) : name;
}
