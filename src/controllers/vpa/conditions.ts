import { type Condition, withCondition } from "../../api/meta.ts";
import type { VerticalPodAutoscaler } from "../../api/vpa/types.ts";

export interface Found {
  /** Why the target cannot be followed. */
  problem: string | undefined;
  hasPods: boolean;
  isProvided: boolean;
}

/** status.conditions in order of their types; those that do not hold are not there. Source: recommender/model/vpa.go. */
export function conditionsOf({ status }: VerticalPodAutoscaler, { problem, hasPods, isProvided }: Found, nowMs: number): Condition[] {
  const nobody = { reason: "NoPodsMatched", message: "No pods match this VPA object" };
  const wanted: Condition[] = [
    ...(problem === undefined ? [] : [{ type: "ConfigUnsupported", status: "True", message: problem } as Condition]),
    ...(hasPods ? [] : [{ type: "NoPodsMatched", status: "True", ...nobody } as Condition]),
    { type: "RecommendationProvided", status: isProvided ? "True" : "False", ...(!isProvided && !hasPods && nobody) } as Condition,
  ];
  let conditions = (status?.conditions ?? []).filter(({ type }) => wanted.some((condition) => condition.type === type));
  for (const condition of wanted) conditions = withCondition(conditions, condition, nowMs);
  return conditions.toSorted((a, b) => (a.type < b.type ? -1 : 1));
}
