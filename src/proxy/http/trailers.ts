import type { HeaderEdits } from "../../policy/exchange.ts";
import type { Trailers } from "./asker.ts";
import { idOfName } from "./bytes.ts";
import { lateNames } from "./chunks.ts";
import { twinless } from "./compose.ts";

/**
 * Those of a request that may follow it (RFC 9110 §6.5): none that frames, routes or authenticates, none that a gateway speaks for,
 * and none that the rule sets or removes. A program may merge them with its headers, and then they must not say more than those.
 */
export function trailersToPass(trailers: Trailers, edits: HeaderEdits | undefined): Trailers {
  if (trailers.length === 0) return trailers;
  const ruled = new Set(edits ? [...edits.remove, ...edits.set.map(([name]) => name)].map(twinless) : []);
  return trailers.filter(([name]) => {
    const twin = twinless(name);
    return idOfName(twin) === 0 && !lateNames.test(twin) && !ruled.has(twin);
  });
}
