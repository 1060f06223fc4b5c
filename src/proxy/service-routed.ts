import type { Retry } from "../api/traffic.ts";
import type { Exchange, Outcome } from "../policy/exchange.ts";
import { localAnswer } from "../policy/local-answer.ts";
import type { Routed } from "./http/routing.ts";
import type { ServicePort } from "./service-table.ts";

/**
 * To a Service's own endpoints, by the upstream with that id. A pod that is being restarted for new code is waited for: also by
 * what it left without an answer.
 */
export function routedToService(service: ServicePort, upstream: string, more: { retry: Retry; isAsItCame?: boolean }): Routed {
  const whenReady = (exchange: Exchange, outcome: Outcome, go: () => void): boolean =>
    service.held &&
    service.wait(() => {
      if (service.held) outcome.answer(exchange, localAnswer(exchange.request, "UH", `${service.key} is being restarted for too long`));
      else go();
    });
  const forward = (exchange: Exchange, outcome: Outcome): void => {
    exchange.upstream = upstream;
    outcome.forward(exchange);
  };
  return {
    name: service.key,
    handler: (exchange, outcome) => {
      // Every request comes by here, and hardly any waits.
      if (!service.held || !whenReady(exchange, outcome, () => forward(exchange, outcome))) forward(exchange, outcome);
    },
    rescue: whenReady,
    ...more,
  };
}
