import type { Answer, Difference } from "./compare.ts";
import type { Request } from "./generate.ts";

/** A difference that stays, with its reason. The list is short, and each line is a promise to a reader of the score. */
export interface Known {
  reason: string;
  is(request: Request, difference: Difference, ours: Answer, theirs: Answer): boolean;
}

export const known: readonly Known[] = [
  { reason: "a resourceVersion that is no number is a conflict here; upstream answers 500", is: (_, __, ours, theirs) => theirs.status === 500 && ours.status === 409 },
  { reason: "kinds that are stored and not acted on carry a warning of ours", is: (_, { at, ours, theirs }) => at === "warnings" && (ours as string[]).filter((text) => !text.startsWith("Wherry stores this")).length === (theirs as string[]).length && (theirs as string[]).every((text) => (ours as string[]).includes(text)) },
];
