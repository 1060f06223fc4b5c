const utf8 = new TextDecoder("utf-8", { fatal: true });
/** Levels of a document; JSON.parse has no bound of its own. */
const levelsMax = 500;

/**
 * A body as JSON. Names that are there twice are refused: which of two members counts, readers do not agree on, and whoever is behind
 * would get what was not judged. So is what is not UTF-8.
 */
export function readJson(bytes: Uint8Array): { value?: unknown; error?: string } {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
  // Whoever writes the replacement character means it; else something was replaced.
  if (text.includes("\ufffd") && !isUtf8(bytes)) return { error: "must be UTF-8" };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { error: `must be JSON: ${(error as Error).message.slice(0, 200)}` };
  }
  const members = membersOf(value, 0);
  if (members < 0) return { error: `must not be nested in more than ${levelsMax} levels` };
  if (members !== colonsIn(bytes)) return { error: "must not have two members of one name in an object" };
  return { value };
}

/** Members of all objects; negative: nested too deeply. */
function membersOf(value: unknown, level: number): number {
  if (typeof value !== "object" || value === null) return 0;
  if (level >= levelsMax) return -Infinity;
  let count = 0;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (typeof value[i] === "object") count += membersOf(value[i], level + 1);
    return count;
  }
  for (const name in value) {
    count++;
    const inner = (value as Record<string, unknown>)[name];
    if (typeof inner === "object") count += membersOf(inner, level + 1);
  }
  return count;
}

/** Colons that are not in strings, of what is JSON: one for each member that was written. */
function colonsIn(bytes: Uint8Array): number {
  let count = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === 0x3a) count++;
    else if (byte === 0x22) {
      for (i++; bytes[i] !== 0x22 && i < bytes.length; i++) if (bytes[i] === 0x5c) i++;
    }
  }
  return count;
}
function isUtf8(bytes: Uint8Array): boolean {
  try {
    utf8.decode(bytes);
    return true;
  } catch {
    return false;
  }
}
