import type { AccessRule, HttpFilter } from "../../../api/traffic.ts";
import type { Refusal } from "../effect.ts";

export interface AuthorizationSpec {
  defaultAction?: "Allow" | "Deny";
  rules?: {
    name?: string;
    action: "Allow" | "Deny";
    operation?: { methods?: string[]; path?: { type?: "Exact" | "PathPrefix" | "RegularExpression"; value: string; invert?: boolean } };
    principal?: {
      clientCIDRs?: string[];
      headers?: { name: string; values: string[] }[];
      jwt?: { provider: string; scopes?: string[]; claims?: { name: string; valueType?: "String" | "StringArray"; values: string[] }[] };
    };
  }[];
}

const pathTypes = { Exact: "exact", PathPrefix: "prefix", RegularExpression: "regex" } as const;

/** `providers`: names of those whose tokens the same policy verifies. */
export function authorizationFilter({ defaultAction = "Deny", rules = [] }: AuthorizationSpec, providers: readonly string[], refused: Refusal[]): HttpFilter[] {
  const compiled = rules.map(({ name, action, operation, principal }, i): AccessRule => {
    const field = `authorization.rules[${i}]`;
    const { clientCIDRs, headers, jwt } = principal ?? {};
    if (jwt && !providers.includes(jwt.provider)) refused.push({ field: `${field}.principal.jwt.provider`, why: `${jwt.provider} is no provider of spec.jwt` });
    const { methods, path } = operation ?? {};
    return {
      name: name ?? String(i),
      action: action === "Allow" ? "allow" : "deny",
      ...(clientCIDRs && { clients: clientCIDRs }),
      ...(methods && { methods }),
      ...(path && { path: { type: pathTypes[path.type ?? "PathPrefix"], value: path.value, ...(path.invert && { not: true }) } }),
      ...(headers && { headers }),
      ...(jwt && {
        token: {
          provider: jwt.provider,
          ...(jwt.scopes && { scopes: jwt.scopes }),
          ...(jwt.claims && { claims: jwt.claims.map(({ name: claim, valueType, values }) => ({ name: claim, values, ...(valueType === "StringArray" && { isList: true }) })) }),
        },
      }),
    };
  });
  return [{ type: "authorise", rules: compiled, otherwise: defaultAction === "Allow" ? "allow" : "deny" }];
}
