import type { Json } from "./document.ts";

/** A field that cannot be done as it is written: the operation is not served without it. */
export class NotHonoured extends Error {
  constructor(field: string, why: string) {
    super(`${field} ${why}`);
  }
}

/** Of an integration: they say nothing of how a request is served. */
const ignored = new Set(["type", "payloadFormatVersion"]);

export function refuseOthers(given: Record<string, Json>, known: readonly string[], at?: string): void {
  for (const field of Object.keys(given)) if (!known.includes(field) && (at !== undefined || !ignored.has(field))) throw new NotHonoured(at === undefined ? field : `${at}.${field}`, "is not honoured");
}
