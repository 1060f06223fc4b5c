import type { Client } from "../../api/client.ts";
import { type ApiObject, apiResource } from "../../api/product/kinds.ts";
import { StatusError } from "../../api/status.ts";
import { WherryError } from "../../base/errors.ts";

/** What stands behind `wherry api`. */
export interface ApiVerb {
  name: string;
  /** "promote API --to STAGE". */
  line: string;
  about: string;
  /** How many words follow the name, of which the last ones may be left out; and which options are its own. */
  words: number;
  optionalWords?: number;
  options: readonly string[];
  /** Gives what is printed. @throws WherryError */
  run(client: Client, asked: Asked): Promise<string>;
}

export interface Asked {
  words: readonly string[];
  namespace: string | undefined;
  to: string | undefined;
  from: string | undefined;
  add: string | undefined;
  remove: string | undefined;
  plan: string | undefined;
  path?: string | undefined;
}

/** @throws WherryError there is none */
export async function apiNamed(client: Client, namespace: string, name: string): Promise<ApiObject> {
  try {
    return await client.get<ApiObject>(apiResource, namespace, name);
  } catch (error) {
    if (error instanceof StatusError && error.code === 404) throw new WherryError("USAGE", `there is no API ${name} in namespace ${namespace}; wherry api list shows them`);
    throw error;
  }
}

/** Its place in `spec.stages`. @throws WherryError */
export function stageAt(api: ApiObject, name: string): number {
  const stages = api.spec.stages ?? [];
  const at = stages.findIndex((stage) => stage.name === name);
  if (at < 0) throw new WherryError("USAGE", `API ${api.metadata.name} has no stage ${name}; it has ${stages.map((stage) => stage.name).join(", ") || "none"}`);
  return at;
}

/** The deployment that a stage has now; undefined: none yet. */
export const liveIn = (api: ApiObject, stage: string): number | undefined => api.spec.stages?.find(({ name }) => name === stage)?.deployment ?? api.status?.deployments?.[0]?.revision;

/** The one change that promoting and rolling back are. Whoever changed the stages meanwhile is not overwritten. */
export async function setDeployment(client: Client, api: ApiObject, at: number, deployment: number): Promise<void> {
  const stage = api.spec.stages![at]!;
  const patch = [
    { op: "test", path: `/spec/stages/${at}/name`, value: stage.name },
    { op: "add", path: `/spec/stages/${at}/deployment`, value: deployment },
  ];
  await client.patch(apiResource, api.metadata.namespace, api.metadata.name, patch, { type: "json", fieldManager: "wherry-cli" });
}

/** Columns, as kubectl prints them. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => row[i]!.length)));
  return all.map((row) => `${row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i]!))).join("   ").trimEnd()}\n`).join("");
}
