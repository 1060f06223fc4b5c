import type { HttpFilter } from "./traffic.ts";
import type { PathNames, TemplateStage } from "./traffic-content.ts";

/** Filters of stages that say who may ask, and how much: as gateways have it that people bring documents from. */
export type AccessFilterConfig = AnyOfFilter | AuthorizerFilter | PlansFilter;

/** Ways to be known, of which one is enough. */
export interface AnyOfFilter {
  type: "anyOf";
  of: HttpFilter[][];
}

/** A program is told of a request as AWS API Gateway tells a Lambda authorizer, and answers with an IAM policy, or with yes or no. */
export interface AuthorizerFilter {
  type: "authorizer";
  /** Of the document's security scheme; for the log. */
  name: string;
  /** Who is asked: id of an {@link Upstream}, and the path of the request. */
  upstream: string;
  host: string;
  target: string;
  /** What it is told: a token, a request in payload format 1.0, or in 2.0. */
  event: "token" | "request" | "request2";
  /** It answers `isAuthorized` instead of a policy. */
  simple?: boolean;
  /** What answers are kept by. A request that lacks one of them gets 401, and nobody is asked. Of `token` exactly one header. */
  identity: IdentitySource[];
  /** RE2, of the whole token; another token gets 401, and nobody is asked. */
  validation?: string;
  /** So long is an answer kept, in each worker; 0: everybody is asked of. Without `identity` none is kept. */
  ttlSeconds: number;
  timeoutMs: number;
  /** Of the resources that policies are about: before "/METHOD/PATH". Six parts with colons between. */
  arn: string;
  /** What of the path is not the document's. */
  base?: string;
  path?: PathNames;
  stage: TemplateStage;
  /** What has the same here, and asks the same program in the same way, has answers in common. */
  share: string;
}

export type IdentitySource = { in: "header" | "query" | "context"; name: string } | { in: "fixed"; name: string; value: string };

/** What keys of usage plans may do: of `apiKey`'s keys each belongs to a plan. A key of none gets 403. */
export interface PlansFilter {
  type: "plans";
  plans: { name: string; limits: PlanLimit[] }[];
}

/** Each key has a count of its own. */
export interface PlanLimit {
  /** Everybody's: see `FilterTools.quota`. */
  id: string;
  /** `burst` at once, filled up again at a steady rate. */
  throttle?: { requestsPerSecond: number; burst: number };
  /** By calendar windows in UTC, exactly. */
  quota?: { requests: number; unit: "hour" | "day" | "week" | "month" | "year" };
}
