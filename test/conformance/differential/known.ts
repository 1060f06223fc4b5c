import type { Answer, Difference } from "./compare.ts";
import type { Request } from "./generate.ts";

/** A difference that stays, with its reason. The list is short, and each line is a promise to a reader of the score. */
export interface Known {
  reason: string;
  is(request: Request, difference: Difference, ours: Answer, theirs: Answer): boolean;
}

export const known: readonly Known[] = [
  { reason: "kinds that are stored and not acted on carry a warning of ours", is: (_, { at, ours, theirs }) => at === "warnings" && (ours as string[]).filter((text) => !text.startsWith("Wherry stores this")).length === (theirs as string[]).length && (theirs as string[]).every((text) => (ours as string[]).includes(text)) },
];
