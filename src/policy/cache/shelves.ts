/** What may be emptied: of the keys that fit, how many there were. */
export interface Purgeable {
  purge(fits: (key: string) => boolean): number;
}

/** The caches of one worker by name, to be emptied from outside. One that nobody uses any more is forgotten. */
export class Shelves {
  readonly #named = new Map<string, Set<WeakRef<Purgeable>>>();

  add(name: string, shelf: Purgeable): void {
    const known = this.#named.get(name) ?? new Set();
    for (const one of known) {
      const there = one.deref();
      if (there === shelf) return;
      if (!there) known.delete(one);
    }
    this.#named.set(name, known.add(new WeakRef(shelf)));
  }

  /**
   * Empties what is kept under `name`; of it what begins with `prefix`, which is a host and a path ("shop.example/products"), or a
   * path of any host ("/products"); "" is all. How many answers went, their variants counted once.
   */
  purge(name: string, prefix: string): number {
    const fits = (key: string): boolean => {
      const from = key.indexOf("://") + 3;
      return key.startsWith(prefix, prefix.startsWith("/") ? key.indexOf("/", from) : from);
    };
    let gone = 0;
    for (const one of this.#named.get(name) ?? []) gone += one.deref()?.purge(fits) ?? 0;
    return gone;
  }
}
