import { document } from "./document.ts";
import { keys } from "./keys.ts";
import { list } from "./list.ts";
import { promote } from "./promote.ts";
import { purge } from "./purge.ts";
import { rollback } from "./rollback.ts";
import { usage } from "./usage.ts";
import type { ApiVerb } from "./verb.ts";

/** One file, one line. */
export const apiVerbs: readonly ApiVerb[] = [list, promote, rollback, keys, usage, purge, document];
