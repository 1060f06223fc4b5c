import type { AdmissionRequest, AdmissionStep } from "../../rest/context.ts";
import type { ApiOptions } from "../../api.ts";
import { type CallWebhook } from "../../webhooks/call.ts";
import { semanticEqual } from "../../../api/validation/checks.ts";
import { isExempt } from "../policies/exempt.ts";
import { createConditionEvaluator } from "./conditions.ts";
import { Configurations } from "./configurations.ts";
import { settled } from "./convert.ts";
import { applyPatch, ask, noteMutation } from "./dispatch.ts";
import { isChosen } from "./match.ts";

export type WebhookOptions = Pick<ApiOptions, "store" | "registry" | "log"> & { callWebhook: CallWebhook };

/** What one request's two rounds know of each other. */
interface Rounds {
  /** With reinvocationPolicy IfNeeded, and called since the object last changed. */
  reinvocable: Set<string>;
  /** To be called once more. */
  wanted: Set<string>;
  /** The object as the last webhook left it. */
  output: unknown;
}

/** One after the other, by name of configuration: each sees what those before it have changed. */
export function mutatingWebhooks({ store, registry, log, callWebhook: call }: WebhookOptions): AdmissionStep {
  const configurations = new Configurations(store, registry, "mutatingwebhookconfigurations");
  const conditions = createConditionEvaluator(store);
  const rounds = new WeakMap<AdmissionRequest, Rounds>();
  const dependencies = { log, call };

  async function run(request: AdmissionRequest, candidates: ReturnType<Configurations["candidates"]>): Promise<void> {
    let state = rounds.get(request);
    if (!state) rounds.set(request, (state = { reinvocable: new Set(), wanted: new Set(), output: undefined }));
    const wantAgain = () => {
      for (const id of state.reinvocable) state.wanted.add(id);
      state.reinvocable.clear();
    };
    // Other steps of the second round have changed what the webhooks had seen.
    if (request.round === 1 && !semanticEqual(state.output, request.object)) wantAgain();
    for (const [index, candidate] of candidates.entries()) {
      const { hook } = candidate;
      if (request.round === 1 && !state.wanted.has(hook.id)) continue;
      const shown = await settled(request, candidate.kind);
      if (!isChosen(store, candidate, shown, conditions)) continue;
      const verdict = await ask(dependencies, candidate, shown, true, index);
      const changed = verdict?.patch !== undefined && (await applyPatch(candidate, request, verdict.patch));
      noteMutation(request, candidate, index, changed, verdict?.patch);
      if (changed) {
        wantAgain();
        request.reinvoke = true;
      }
      if (hook.reinvocationPolicy === "IfNeeded") state.reinvocable.add(hook.id);
    }
    state.output = request.object && JSON.parse(JSON.stringify(request.object));
  }

  return {
    name: "MutatingAdmissionWebhook",
    mutate(request) {
      const candidates = configurations.candidates(request);
      if (candidates.length > 0 && !isExempt(request.kind)) return run(request, candidates);
    },
  };
}

/** All at once; the first refusal, in the order of names, is the answer. */
export function validatingWebhooks({ store, registry, log, callWebhook: call }: WebhookOptions): AdmissionStep {
  const configurations = new Configurations(store, registry, "validatingwebhookconfigurations");
  const conditions = createConditionEvaluator(store);
  const dependencies = { log, call };

  async function run(request: AdmissionRequest, candidates: ReturnType<Configurations["candidates"]>): Promise<void> {
    const shown = await Promise.all(candidates.map(async (candidate) => ({ candidate, as: await settled(request, candidate.kind) })));
    const chosen = shown.filter(({ candidate, as }) => isChosen(store, candidate, as, conditions));
    const results = await Promise.allSettled(chosen.map(({ candidate, as }, index) => ask(dependencies, candidate, as, false, index)));
    const refused = results.find((result) => result.status === "rejected");
    if (refused) throw refused.reason;
  }

  return {
    name: "ValidatingAdmissionWebhook",
    validate(request) {
      const candidates = configurations.candidates(request);
      if (candidates.length > 0 && !isExempt(request.kind)) return run(request, candidates);
    },
  };
}
