import type { Client } from "../../api/client.ts";
import { type ApiObject, type Deployment, deploymentNameOf } from "../../api/product/kinds.ts";
import { resources } from "../../api/resources.ts";
import { readDocument } from "./document.ts";
import type { Json } from "./json.ts";
import { portalDocument } from "./portal.ts";
import { serverPath } from "./server-path.ts";
import { operationsOf } from "./stage-route.ts";

/** A stage's document as its clients are to see it, with the address at which it is served, whether or not it is given there. @throws Error it has no deployment */
export async function documentInCluster(client: Client, api: ApiObject, name: string): Promise<{ [field: string]: Json }> {
  const stage = (api.spec.stages ?? []).find((one) => one.name === name)!;
  const live = api.status?.stages?.find((one) => one.name === name);
  if (live?.deployment === undefined) throw new Error(`stage ${name} has no deployment yet`);
  const deployment = await client.get<Deployment>(resources.controllerRevisions, api.metadata.namespace, deploymentNameOf(api.metadata.name, live.deployment));
  const document = readDocument(deployment.data?.document);
  return portalDocument(document, operationsOf(api, stage, deployment).operations, `${live.url ?? stage.path ?? ""}${serverPath(document, stage)}` || "/");
}
