import type { HttpFilter } from "../../api/traffic.ts";
import type { Filter } from "../exchange.ts";
import { admission } from "./admission.ts";
import { anyOf } from "./any-of.ts";
import { apiKey } from "./api-key.ts";
import { authorise } from "./authorise.ts";
import { authorizer } from "./authorizer.ts";
import { bandwidth } from "./bandwidth.ts";
import { basic } from "./basic.ts";
import { bodyLimit } from "./body-limit.ts";
import { cache } from "./cache.ts";
import { compress } from "./compress.ts";
import { concurrency } from "./concurrency.ts";
import { cors } from "./cors.ts";
import { credential } from "./credential.ts";
import { csrf } from "./csrf.ts";
import { extAuth } from "./ext-auth.ts";
import { fault } from "./fault.ts";
import { gatewayResponses } from "./gateway-responses.ts";
import { jwt } from "./jwt.ts";
import { mirror } from "./mirror.ts";
import { mock } from "./mock.ts";
import { oidc } from "./oidc.ts";
import { override } from "./override.ts";
import { plans } from "./plans.ts";
import { quota } from "./quota.ts";
import { rateLimit } from "./rate-limit.ts";
import { redirect } from "./redirect.ts";
import { requestBuffer } from "./request-buffer.ts";
import { requestHeaders } from "./request-headers.ts";
import { requestParameters } from "./request-parameters.ts";
import { requestRules } from "./request-rules.ts";
import { requestTemplate } from "./request-template.ts";
import { respond } from "./respond.ts";
import { responseHeaders } from "./response-headers.ts";
import { responseTemplate } from "./response-template.ts";
import { rewrite } from "./rewrite.ts";
import { sourceRanges } from "./source-ranges.ts";
import { upgrades } from "./upgrades.ts";
import { validate } from "./validate.ts";

/** Every type of {@link HttpFilter}: a new one is a file, a line here, and its row in `api/traffic.ts`. */
export const filters: { readonly [T in HttpFilter["type"]]: Filter<Extract<HttpFilter, { type: T }>> } = {
  admission,
  anyOf,
  apiKey,
  authorise,
  authorizer,
  bandwidth,
  basic,
  bodyLimit,
  cache,
  compress,
  concurrency,
  cors,
  credential,
  csrf,
  extAuth,
  fault,
  gatewayResponses,
  jwt,
  mirror,
  mock,
  oidc,
  override,
  plans,
  quota,
  rateLimit,
  redirect,
  requestBuffer,
  requestHeaders,
  requestParameters,
  requestRules,
  requestTemplate,
  respond,
  responseHeaders,
  responseTemplate,
  rewrite,
  sourceRanges,
  upgrades,
  validate,
};
