/**
 * Names the fields that a JSON text gives twice in one object, which JSON.parse silently merges: upstream's
 * `duplicate field "spec.replicas"`, in document order. The text must be valid JSON (parse it first).
 * Costs about as much as JSON.parse, so it runs only for `fieldValidation` Strict and Warn.
 */
export function duplicateFields(text: string): string[] {
  const found: string[] = [];
  /** Per open container: the keys seen (object) or the index of the element (array). */
  const stack: (Set<string> | number)[] = [];
  const path: string[] = [];
  let key = "";
  let expectKey = false;
  for (let at = 0; at < text.length && found.length < duplicatesMax; at++) {
    switch (text.charCodeAt(at)) {
      case 0x22: {
        const end = endOfString(text, at);
        if (expectKey) {
          const raw = text.slice(at + 1, end);
          key = raw.includes("\\") ? (JSON.parse(`"${raw}"`) as string) : raw;
          const keys = stack.at(-1) as Set<string>;
          if (keys.has(key)) found.push(`duplicate field ${JSON.stringify([...path, key].join("."))}`.replaceAll(".[", "["));
          else keys.add(key);
          expectKey = false;
        }
        at = end;
        break;
      }
      case 0x7b: // {
        if (stack.length > 0) path.push(segmentOf(stack.at(-1)!, key));
        stack.push(new Set());
        expectKey = true;
        break;
      case 0x5b: // [
        if (stack.length > 0) path.push(segmentOf(stack.at(-1)!, key));
        stack.push(0);
        expectKey = false;
        break;
      case 0x7d: // }
      case 0x5d: // ]
        stack.pop();
        path.pop();
        expectKey = false;
        break;
      case 0x2c: {
        // ,
        const top = stack.at(-1);
        if (typeof top === "number") stack[stack.length - 1] = top + 1;
        else expectKey = true;
        break;
      }
    }
  }
  return found;
}

const duplicatesMax = 100;

function segmentOf(container: Set<string> | number, key: string): string {
  return typeof container === "number" ? `[${container}]` : key;
}

/** The index of the quote that closes the string opened at `start`. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  for (;;) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === 0x5c) slashes++;
    if (slashes % 2 === 0 || end < 0) return end < 0 ? text.length : end;
    end = text.indexOf('"', end + 1);
  }
}
