import { accountKey, type MeshAccount, type MeshIdentity } from "../../api/mesh-identity.ts";
import { renewAt } from "./renewal.ts";

/**
 * In `wherry`: the identities that workers have asked for. A worker that begins gets them, whether or not `wherry-api` is there;
 * half of its time before its end each is asked for anew, by whoever needs it next. In memory alone.
 */
export class IdentityCache {
  readonly #issue: (account: MeshAccount) => Promise<MeshIdentity>;
  readonly #now: () => number;
  readonly #known = new Map<string, MeshIdentity>();
  #roots: string | undefined;

  /** `now`: milliseconds since the epoch. */
  constructor(issue: (account: MeshAccount) => Promise<MeshIdentity>, now: () => number) {
    this.#issue = issue;
    this.#now = now;
  }

  /** Those that are good still. */
  identities(): MeshIdentity[] {
    const now = this.#now();
    for (const [key, { notAfter }] of this.#known) if (notAfter <= now) this.#known.delete(key);
    return [...this.#known.values()];
  }

  async of(account: MeshAccount): Promise<MeshIdentity> {
    const key = accountKey(account);
    const known = this.#known.get(key);
    const now = this.#now();
    if (known && now < renewAt(known)) return known;
    try {
      const identity = await this.#issue(account);
      // What was signed before roots changed, and came after it, is of no use.
      if (this.#roots === undefined || this.#roots === identity.roots) this.#known.set(key, identity);
      return identity;
    } catch (error) {
      // Nobody can sign at the moment.
      if (known && this.#known.get(key) === known && now < known.notAfter) return known;
      throw error;
    }
  }

  /** Returns whether others are trusted than before, so that all that is known is void. */
  trust(roots: string): boolean {
    this.#roots = roots;
    const isVoid = [...this.#known.values()].some((identity) => identity.roots !== roots);
    if (isVoid) this.#known.clear();
    return isVoid;
  }
}
