/**
 * Smooth weighted round robin, as nginx does it: over one cycle (the sum of the weights) each gets exactly its weight, and
 * those of great weight are spread over the cycle instead of served in a row.
 */
export class SmoothWeights {
  readonly #weights: readonly number[];
  readonly #current: number[];
  readonly #total: number;
  /** The only one with a weight: nothing to count. */
  readonly #only: number;

  constructor(weights: readonly number[]) {
    this.#weights = weights;
    this.#current = weights.map(() => 0);
    this.#total = weights.reduce((sum, weight) => sum + weight, 0);
    this.#only = weights.filter((weight) => weight > 0).length === 1 ? weights.findIndex((weight) => weight > 0) : -1;
  }

  /** An index; -1 when all weights are 0. */
  next(): number {
    if (this.#only >= 0 || this.#total === 0) return this.#only;
    let best = -1;
    for (let i = 0; i < this.#weights.length; i++) {
      if (this.#weights[i] === 0) continue;
      this.#current[i]! += this.#weights[i]!;
      if (best < 0 || this.#current[i]! > this.#current[best]!) best = i;
    }
    this.#current[best]! -= this.#total;
    return best;
  }
}
