import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "../../api/client.ts";
import { apiResource, purgeAnnotation } from "../../api/product/kinds.ts";
import { WherryError } from "../../base/errors.ts";
import { apiNamed, type ApiVerb, stageAt } from "./verb.ts";

const deadlineMs = 15_000;
const lookMs = 50;

/** As `kubectl annotate api NAME api.wherry.dev/purge=…` does, and waits for what the API's status says of it. */
export const purge: ApiVerb = {
  name: "purge",
  line: "purge API [STAGE] [--path PREFIX]",
  about: "empty the caches of an API, of one of its stages, or of it what begins with a path; who may change the API may do so",
  words: 2,
  optionalWords: 1,
  options: ["path"],
  async run(client, { words: [name, stage], namespace = "default", path }) {
    if (path !== undefined && stage === undefined) throw new WherryError("USAGE", "--path: say of which stage");
    if (path !== undefined && !/^\/\S*$/.test(path)) throw new WherryError("USAGE", `--path ${path}: must begin with '/', and have no blanks`);
    const api = await apiNamed(client, namespace, name!);
    if (stage !== undefined) stageAt(api, stage);
    const { removed, message } = await requested(client, namespace, name!, [stage, path].filter((word) => word !== undefined));
    if (message !== undefined) throw new WherryError("USAGE", message);
    return `${[name, stage, path].filter((word) => word !== undefined).join(" ")}: ${removed === 1 ? "1 answer is" : `${removed} answers are`} kept no longer, each worker's counted\n`;
  },
};

async function requested(client: Client, namespace: string, name: string, what: readonly string[]): Promise<{ removed: number; message?: string }> {
  let asked: string | undefined;
  for (const began = performance.now(); performance.now() - began < deadlineMs; await sleep(lookMs)) {
    const api = await apiNamed(client, namespace, name);
    const done = api.status?.purge;
    if (asked !== undefined && done?.requested === asked) return done;
    const pending = api.metadata.annotations?.[purgeAnnotation];
    // What somebody else asks for goes first, or it would never be done; what overtook this is followed by this once more.
    if (pending === asked && asked !== undefined) continue;
    if (pending !== undefined && pending !== done?.requested) continue;
    asked = [randomUUID(), ...what].join(" ");
    await client.patch(apiResource, namespace, name, { metadata: { annotations: { [purgeAnnotation]: asked } } }, { type: "merge", fieldManager: "wherry-cli" });
  }
  throw new WherryError("NOT_RUNNING", `nobody has emptied the caches of ${name} within ${deadlineMs / 1000} s: see wherry status`);
}
