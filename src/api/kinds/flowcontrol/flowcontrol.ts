import type { Strategy } from "../../kind.ts";
import { ageOf, countText, name, text } from "../columns.ts";

/** Acted on by apiserver/fairness. Source: k8s.io/kubernetes/pkg/apis/flowcontrol/v1/defaults.go. */
export const flowSchema: Strategy = {
  hasStatus: true,
  defaults(object) {
    (object.spec ??= {}).matchingPrecedence ||= 1000;
  },
  prepareForCreate(object) {
    object.status = {};
  },
  columns: [
    name,
    text("PriorityLevel", ({ spec }) => spec?.priorityLevelConfiguration?.name),
    countText("MatchingPrecedence", ({ spec }) => spec?.matchingPrecedence),
    text("DistinguisherMethod", ({ spec }) => spec?.distinguisherMethod?.type, "<none>"),
    ageOf,
    text("MissingPL", ({ status }) => (status?.conditions ?? []).find((condition: { type: string }) => condition.type === "Dangling")?.status, "?"),
  ],
};

const limited = (field: string) => ({ spec }: any): string => {
  const value = field === "nominalConcurrencyShares" ? spec?.limited?.[field] : spec?.limited?.limitResponse?.queuing?.[field];
  return value === undefined ? "" : String(value);
};

export const priorityLevelConfiguration: Strategy = {
  hasStatus: true,
  defaults(object) {
    const spec = (object.spec ??= {});
    if (spec.type === "Limited" && spec.limited) {
      spec.limited.nominalConcurrencyShares ??= 30;
      spec.limited.lendablePercent ??= 0;
      const queuing = spec.limited.limitResponse?.queuing;
      if (queuing) {
        queuing.queues ||= 64;
        queuing.handSize ||= 8;
        queuing.queueLengthLimit ||= 50;
      }
    }
    if (spec.type === "Exempt") {
      const exempt = (spec.exempt ??= {});
      exempt.nominalConcurrencyShares ??= 0;
      exempt.lendablePercent ??= 0;
    }
  },
  prepareForCreate(object) {
    object.status = {};
  },
  columns: [
    name,
    text("Type", ({ spec }) => spec?.type),
    text("NominalConcurrencyShares", limited("nominalConcurrencyShares"), "<none>"),
    text("Queues", limited("queues"), "<none>"),
    text("HandSize", limited("handSize"), "<none>"),
    text("QueueLengthLimit", limited("queueLengthLimit"), "<none>"),
    ageOf,
  ],
};
