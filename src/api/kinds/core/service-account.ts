import type { Strategy } from "../../kind.ts";
import { ageOf, integer, name } from "../columns.ts";

export const serviceAccount: Strategy = { columns: [name, integer("Secrets", ({ secrets }) => (secrets ?? []).length), ageOf] };
