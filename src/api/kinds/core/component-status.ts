import type { Strategy } from "../../kind.ts";
import { name, text } from "../columns.ts";

type Condition = { type: string; status?: string; message?: string; error?: string };
const healthy = (conditions: readonly Condition[] | undefined): Condition | undefined => (conditions ?? []).find(({ type }) => type === "Healthy");

/** Nothing makes these any more; old clients still ask for them. */
export const componentStatus: Strategy = {
  columns: [
    name,
    text("Status", (object) => ({ True: "Healthy", False: "Unhealthy" })[healthy(object["conditions"])?.status ?? ""], "Unknown"),
    text("Message", (object) => healthy(object["conditions"])?.message),
    text("Error", (object) => healthy(object["conditions"])?.error),
  ],
};
