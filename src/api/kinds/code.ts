import type { Kind, Strategy } from "../kind.ts";

/**
 * What code adds to a built-in kind, beyond the facts of its table. `kinds/index.ts` exports the list of all,
 * `createBuiltinRegistry` joins them to the tables.
 */
export interface KindCode {
  /** "" for the core group. */
  readonly group: string;
  /** Plural, as in URLs: "deployments". */
  readonly resource: string;
  /** Absent: every served version of the resource. */
  readonly version?: string;
  readonly strategy: Strategy;
  readonly storedAs?: Kind["storedAs"];
}
