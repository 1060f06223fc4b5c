import type { FetchKeys } from "../../policy/tokens/reader.ts";

interface KeySet {
  text: string | undefined;
  readonly readers: Set<(text: string | undefined) => void>;
  /** Something is known: what they are, or that they cannot be had. */
  readonly answered: Promise<void>;
  stop(): void;
}

/** Key sets by their addresses, fetched once for all who read them, and kept as long as somebody might. */
export class SharedKeys {
  readonly #fetch: FetchKeys;
  readonly #sets = new Map<string, KeySet>();

  constructor(fetch: FetchKeys) {
    this.#fetch = fetch;
  }

  /** These, and no others. */
  want(uris: ReadonlySet<string>): void {
    for (const [uri, { stop }] of this.#sets) {
      if (uris.has(uri)) continue;
      this.#sets.delete(uri);
      stop();
    }
    for (const uri of uris) {
      if (this.#sets.has(uri)) continue;
      const { promise, resolve } = Promise.withResolvers<void>();
      const set: KeySet = { text: undefined, readers: new Set(), answered: promise, stop: () => {} };
      this.#sets.set(uri, set);
      set.stop = this.#fetch(uri, (text) => {
        set.text = text;
        resolve();
        for (const reader of set.readers) reader(text);
      });
    }
  }
  /** Each was asked for once. */
  async answered(): Promise<void> {
    await Promise.all([...this.#sets.values()].map(({ answered }) => answered));
  }

  /** For {@link TokenReader}; of those that are wanted. */
  readonly read: FetchKeys = (uri, then) => {
    const set = this.#sets.get(uri);
    if (!set) return () => {};
    set.readers.add(then);
    if (set.text !== undefined) then(set.text);
    return () => void set.readers.delete(then);
  };
}
