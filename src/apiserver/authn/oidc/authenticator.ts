import { type CelProgram, type CompileOptions, compileCel, CostBudget, PER_REQUEST_LIMIT } from "../../../api/cel/program.ts";
import { UnescapingMap } from "../../../api/cel/unescaping.ts";
import type { Schema } from "../../../api/schema.ts";
import type { Clock } from "../../../base/clock.ts";
import type { Log } from "../../../base/log.ts";
import type { Identity } from "../../rest/context.ts";
import { refuse } from "../config-file.ts";
import { groupsOf } from "../groups.ts";
import { type AuthenticationConfig, type JwtConfig, type Mapping, readAuthenticationConfig } from "./config.ts";
import { isSignedBy, parseJwt } from "./jwt.ts";
import { KeySource } from "./keys.ts";

/** Who a foreign token speaks for, and what is open to who has none. */
export interface StructuredAuthentication {
  /** Undefined: nobody that is known. Never rejects: what cannot be decided is nobody. */
  authenticate(token: string): Promise<Identity | undefined>;
  /** The same for who may ask about others' tokens: a text says why it is refused, undefined that it is of no issuer that is known. */
  judge?(token: string): Promise<Identity | string | undefined>;
  /** Undefined: as without configuration. */
  mayBeAnonymous: ((path: string) => boolean) | undefined;
}
export interface StructuredOptions {
  file: string;
  clock: Clock;
  log: Log;
  /** Issuers of our own tokens. */
  ownIssuers: readonly string[];
  timeoutMs?: number;
}

const timeoutMs = 10_000;
const text = { type: "string" } as const;
const texts = { type: "array", items: text } as const;
/** What expressions may ask about. */
const variables = {
  claims: { type: "object", additionalProperties: { preserveUnknownFields: true } },
  user: { type: "object", properties: { username: text, uid: text, groups: texts, extra: { type: "object", additionalProperties: texts } } },
} as const satisfies Record<string, Schema>;
/** Anybody may send tokens: of those refused in this time, the first is logged, and how many more there were. */
const logEveryMs = 1_000;
/** Clocks differ a little. */
const skewS = 10;

/**
 * JWT authenticators by an AuthenticationConfiguration. The issuers are asked for their keys at once, and what they do
 * holds nobody up but their own users. Throws WherryError ACCESS_CONFIG_INVALID.
 * Source: k8s.io/apiserver/plugin/pkg/authenticator/token/oidc.
 */
export function openStructuredAuthentication(options: StructuredOptions): StructuredAuthentication {
  const config = readAuthenticationConfig(options.file, options.ownIssuers);
  const errors: string[] = [];
  const authenticators = config.jwt.map((jwt, index) => new JwtAuthenticator(jwt, `jwt[${index}]`, options, errors));
  refuse(options.file, errors);
  const byIssuer = new Map(authenticators.map((one) => [one.issuer, one]));
  for (const one of authenticators) void one.prepare();
  const judge = async (token: string): Promise<Identity | string | undefined> => {
    const jwt = parseJwt(token);
    return jwt && typeof jwt.claims["iss"] === "string" ? byIssuer.get(jwt.claims["iss"])?.judge(jwt) : undefined;
  };
  return {
    judge,
    async authenticate(token) {
      const judged = await judge(token);
      return typeof judged === "string" ? undefined : judged;
    },
    mayBeAnonymous: anonymousOf(config.anonymous),
  };
}

function anonymousOf(anonymous: AuthenticationConfig["anonymous"]): StructuredAuthentication["mayBeAnonymous"] {
  if (!anonymous) return undefined;
  const paths = (anonymous.conditions ?? []).map(({ path }) => path);
  return (path) => anonymous.enabled === true && (paths.length === 0 || paths.includes(path));
}

class JwtAuthenticator {
  readonly issuer: string;
  readonly #config: JwtConfig;
  readonly #options: StructuredOptions;
  #loggedAtMs = -Infinity;
  #unlogged = 0;
  readonly #keys: KeySource;
  readonly #rules: { holds: (claims: Claims, seen: UnescapingMap, budget: CostBudget) => boolean; message: (claims: Claims) => string }[];
  readonly #userRules: { program: CelProgram | undefined; message: string }[];
  readonly #programs: { username: CelProgram | undefined; groups: CelProgram | undefined; uid: CelProgram | undefined; extra: (readonly [string, CelProgram | undefined])[] };

  constructor(config: JwtConfig, at: string, options: StructuredOptions, errors: string[]) {
    this.issuer = config.issuer.url;
    this.#config = config;
    this.#options = options;
    const { discoveryURL, certificateAuthority, url } = config.issuer;
    this.#keys = new KeySource({ issuer: url, discoveryUrl: discoveryURL, ca: certificateAuthority, clock: options.clock, timeoutMs: options.timeoutMs ?? timeoutMs, onFailure: (why) => options.log.warn("the issuer's keys could not be fetched", { issuer: url, why }) });
    const compile = (path: string, expression: string | undefined, variable: keyof typeof variables, result: CompileOptions["result"]): CelProgram | undefined => {
      if (!expression) return undefined;
      try {
        return compileCel(expression, { variables: { [variable]: variables[variable] }, result });
      } catch (error) {
        const { message } = error as Error;
        errors.push(`${at}.${path}: Invalid value: ${JSON.stringify(expression)}: ${message.startsWith("ERROR:") ? "compilation failed: " : ""}${message}`);
        return undefined;
      }
    };
    // Where it may be asked whether an e-mail address is verified.
    const verifying: (CelProgram | undefined)[] = [];
    this.#rules = (config.claimValidationRules ?? []).map(({ claim, requiredValue = "", expression, message }, index) => {
      if (claim) return { holds: (claims) => claims[claim] === requiredValue, message: (claims) => (claim in claims ? `oidc: required claim ${claim} value does not match. Got = ${String(claims[claim])}, want = ${requiredValue}` : `oidc: required claim ${claim} not present in ID token`) };
      const program = compile(`claimValidationRules[${index}].expression`, expression, "claims", "bool");
      if (program) verifying.push(program);
      return { holds: (_, seen, budget) => program?.evaluate({ claims: seen }, budget) === true, message: () => `oidc: error evaluating claim validation expression: ${ruleText(expression, message)}` };
    });
    const { username, groups, uid, extra = [] } = config.claimMappings;
    this.#programs = {
      username: compile("claimMappings.username.expression", username.expression, "claims", "any"),
      groups: compile("claimMappings.groups.expression", groups?.expression, "claims", "any"),
      uid: compile("claimMappings.uid.expression", uid?.expression, "claims", "any"),
      extra: extra.map(({ key, valueExpression }, index) => [key, compile(`claimMappings.extra[${index}].valueExpression`, valueExpression, "claims", "any")] as const),
    };
    verifying.push(this.#programs.username, ...this.#programs.extra.map(([, program]) => program));
    const { username: mapped } = this.#programs;
    if (mapped?.selects("claims", "email") && !verifying.some((program) => program?.selects("claims", "email_verified"))) errors.push(`${at}.claimMappings.username.expression: Invalid value: ${JSON.stringify(username.expression)}: claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression`);
    this.#userRules = (config.userValidationRules ?? []).map(({ expression, message }, index) => ({ program: compile(`userValidationRules[${index}].expression`, expression, "user", "bool"), message: `oidc: error evaluating user info validation rule: ${ruleText(expression, message)}` }));
  }

  prepare(): Promise<void> {
    return this.#keys.refresh();
  }

  async judge(jwt: NonNullable<ReturnType<typeof parseJwt>>): Promise<Identity | string> {
    try {
      const keys = await this.#keys.candidates(jwt.keyId, jwt.alg);
      if (!keys.some((key) => isSignedBy(jwt, key))) throw new Error("oidc: verify token: failed to verify signature: no key of the issuer has signed it");
      this.#checkTimes(jwt.claims);
      this.#checkAudience(jwt.claims["aud"]);
      return this.#identityOf(jwt.claims);
    } catch (error) {
      const { message } = error as Error;
      this.#report(message);
      return message;
    }
  }

  /** Why is for who runs the stack; the one who asks learns nothing. */
  #report(why: string): void {
    const { clock, log } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#loggedAtMs < logEveryMs) return void this.#unlogged++;
    log.warn("a token was refused", { issuer: this.issuer, why, ...(this.#unlogged > 0 && { othersSince: this.#unlogged }) });
    this.#loggedAtMs = nowMs;
    this.#unlogged = 0;
  }

  #checkTimes({ exp, nbf }: Record<string, unknown>): void {
    const nowS = this.#options.clock.now() / 1000;
    if (typeof exp !== "number") throw new Error("oidc: verify token: it has no end (exp)");
    if (exp <= nowS) throw new Error(`oidc: verify token: oidc: token is expired (Token Expiry: ${new Date(exp * 1000).toISOString().slice(0, 19).replace("T", " ")} +0000 UTC)`);
    if (nbf !== undefined && (typeof nbf !== "number" || nbf > nowS + skewS)) throw new Error("oidc: verify token: it is not valid yet (nbf)");
  }

  #checkAudience(aud: unknown): void {
    const wanted = this.#config.issuer.audiences;
    const meant = Array.isArray(aud) ? aud : [aud];
    if (!meant.some((audience) => wanted.includes(audience as string))) throw new Error(`oidc: verify token: oidc: expected audience ${wanted.length > 1 ? `in ${goList(wanted.toSorted())}` : JSON.stringify(wanted[0])} got ${goList(meant.filter((audience) => typeof audience === "string"))}`);
  }

  #identityOf(claims: Claims): Identity {
    const budget = new CostBudget(PER_REQUEST_LIMIT);
    const seen = new UnescapingMap(claims);
    const failed = this.#rules.find((rule) => !rule.holds(claims, seen, budget));
    if (failed) throw new Error(failed.message(claims));
    const { username, groups, uid } = this.#config.claimMappings;
    const valueOf = (mapping: Mapping | undefined, program: CelProgram | undefined): unknown => (program ? program.evaluate({ claims: seen }, budget) : mapping?.claim ? claims[mapping.claim] : undefined);
    if (username.claim === "email" && "email_verified" in claims && claims["email_verified"] !== true) throw new Error("oidc: email not verified");
    const name = valueOf(username, this.#programs.username);
    if (typeof name !== "string" || name === "") throw new Error("oidc: its claims give no name");
    const id = valueOf(uid, this.#programs.uid);
    if (uid && (uid.claim || uid.expression) && typeof id !== "string") throw new Error("oidc: its claims give no uid");
    const extra = Object.fromEntries(this.#programs.extra.map(([key, program]) => [key, givenTexts(program?.evaluate({ claims: seen }, budget), `extra ${key}`)] as const).filter(([, values]) => values.length > 0));
    if (typeof claims["jti"] === "string") extra["authentication.kubernetes.io/credential-id"] = [`JTI=${claims["jti"]}`];
    if (groups?.claim && !(groups.claim in claims) && groups.claim in ((claims["_claim_names"] ?? {}) as object)) throw new Error(`oidc: its claim ${groups.claim} lies elsewhere (_claim_names), where nobody is asked`);
    const given = valueOf(groups, this.#programs.groups);
    const identity: Identity = {
      name: `${username.prefix ?? ""}${name}`,
      ...(typeof id === "string" && { uid: id }),
      groups: groups?.expression ? givenTexts(given, "groups") : textsOf(given, "groups").map((group) => `${groups?.prefix ?? ""}${group}`),
      ...(Object.keys(extra).length > 0 && { extra }),
    };
    const user = new UnescapingMap({ username: identity.name, uid: identity.uid ?? "", groups: identity.groups, extra });
    const refused = this.#userRules.find(({ program }) => program?.evaluate({ user }, budget) !== true);
    if (refused) throw new Error(refused.message);
    return { ...identity, groups: groupsOf(identity.name, identity.groups) };
  }
}

type Claims = Record<string, unknown>;
const goList = (texts: readonly unknown[]): string => `[${texts.map((text) => JSON.stringify(text)).join(" ")}]`;
const ruleText = (expression: string | undefined, message = ""): string => `validation expression '${expression}' failed: ${message}`;

/** What expressions give: empty texts count as nothing. */
const givenTexts = (value: unknown, what: string): string[] => textsOf(value, what).filter((item) => item !== "");

/** A text, a list of texts, or nothing at all. */
function textsOf(value: unknown, what: string): string[] {
  if (value === undefined || value === null) return [];
  const list = Array.isArray(value) ? value : [value];
  if (!list.every((item) => typeof item === "string")) throw new Error(`oidc: its claims give no texts for ${what}`);
  return list as string[];
}
