/** How many requests broke a rule. */
export interface RuleCount {
  name: string;
  /** Refused; or, of a rule on trial, what it would have refused. */
  refused: number;
  logged: number;
}

/** What rules have done in one worker since it began, by the names of who shares them. */
export class Tally {
  readonly #counts = new Map<string, Map<string, RuleCount>>();

  add(share: string, name: string, isLogged: boolean): void {
    let rules = this.#counts.get(share);
    if (!rules) this.#counts.set(share, (rules = new Map()));
    let count = rules.get(name);
    if (!count) rules.set(name, (count = { name, refused: 0, logged: 0 }));
    if (isLogged) count.logged++;
    else count.refused++;
  }
  counts(share: string): RuleCount[] {
    return [...(this.#counts.get(share)?.values() ?? [])];
  }
}

/** Of several workers, together; by name. */
export function added(all: readonly (readonly RuleCount[])[]): RuleCount[] {
  const sums = new Map<string, RuleCount>();
  for (const { name, refused, logged } of all.flat()) {
    const sum = sums.get(name);
    sums.set(name, { name, refused: (sum?.refused ?? 0) + refused, logged: (sum?.logged ?? 0) + logged });
  }
  return [...sums.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}
