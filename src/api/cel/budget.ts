import { CelBudgetError } from "./errors.ts";

/** What one evaluation may cost. Source: k8s.io/apiserver/pkg/apis/cel/config.go. */
export const PER_CALL_LIMIT = 1_000_000;
/** What all evaluations for one request may cost together. */
export const PER_REQUEST_LIMIT = 10_000_000;

/** Cost units that are left for a request. */
export class CostBudget {
  #remaining: number;

  constructor(limit: number) {
    this.#remaining = limit;
  }

  get remaining(): number {
    return this.#remaining;
  }

  /** @throws CelBudgetError when that was more than was left. */
  spend(cost: number): void {
    this.#remaining -= cost;
    if (this.#remaining < 0) throw new CelBudgetError("validation failed due to running out of cost budget, no further validation rules will be run");
  }
}
