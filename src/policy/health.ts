import type { HealthCheck } from "../api/traffic-health.ts";

/** What one check has come to: `silent` is no answer in time, no connection, or an answer that decides nothing by itself. */
export type Finding = "well" | "silent" | "unwell";

/**
 * What checks make of one endpoint. Of one that was never checked the first decides, if it is good; a wrong answer decides at once,
 * silence when it lasts. Source for the rules: Envoy, "Health checking", and source/common/upstream/health_checker_impl.cc.
 */
export class EndpointHealth {
  /** Undefined before anything was found. */
  isWell: boolean | undefined;
  #good = 0;
  #bad = 0;

  /** Whether it is otherwise now. */
  learn(finding: Finding, { unhealthyThreshold, healthyThreshold }: Pick<HealthCheck, "unhealthyThreshold" | "healthyThreshold">): boolean {
    const before = this.isWell;
    if (finding === "well") {
      this.#bad = 0;
      this.#good++;
      if (before === undefined || this.#good >= healthyThreshold) this.isWell = true;
    } else {
      this.#good = 0;
      this.#bad++;
      // Nobody has vouched for one that is new: it need not fail so often to be what it was taken for.
      if (before === undefined || finding === "unwell" || this.#bad >= unhealthyThreshold) this.isWell = false;
    }
    return this.isWell !== before;
  }
}
