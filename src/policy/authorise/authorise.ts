import type { AuthorisationPolicy } from "../../api/authorisation.ts";
import { type Call, compileRule, type Test } from "./rules.ts";

export type { Call } from "./rules.ts";

export interface Verdict {
  isAllowed: boolean;
  /** For the log and the answer's reason: which policy decided, "NAMESPACE/NAME"; undefined: none did. */
  by: string | undefined;
  /** What it would have been with the policies that are only tried; undefined: the same. */
  dryRun: { isAllowed: boolean; by: string | undefined } | undefined;
  /** AUDIT policies that fit. */
  audited: readonly string[];
}

export type Authorise = (call: Call) => Verdict;

interface CompiledPolicy {
  name: string;
  fits: Test;
}
interface Group {
  custom: CompiledPolicy[];
  deny: CompiledPolicy[];
  allow: CompiledPolicy[];
}

/**
 * In Istio's order: what somebody else must decide, then who is denied; then, where anybody is allowed by name, only those. A
 * CUSTOM policy that fits denies: there is nobody to ask. Undefined: there is no policy, and no call need be looked at.
 */
export function compileAuthorisation(policies: readonly AuthorisationPolicy[]): Authorise | undefined {
  if (policies.length === 0) return undefined;
  const grouped = (list: readonly AuthorisationPolicy[]): Group => {
    const of = (action: AuthorisationPolicy["action"]) => list.filter((policy) => policy.action === action).map(compilePolicy);
    return { custom: of("CUSTOM"), deny: of("DENY"), allow: of("ALLOW") };
  };
  const isTried = policies.some(({ isDryRun }) => isDryRun);
  const real = grouped(policies.filter(({ isDryRun }) => !isDryRun));
  // As if the tried ones were in force, beside the real ones.
  const tried = isTried ? grouped(policies) : undefined;
  const audit = policies.filter(({ action, isDryRun }) => action === "AUDIT" && !isDryRun).map(compilePolicy);
  return (call) => {
    const { isAllowed, by } = decide(real, call);
    const trial = tried && decide(tried, call);
    const audited = audit.length === 0 ? none : audit.filter(({ fits }) => fits(call)).map(({ name }) => name);
    return { isAllowed, by, dryRun: trial && trial.isAllowed !== isAllowed ? trial : undefined, audited };
  };
}

const none: readonly string[] = [];

function decide({ custom, deny, allow }: Group, call: Call): { isAllowed: boolean; by: string | undefined } {
  for (const { name, fits } of custom) if (fits(call)) return { isAllowed: false, by: name };
  for (const { name, fits } of deny) if (fits(call)) return { isAllowed: false, by: name };
  for (const { name, fits } of allow) if (fits(call)) return { isAllowed: true, by: name };
  return { isAllowed: allow.length === 0, by: undefined };
}

function compilePolicy({ name, action, rules }: AuthorisationPolicy): CompiledPolicy {
  const tests = rules.map((rule) => compileRule(rule, action));
  return { name, fits: (call) => tests.some((test) => test(call)) };
}
