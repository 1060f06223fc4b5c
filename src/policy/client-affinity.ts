/**
 * Which endpoint a client used last. An entry ends `timeoutMs` after its client's last connection; when `max`
 * clients are known the one that has been silent for longest is forgotten.
 */
export class ClientAffinity {
  readonly #entries = new Map<string, { endpoint: string; seenMs: number }>();
  readonly #max: number;
  timeoutMs: number;

  constructor(timeoutMs: number, max: number) {
    this.timeoutMs = timeoutMs;
    this.#max = max;
  }
  get size(): number {
    return this.#entries.size;
  }
  get(client: string, nowMs: number): string | undefined {
    const entry = this.#entries.get(client);
    if (entry && nowMs - entry.seenMs < this.timeoutMs) return entry.endpoint;
    if (entry) this.#entries.delete(client);
    return undefined;
  }
  set(client: string, endpoint: string, nowMs: number): void {
    this.#entries.delete(client);
    this.#entries.set(client, { endpoint, seenMs: nowMs });
    if (this.#entries.size > this.#max) this.#entries.delete(this.#entries.keys().next().value!);
  }
}
