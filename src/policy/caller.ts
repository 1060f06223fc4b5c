import type { Claims } from "./tokens/verify.ts";

/** What filters have found out about who asks, for those behind them: each is proved, and what nobody has proved is absent. */
export interface Caller {
  /** Claims of the tokens that are believed, by the name of the provider that vouches for them. */
  jwt?: ReadonlyMap<string, Claims>;
  /** Whose API key it is, and under which usage plan, where there are plans. */
  apiKey?: { client: string; plan?: string };
  /** What a program has said of whoever asks; `context`: for templates and headers. */
  authorizer?: { principalId?: string; context: Readonly<Record<string, unknown>>; usageIdentifierKey?: string };
  /** Who has given the right password. */
  basic?: string;
  /** Somebody else was asked, who let it through. */
  isGranted?: true;
  /** What cookies hold that a filter has opened, by their names: to be read where those would be. */
  cookies?: ReadonlyMap<string, string>;
}
