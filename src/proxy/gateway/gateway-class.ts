import { condition } from "./conditions.ts";
import { type Condition, controllerName, type GatewayClass } from "./kinds.ts";

/** What a class of ours says of itself; undefined for another's. */
export function classConditions({ spec }: GatewayClass): Condition[] | undefined {
  if (spec.controllerName !== controllerName) return undefined;
  const parameters = spec.parametersRef;
  return [
    parameters
      ? condition("Accepted", false, "InvalidParameters", `parametersRef: ${parameters.group}/${parameters.kind} ${parameters.name} is not a kind that configures Wherry; leave it out`)
      : condition("Accepted", true, "Accepted", "served by Wherry"),
    condition("SupportedVersion", true, "SupportedVersion", "Gateway API v1.6"),
  ];
}
