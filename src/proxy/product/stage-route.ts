import { createHash } from "node:crypto";
import { controllerOf, type KubeObject } from "../../api/meta.ts";
import { type ApiObject, type ApiStage, apiLabel, type Deployment, productGroup, stageLabel } from "../../api/product/kinds.ts";
import type { HttpRouteObject, HttpRouteRule } from "../gateway/kinds.ts";
import { readDocument } from "./document.ts";
import { DocumentError } from "./json.ts";
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
  return newestOf(deployments);
}
export const newestOf = (deployments: readonly Deployment[]): Deployment | undefined => deployments.reduce<Deployment | undefined>((newest, next) => (newest === undefined || next.revision > newest.revision ? next : newest), undefined);

/** What a stage comes to: its operations, or why there are none. */
export interface StageOperations {
  operations: Operation[];
  problem?: string;
}

/** Nobody changes a deployment: what a stage makes of it follows from the two. */
const made = new WeakMap<Deployment, Map<string, StageOperations>>();
/** Of one deployment, so many settings of stages are remembered. */
const settingsMax = 64;

export function operationsOf(api: ApiObject, stage: ApiStage, deployment: Deployment | undefined): StageOperations {
  if (!deployment) return { operations: [], problem: stage.deployment === undefined ? "there is no deployment yet" : `there is no deployment ${stage.deployment}` };
  const { namespace, name } = api.metadata;
  const key = JSON.stringify([namespace, name, stage]);
  let known = made.get(deployment);
  if (!known) made.set(deployment, (known = new Map()));
  let found = known.get(key);
  if (!found) {
    if (known.size >= settingsMax) known.clear();
    known.set(key, (found = compiledOf(`${namespace}/${name}.${stage.name}`, name, stage, deployment)));
  }
  return found;
}

function compiledOf(id: string, api: string, stage: ApiStage, deployment: Deployment): StageOperations {
  try {
    const operations = compileOperations(readDocument(deployment.data?.document), { api, id, stage, epoch: epochOf(stage, deployment) });
    return operations.length > 0 ? { operations } : { operations, problem: "the document has no operations" };
  } catch (error) {
    if (!(error instanceof DocumentError || error instanceof NotHonoured)) throw error;
    return { operations: [], problem: error.message };
  }
}

/** Other answers than these: of another deployment, of another API of the name, or from elsewhere. */
function epochOf({ variables, backendRef, backends, credentials, path }: ApiStage, { metadata }: Deployment): string {
  return createHash("sha256").update(JSON.stringify([metadata.uid, variables, backendRef, backends, credentials, path])).digest("base64url").slice(0, 16);
}

/**
 * HTTPRoutes of stages with a rule for each operation, in place of the one that names the API.
 */
export class StageRoutes {
  readonly #products: Products;
  readonly #rules = new WeakMap<StageOperations, OperationRule[]>();

  constructor(products: Products) {
    this.#products = products;
  }

  of(route: HttpRouteObject): HttpRouteObject {
    const named = stageOf(route);
    return named ? { ...route, spec: { ...route.spec, rules: this.#rulesOf(named) } } : route;
  }

  #rulesOf({ api: key, stage: name }: { api: string; stage: string }): OperationRule[] {
    const api = this.#products.api(key);
    const stage = api?.spec.stages?.find((one) => one.name === name);
    if (!api || !stage) return [refusing({}, `API ${key} has no stage ${name}`, "")];
    const seed = `${key}.${name}`;
    const found = operationsOf(api, stage, liveDeployment(stage, this.#products.deployments(key)));
    if (found.problem !== undefined) return [refusing(stage, found.problem, seed)];
    let rules = this.#rules.get(found);
    if (!rules) this.#rules.set(found, (rules = found.operations.map((one) => ruleOf(narrowed(one, stage, seed)))));
    return rules;
  }
}

const refusing = (stage: Pick<ApiStage, "path"> & Narrow, refusal: string, seed: string): OperationRule => ruleOf(narrowed({ name: "api", id: "api", matches: [{ path: { type: "prefix", value: stage.path ?? "/" } }], filters: [], refusal }, stage, seed));

/** Above all that documents need to tell their paths from each other; who asks for a deployment gets it before chance gives him another. */
const headersPriority = 1_000_000;
const canaryPriority = 500_000;

/** Of a stage for some requests alone: before whatever else has its hosts, or a path that is more exact there would be another's. */
function narrowed(operation: Operation, { headers = [], canary }: Narrow, seed: string): Operation {
  if (headers.length === 0 && !canary) return operation;
  const wanted = headers.map(({ name, value }) => ({ name: name.toLowerCase(), type: "exact" as const, value }));
  const more = (headers.length > 0 ? headersPriority : 0) + (canary ? canaryPriority : 0);
  return {
    ...operation,
    matches: operation.matches.map((match) => ({
      ...match,
      ...(wanted.length > 0 && { headers: [...(match.headers ?? []), ...wanted] }),
      ...(canary && { sample: { perMillion: Math.round(canary.percent * 10_000), seed, ...(canary.header !== undefined && { header: canary.header }) } }),
      priority: (match.priority ?? 0) + more,
    })),
  };
}
type Narrow = Pick<ApiStage, "headers" | "canary">;

function ruleOf(from: Operation): OperationRule {
  const { name, backendRef, timeoutMs, refusal } = from;
  return { name, [operation]: from, ...(backendRef && refusal === undefined && { backendRefs: [backendRef] }), ...(timeoutMs !== undefined && { timeouts: { backendRequest: `${timeoutMs}ms` } }) };
}
