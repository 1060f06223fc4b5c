import type { Json } from "./json.ts";

/** A field that cannot be done as it is written: the operation is not served without it. */
export class NotHonoured extends Error {
  constructor(field: string, why: string) {
    super(`${field} ${why}`);
  }
}

export function refuseOthers(given: Record<string, Json>, known: readonly string[], at?: string): void {
  for (const field of Object.keys(given)) if (!known.includes(field)) throw new NotHonoured(at === undefined ? field : `${at}.${field}`, "is not honoured");
}
