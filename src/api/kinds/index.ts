import type { KindCode } from "./code.ts";

/** What code adds to the built-in kinds: one line a kind. Kinds without a line work from their table alone. */
export const strategies: readonly KindCode[] = [];
