import { checkRule } from "../../policy/route-table.ts";
import { type Effect, inOrder, type ListenerEffect, type Refusal } from "./effect.ts";
import type { References } from "./references.ts";

/**
 * What a policy comes to, with what is wrong among its refusals: also what only the code that would serve it finds, so that none is called
 * accepted whose routes answer 500, and what cannot be read at all, which must not stop the translation of all others. It is told by the
 * field of `spec` that is wrong by itself.
 */
export function judged(spec: object, references: References, effectOf: (spec: object) => Effect): Effect {
  const attempt = (part: object): Effect => {
    const effect = effectOf(part);
    const wrong = effect.refused.length === 0 && !references.isPending ? checkRule({ name: "", matches: [{ path: { type: "prefix", value: "/" } }], ...effect.rule, filters: inOrder(effect.filters ?? []), backends: [] }) : undefined;
    if (wrong) throw wrong;
    return effect;
  };
  return guarded(spec, attempt);
}

export const judgedListener = (spec: object, effectOf: (spec: object) => ListenerEffect): ListenerEffect => guarded(spec, effectOf);

function guarded<T extends { refused: Refusal[] }>(spec: object, attempt: (spec: object) => T): T | { refused: Refusal[] } {
  const tried = tryOut(spec, attempt);
  if (!tried.error) return tried.effect!;
  const refused = Object.entries(spec).flatMap(([field, value]): Refusal[] => {
    const { error } = tryOut({ [field]: value }, attempt);
    return error ? [{ field, why: `is wrong: ${inWords(error)}` }] : [];
  });
  return { refused: refused.length > 0 ? refused : [{ field: Object.keys(spec).sort().join(", "), why: `is wrong: ${inWords(tried.error)}` }] };
}
function tryOut<T>(spec: object, attempt: (spec: object) => T): { effect?: T; error?: Error } {
  try {
    return { effect: attempt(spec) };
  } catch (error) {
    return { error: error as Error };
  }
}

/** Without our own name of the filter, which nobody has written. */
const inWords = ({ message }: Error): string => message.replace(/^filters\[\d+\][.:]? ?/, "");
