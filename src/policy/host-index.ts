/**
 * Values by host name: an exact one, a wildcard ("*.example.com": one label or more before it), or "" for every name.
 * For listeners that share a socket, and for the routes of a listener.
 */
export class HostIndex<T> {
  readonly #exact = new Map<string, T>();
  /** By what follows the asterisk: ".example.com". */
  readonly #wildcards = new Map<string, T>();
  #any: T | undefined;

  get size(): number {
    return this.#exact.size + this.#wildcards.size + (this.#any === undefined ? 0 : 1);
  }
  get(hostname: string): T | undefined {
    return hostname === "" ? this.#any : hostname.startsWith("*.") ? this.#wildcards.get(hostname.slice(1)) : this.#exact.get(hostname);
  }
  set(hostname: string, value: T): void {
    if (hostname === "") this.#any = value;
    else if (hostname.startsWith("*.")) this.#wildcards.set(hostname.slice(1), value);
    else this.#exact.set(hostname, value);
  }
  delete(hostname: string): void {
    if (hostname === "") this.#any = undefined;
    else if (hostname.startsWith("*.")) this.#wildcards.delete(hostname.slice(1));
    else this.#exact.delete(hostname);
  }

  /** The most specific that fits. */
  find(host: string): T | undefined {
    return this.search(host, undefined, (value) => value);
  }

  /**
   * From the most specific to the least: the exact name, longer wildcards before shorter, every name. Ends with the first
   * result that `visit` gives. `context` is handed on, so that nobody has to make a function for each request.
   */
  search<C, R>(host: string, context: C, visit: (value: T, context: C) => R | undefined): R | undefined {
    const exact = this.#exact.get(host);
    if (exact !== undefined) {
      const result = visit(exact, context);
      if (result !== undefined) return result;
    }
    if (this.#wildcards.size > 0) {
      // The first label stands for the asterisk, so it must not be empty.
      for (let dot = host.indexOf(".", 1); dot > 0; dot = host.indexOf(".", dot + 1)) {
        const wildcard = this.#wildcards.get(host.slice(dot));
        if (wildcard === undefined) continue;
        const result = visit(wildcard, context);
        if (result !== undefined) return result;
      }
    }
    return this.#any === undefined ? undefined : visit(this.#any, context);
  }

  *entries(): Generator<[hostname: string, value: T]> {
    yield* this.#exact;
    for (const [suffix, value] of this.#wildcards) yield [`*${suffix}`, value];
    if (this.#any !== undefined) yield ["", this.#any];
  }
}

/** Whether a name of a configuration stands for this host. */
export function hostFits(hostname: string, host: string): boolean {
  if (hostname === "" || hostname === host) return true;
  return hostname.startsWith("*.") && host.length > hostname.length - 1 && host.endsWith(hostname.slice(1));
}
