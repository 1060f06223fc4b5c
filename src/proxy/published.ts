/** value → ids, for "who is concerned by this". */
export class Index {
  readonly #ids = new Map<string, Set<string>>();

  get(value: string): ReadonlySet<string> {
    return this.#ids.get(value) ?? new Set();
  }
  move(id: string, from: readonly string[], to: readonly string[]): void {
    for (const value of from) {
      const ids = this.#ids.get(value);
      ids?.delete(id);
      if (ids?.size === 0) this.#ids.delete(value);
    }
    for (const value of to) {
      const ids = this.#ids.get(value);
      if (ids) ids.add(id);
      else this.#ids.set(value, new Set([id]));
    }
  }
}

/** What the engine has, and what it has not been told yet. */
export class Published<T extends { id: string }> {
  readonly #values = new Map<string, { value: T; text: string }>();
  readonly #put = new Set<string>();
  readonly #removed = new Set<string>();

  values(): T[] {
    return [...this.#values.values()].map(({ value }) => value);
  }
  put(id: string, value: T): void {
    const known = this.#values.get(id);
    if (known?.value === value) return;
    const text = JSON.stringify(value);
    if (known?.text === text) return;
    this.#values.set(id, { value, text });
    this.#put.add(id);
    this.#removed.delete(id);
  }
  remove(id: string): void {
    if (!this.#values.delete(id)) return;
    this.#put.delete(id);
    this.#removed.add(id);
  }
  take(): { put: T[]; remove: string[] } | undefined {
    if (this.#put.size === 0 && this.#removed.size === 0) return undefined;
    const taken = { put: [...this.#put].map((id) => this.#values.get(id)!.value), remove: [...this.#removed] };
    this.#put.clear();
    this.#removed.clear();
    return taken;
  }
}
