import { controllerOf, type KubeObject } from "../../api/meta.ts";
import { type ApiObject, type ApiStage, apiLabel, type Deployment, productGroup, stageLabel } from "../../api/product/kinds.ts";
import type { HttpRouteObject, HttpRouteRule } from "../gateway/kinds.ts";
import { DocumentError, readDocument } from "./document.ts";
import { NotHonoured } from "./not-honoured.ts";
import { compileOperations, type Operation } from "./operations.ts";

/** Of a rule that stands for an operation. A symbol: nobody can write it into an object of the API. */
export const operation: unique symbol = Symbol("operation");
export type OperationRule = HttpRouteRule & { [operation]?: Operation };

/** What is read to make a stage's route of its HTTPRoute. */
export interface Products {
  api(key: string): ApiObject | undefined;
  /** Of one API. */
  deployments(api: string): Deployment[];
}

/** "NAMESPACE/NAME" of the API that made an HTTPRoute, and the stage that it stands for. */
export function stageOf(route: KubeObject): { api: string; stage: string } | undefined {
  const owner = controllerOf(route);
  const stage = route.metadata.labels?.[stageLabel];
  if (owner?.kind !== "API" || !owner.apiVersion.startsWith(`${productGroup}/`) || stage === undefined) return undefined;
  return { api: `${route.metadata.namespace}/${owner.name}`, stage };
}

/** "NAMESPACE/NAME" of the API that a ControllerRevision is a deployment of. */
export function apiOfDeployment(revision: KubeObject): string | undefined {
  const owner = controllerOf(revision);
  return owner?.kind === "API" && revision.metadata.labels?.[apiLabel] === owner.name ? `${revision.metadata.namespace}/${owner.name}` : undefined;
}

/** The same of a deployment that is gone, by its key. */
export const apiOfName = (deployment: string): string => deployment.slice(0, deployment.lastIndexOf("."));

/** The one that is live in a stage: the one that it says, or the newest. */
export function liveDeployment(stage: ApiStage, deployments: readonly Deployment[]): Deployment | undefined {
  if (stage.deployment !== undefined) return deployments.find(({ revision }) => revision === stage.deployment);
  return deployments.reduce<Deployment | undefined>((newest, next) => (newest === undefined || next.revision > newest.revision ? next : newest), undefined);
}

/** What a stage comes to: its operations, or why there are none. */
export function operationsOf(api: ApiObject, stage: ApiStage, deployment: Deployment | undefined): { operations: Operation[]; problem?: string } {
  if (!deployment) return { operations: [], problem: stage.deployment === undefined ? "there is no deployment yet" : `there is no deployment ${stage.deployment}` };
  try {
    const operations = compileOperations(readDocument(deployment.data?.document), { api: api.metadata.name, id: `${api.metadata.namespace}/${api.metadata.name}.${stage.name}`, stage });
    return operations.length > 0 ? { operations } : { operations, problem: "the document has no operations" };
  } catch (error) {
    if (!(error instanceof DocumentError || error instanceof NotHonoured)) throw error;
    return { operations: [], problem: error.message };
  }
}

/**
 * HTTPRoutes of stages with a rule for each operation, in place of the one that names the API. Each is made once, until the route, the
 * API or the deployment is another.
 */
export class StageRoutes {
  readonly #products: Products;
  readonly #made = new WeakMap<HttpRouteObject, { from: readonly unknown[]; route: HttpRouteObject }>();

  constructor(products: Products) {
    this.#products = products;
  }

  of(route: HttpRouteObject): HttpRouteObject {
    const named = stageOf(route);
    if (!named) return route;
    const api = this.#products.api(named.api);
    const stage = api?.spec.stages?.find(({ name }) => name === named.stage);
    const deployment = stage && liveDeployment(stage, this.#products.deployments(named.api));
    const from = [api?.spec, deployment];
    const known = this.#made.get(route);
    if (known && known.from.every((part, i) => part === from[i])) return known.route;
    const { operations, problem = `API ${named.api} has no stage ${named.stage}` } = api && stage ? operationsOf(api, stage, deployment) : { operations: [] };
    const rules = operations.length > 0 ? operations.map(ruleOf) : [ruleOf({ name: "api", id: "api", matches: [{ path: { type: "prefix", value: stage?.path ?? "/" } }], filters: [], refusal: problem })];
    const made = { ...route, spec: { ...route.spec, rules } };
    this.#made.set(route, { from, route: made });
    return made;
  }
}

function ruleOf(made: Operation): OperationRule {
  const { name, backendRef, timeoutMs, refusal } = made;
  return { name, [operation]: made, ...(backendRef && refusal === undefined && { backendRefs: [backendRef] }), ...(timeoutMs !== undefined && { timeouts: { backendRequest: `${timeoutMs}ms` } }) };
}
