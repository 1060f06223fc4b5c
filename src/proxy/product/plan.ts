import { type ApiObject, type ApiStage, type ApiStatus, apiLabel, type Deployment, deploymentNameOf, productGroup, productVersion, routeNameOf, stageLabel } from "../../api/product/kinds.ts";
import { type Condition, type Gateway, gatewayGroup, type HttpRouteObject } from "../gateway/kinds.ts";
import { operationsIn, readDocument } from "./document.ts";
import { DocumentError } from "./json.ts";
import type { Operation } from "./operations.ts";
import { schemeOf } from "./security.ts";
import { liveDeployment, newestOf, operationsOf, stageOf } from "./stage-route.ts";

/** What an API's objects are made of. */
export interface Seen {
  api: ApiObject;
  /** As it stands now, or why there is none. */
  document: { value: Record<string, unknown> } | { problem: string };
  deployments: readonly Deployment[];
  /** Its own, and whoever has their names. */
  routes: readonly HttpRouteObject[];
  /** What the gateway says of each of the routes, by name. */
  parents: ReadonlyMap<string, readonly { conditions: readonly Condition[] }[]>;
  urlOf(stage: ApiStage): string | undefined;
  /** What another stage answers in this one's place. */
  rivalOf?(stage: ApiStage, operations: readonly Operation[]): string | undefined;
  /** Why the document cannot be deployed, though it is one. */
  refused?: string;
}

export interface Plan {
  /** The document is otherwise than at the last deployment. */
  deploy?: Draft;
  /** Applied: created, or brought to this. */
  routes: Draft[];
  /** Deployments beyond the limit, and routes of stages that are gone. */
  remove: { deployments: Deployment[]; routes: HttpRouteObject[] };
  /** Conditions without times. */
  status: Omit<ApiStatus, "conditions"> & { conditions: Condition[] };
  /** What is wrong with stages, for Events. */
  problems: string[];
}

type Draft = { apiVersion: string; kind: string; metadata: { name: string; namespace: string; labels: Record<string, string>; ownerReferences: object[] } } & Record<string, unknown>;

/** What is to be written so that an API is served as it says. Pure. */
export function planOf({ api, document, deployments, routes, parents, urlOf, rivalOf, refused }: Seen): Plan {
  const { stages = [], revisionHistoryLimit = 10 } = api.spec;
  const { name, namespace } = api.metadata;
  const isChanged = "value" in document && stable(newestOf(deployments)?.data?.document) !== stable(document.value);
  const wrong = "problem" in document ? document.problem : isChanged ? (problemOf(api, document.value) ?? refused) : undefined;
  const known = [...deployments].sort((a, b) => b.revision - a.revision);
  const isNew = wrong === undefined && "value" in document && isChanged;
  const next = Math.max(known[0]?.revision ?? 0, api.status?.deployments?.[0]?.revision ?? 0) + 1;
  const meta = (own: string, labels: Record<string, string>): Draft["metadata"] => ({ name: own, namespace: namespace!, labels, ownerReferences: [{ apiVersion: productVersion, kind: "API", name, uid: api.metadata.uid, controller: true, blockOwnerDeletion: true }] });
  const live = new Set(stages.flatMap((stage) => liveDeployment(stage, known)?.revision ?? []));
  const mine = (route: HttpRouteObject): boolean => stageOf(route)?.api === `${namespace}/${name}`;
  const stolen = new Set(routes.filter((route) => !mine(route)).map((route) => route.metadata.name));
  const looked = stages.map((stage): NonNullable<ApiStatus["stages"]>[number] => {
    const deployment = liveDeployment(stage, known);
    const { operations, problem } = operationsOf(api, stage, deployment);
    const route = routeNameOf(name, stage.name);
    const wrong = stolen.has(route) ? `HTTPRoute ${route} is there already, and is not this API's` : (problem ?? messageOf(parents.get(route), stage));
    const named = [...(stage.operations ?? []), ...(stage.plans ?? []).flatMap((plan) => plan.operations ?? [])].map((one) => one.operation);
    const unknown = problem === undefined ? [...new Set(named)].filter((id) => !operations.some((one) => one.id === id)) : [];
    const schemes = problem === undefined ? (stage.authorizers ?? []).map(({ scheme }) => scheme).filter((scheme) => !hasScheme(deployment!, scheme)) : [];
    const idle = [...(unknown.length > 0 ? [`operation ${unknown.join(", ")}`] : []), ...(schemes.length > 0 ? [`security scheme ${schemes.join(", ")}`] : [])];
    const said = [wrong ?? rivalOf?.(stage, operations), idle.length > 0 ? `deployment ${deployment!.revision} has no ${idle.join(" and no ")}: what the stage says of it is for nothing` : undefined].filter((text) => text !== undefined);
    const message = said.length > 0 ? said.join("; ") : undefined;
    const url = urlOf(stage);
    return { name: stage.name, ...(deployment && { deployment: deployment.revision }), ...(url !== undefined && { url, ...(stage.documentPath !== undefined && { documentUrl: `${url}${stage.documentPath}` }) }), operations: operations.filter(({ refusal, isOther }) => refusal === undefined && !isOther).length, ready: wrong === undefined, ...(message !== undefined && { message }) };
  });
  return {
    ...(isNew && { deploy: { apiVersion: "apps/v1", kind: "ControllerRevision", metadata: meta(deploymentNameOf(name, next), { [apiLabel]: name }), data: { document: document.value }, revision: next } }),
    routes: stages.filter((stage) => !stolen.has(routeNameOf(name, stage.name))).map((stage) => ({ apiVersion: `${gatewayGroup}/v1`, kind: "HTTPRoute", metadata: meta(routeNameOf(name, stage.name), { [apiLabel]: name, [stageLabel]: stage.name }), spec: routeSpec(api, stage) })),
    remove: {
      deployments: known.filter(({ revision }) => !live.has(revision) && revision !== known[0]!.revision).slice(revisionHistoryLimit),
      routes: routes.filter((route) => mine(route) && !stages.some((stage) => routeNameOf(name, stage.name) === route.metadata.name)),
    },
    status: {
      conditions: [wrong === undefined ? { type: "Accepted", status: "True", reason: "Accepted", message: "the document is accepted" } : { type: "Accepted", status: "False", reason: "InvalidDocument", message: `${wrong}; ${known.length > 0 ? "what was deployed before stays live" : "nothing is deployed yet"}` }],
      deployments: known.map((deployment) => ({ ...described(deployment), ...(live.has(deployment.revision) && { liveIn: looked.filter((stage) => stage.deployment === deployment.revision).map((stage) => stage.name) }) })),
      stages: looked,
    },
    problems: [...(wrong === undefined ? [] : [wrong]), ...looked.flatMap((stage) => (stage.message === undefined ? [] : [`stage ${stage.name}: ${stage.message}`]))],
  };
}

/** Its one rule names the API: a gateway that does not know what that means answers 500. */
function routeSpec(api: ApiObject, { parentRefs, hostnames, headers, path = "/" }: ApiStage): object {
  return {
    parentRefs,
    ...(hostnames?.length && { hostnames }),
    rules: [{ name: "api", matches: [{ path: { type: "PathPrefix", value: path }, ...(headers?.length && { headers: headers.map(({ name, value }) => ({ name, value })) }) }], filters: [{ type: "ExtensionRef", extensionRef: { group: productGroup, kind: "API", name: api.metadata.name } }] }],
  };
}

/** Also what would leave a stage that follows the newest without anything. */
function problemOf(api: ApiObject, document: Record<string, unknown>): string | undefined {
  try {
    readDocument(document);
  } catch (error) {
    if (error instanceof DocumentError) return error.message;
    throw error;
  }
  const next = { metadata: { name: "" }, data: { document } } as unknown as Deployment;
  for (const stage of api.spec.stages ?? []) {
    const problem = stage.deployment === undefined ? operationsOf(api, stage, next).problem : undefined;
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** A catalogue's; all of it stands in the document. */
const descriptionMax = 1_000;

function described({ revision, metadata, data }: Deployment): NonNullable<ApiStatus["deployments"]>[number] {
  const created = metadata.creationTimestamp;
  try {
    const document = readDocument(data?.document);
    const { title, version, description } = document.info;
    return { revision, created, title, version, ...(typeof description === "string" && description !== "" && { description: description.slice(0, descriptionMax) }), operations: operationsIn(document) };
  } catch (error) {
    if (error instanceof DocumentError) return { revision, created, title: "", version: "", operations: 0 };
    throw error;
  }
}

function hasScheme({ data }: Deployment, scheme: string): boolean {
  try {
    return schemeOf(readDocument(data?.document), scheme) !== undefined;
  } catch (error) {
    if (error instanceof DocumentError) return false;
    throw error;
  }
}

/** What a route's status says against it. */
function messageOf(parents: readonly { conditions: readonly Condition[] }[] | undefined, { parentRefs }: ApiStage): string | undefined {
  if (!parents || parents.length === 0) return `no Gateway serves it yet: parentRefs name ${parentRefs.map(({ namespace, name }) => (namespace === undefined ? name : `${namespace}/${name}`)).join(", ")}`;
  const wrong = parents.flatMap(({ conditions }) => conditions.filter(({ type, status }) => (type === "PartiallyInvalid" ? status === "True" : status === "False")));
  return wrong.length === 0 ? undefined : [...new Set(wrong.map(({ message }) => message))].join("; ");
}

/** "http://HOST[:PORT]/PATH" under the first listener of the first Gateway that takes HTTP. */
export function urlOfStage({ parentRefs, hostnames = [], path = "" }: ApiStage, namespace: string, gatewayOf: (key: string) => Gateway | undefined, addressOf: (gateway: Gateway) => string | undefined): string | undefined {
  for (const { kind = "Gateway", namespace: where = namespace, name, sectionName, port } of parentRefs) {
    const gateway = kind === "Gateway" ? gatewayOf(`${where}/${name}`) : undefined;
    const listener = gateway?.spec.listeners?.find((one) => (one.protocol === "HTTP" || one.protocol === "HTTPS") && (sectionName === undefined || one.name === sectionName) && (port === undefined || one.port === port));
    if (!listener) continue;
    const named = [...hostnames, listener.hostname ?? ""].find((host) => host !== "" && !host.startsWith("*."));
    const host = named ?? addressOf(gateway!);
    if (host === undefined) continue;
    const [scheme, usual] = listener.protocol === "HTTPS" ? ["https", 443] : ["http", 80];
    return `${scheme}://${host}${listener.port === usual ? "" : `:${listener.port}`}${path}`;
  }
  return undefined;
}

/** As JSON, fields in one order, whoever wrote them. */
export function stable(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => (typeof inner === "object" && inner !== null && !Array.isArray(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner)) ?? "";
}
