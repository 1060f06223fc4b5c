import type { GroupVersionResource, KubeObject } from "../meta.ts";
import type { RequestRule } from "../traffic-content.ts";

/** An API as a product: the one kind of the gateway that is ours (docs/decisions/018). What each field means: docs/reference/api-product.md. */
export const productGroup = "api.wherry.dev";
export const productVersion = `${productGroup}/v1alpha1`;
export const apiResource: GroupVersionResource = { group: productGroup, version: "v1alpha1", resource: "apis" };
/** Of an HTTPRoute that stands for a stage, and says which. */
export const stageLabel = "api.wherry.dev/stage";
/**
 * Of an API: what of its caches is to be emptied: "TOKEN", of all stages; "TOKEN STAGE", of one; "TOKEN STAGE /PATH", what begins so.
 * Done once for each value; `status.purge` says for which.
 */
export const purgeAnnotation = "api.wherry.dev/purge";
/** Of a ControllerRevision that is a deployment, and says of which API. */
export const apiLabel = "api.wherry.dev/api";

export interface ApiStage {
  name: string;
  /** The number of the deployment that is live; absent: the newest. */
  deployment?: number;
  parentRefs: { group?: string; kind?: string; namespace?: string; name: string; sectionName?: string; port?: number }[];
  hostnames?: string[];
  /**
   * Only requests with all of these; the other stages at the same host have the rest: a canary for who asks for it. It goes before
   * everything that has no such headers there.
   */
  headers?: { name: string; value: string }[];
  /**
   * Only so many of a hundred clients, always the same ones: by the value of `header` where they have it, else by their address. The other
   * stages at the same host have the rest.
   */
  canary?: { percent: number; header?: string };
  /** Before all paths, and taken off again before a backend sees them. */
  path?: string;
  /** For `${stageVariables.NAME}` in integrations, and for the variables of the document's servers. */
  variables?: Record<string, string>;
  /** Where operations go that have no integration of their own. */
  backendRef?: { namespace?: string; name: string; port: number };
  /** Which Services are meant by integrations whose uri begins so: hosts beyond the cluster, and functions. The longest counts. */
  backends?: { uri: string; backendRef: { namespace?: string; name: string; port: number } }[];
  /** Who checks what the document's `security` asks for. */
  security?: "Gateway" | "Backend";
  /**
   * Whether requests must be as the document describes them. `Document`: where its request validators say so; `All`: everywhere;
   * `Report`: the access log says what `All` would refuse; `None`.
   */
  validation?: "Document" | "All" | "Report" | "None";
  /** All requests of the stage together. */
  throttle?: ApiThrottle;
  /** Answers to GET. */
  cache?: ApiCache & { /** Of all that one worker keeps for the stage. */ maxBytes?: number };
  /** Before anything else looks at a request, preflights apart: in their order, the first that a request breaks refuses it. */
  rules?: ApiRule[];
  /** Of bodies that rules look into: so much, and what becomes of longer ones. */
  inspection?: { maxBodyBytes?: number; oversize?: "Deny" | "Pass" };
  /** How security schemes of the document are checked here; what it says of them itself need not be said again. */
  authorizers?: ApiAuthorizer[];
  /** Whose keys open what asks for one, and how much each may ask. */
  plans?: ApiPlan[];
  /** What Services want to be shown; the Secret has `username` and `password`, a `token` (bearer), or the header's whole value in `credential`. */
  credentials?: { backendRef: { namespace?: string; name: string; port?: number }; secretRef: { name: string }; /** "Authorization" unless said. */ header?: string }[];
  /** Behind `path`: here clients find the document, as it is served. Absent: nowhere. */
  documentPath?: string;
  /** By operation; an operation without `operationId` is called "METHOD /path". */
  operations?: { operation: string; throttle?: ApiThrottle; cache?: ApiCache }[];
}

export interface ApiThrottle {
  requestsPerSecond: number;
  /** So many at once; `requestsPerSecond` unless said. */
  burst?: number;
}

/** Of one scheme, by its name. */
export interface ApiAuthorizer {
  scheme: string;
  /** Of authorizers that are asked (`token`, `request`): who is, and at which path ("/" unless said). */
  backendRef?: { namespace?: string; name: string; port: number };
  path?: string;
  /** Of tokens: who issues them, for whom, and where his keys are, unless his own document (OpenID Connect Discovery) says so. */
  issuer?: string;
  audiences?: string[];
  jwksUri?: string;
}

export interface ApiPlan extends PlanLimits {
  name: string;
  /** Clients' names, and the key of each. */
  secretRef: { name: string };
  /** Besides the plan's own; what counts for one counts for the other. */
  operations?: ({ operation: string } & PlanLimits)[];
}

/** For each key by itself. */
export interface PlanLimits {
  throttle?: ApiThrottle;
  /** In calendar windows, in UTC. */
  quota?: { requests: number; unit: "Hour" | "Day" | "Week" | "Month" | "Year" };
}

export interface ApiCache {
  /** False: not cached, where the stage is. */
  enabled?: boolean;
  ttlSeconds?: number;
  staleWhileRevalidateSeconds?: number;
  /** Instead of an error, so long after its end. */
  staleIfErrorSeconds?: number;
  /** Longer answers are not kept. */
  maxObjectBytes?: number;
  keyHeaders?: string[];
  keyQuery?: string[];
}

/** As {@link RequestRule} has it. */
export interface ApiRule extends Omit<RequestRule, "dryRun" | "deny"> {
  /** `Log`: the access log says what it would have refused. */
  action?: "Deny" | "Log";
  deny?: { in?: ("path" | "query" | "headers" | "body")[]; /** These alone. */ headers?: string[]; pattern: string; ignoreCase?: boolean };
}

export interface ApiObject extends KubeObject {
  spec: {
    document?: Record<string, unknown>;
    documentFrom?: { configMapKeyRef: { name: string; key: string } };
    revisionHistoryLimit?: number;
    stages?: ApiStage[];
  };
  status?: ApiStatus;
}

export interface ApiStatus {
  conditions?: { type: string; status: "True" | "False"; reason: string; message: string; observedGeneration?: number; lastTransitionTime?: string }[];
  /** Newest first. */
  deployments?: { revision: number; created: string; title: string; version: string; description?: string; operations: number; /** Names of stages. */ liveIn?: string[] }[];
  /** The value of the annotation that was done last, and how many answers went: each worker's counted. */
  purge?: { requested: string; removed: number; completed: string; message?: string };
  stages?: { name: string; deployment?: number; url?: string; documentUrl?: string; operations: number; ready: boolean; message?: string; usage?: ApiUsage[]; /** What its rules have refused, and would have, since the data plane's workers began; a few seconds ago. */ rules?: { name: string; refused: number; logged: number }[] }[];
}

/** What has been counted of a quota, by whom it counts; as it was a few seconds ago. */
export interface ApiUsage {
  /** The BackendTrafficPolicy that limits; of another namespace "NAMESPACE/NAME". Absent: a plan of the stage does. */
  policy?: string;
  plan?: string;
  /** Of a plan: absent, all operations together. */
  operation?: string;
  /** "hour", "month". */
  unit: string;
  key: string;
  count: number;
  /** So many may be. Absent: the limit is there no more. */
  limit?: number;
  /** When the window ends. */
  until: string;
}

/** The document as one deployment has it: a ControllerRevision's `data`, which nobody can change. */
export interface Deployment extends KubeObject {
  data?: { document?: Record<string, unknown> };
  revision: number;
}

export const routeNameOf = (api: string, stage: string): string => `${api}.${stage}`;
export const deploymentNameOf = (api: string, revision: number): string => `${api}.${revision}`;
