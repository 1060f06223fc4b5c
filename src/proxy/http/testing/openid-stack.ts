import { text } from "node:stream/consumers";
import type { HttpFilter } from "../../../api/traffic.ts";
import { systemRandom } from "../../../base/random.ts";
import type { FilterTools, Handler } from "../../../policy/exchange.ts";
import { oidc } from "../../../policy/filters/oidc.ts";
import { leasedLimiter, RateOwner } from "../../../policy/rate-leases.ts";
import { startGateway, startProgram, type TestGateway, TurnPolicy } from "./gateway.ts";

export type OidcConfig = Extract<HttpFilter, { type: "oidc" }>;

export interface OpenidStack extends AsyncDisposable {
  /** Workers: the same settings, session key and rates, and nothing else in common. */
  workers: TestGateway[];
  /** What the program behind got, last of all. */
  got: { url: string; headers: Record<string, string> }[];
  /** The clock of all workers, in milliseconds since the epoch. */
  now(): number;
  /** Seconds by which it is further ahead. */
  pass(seconds: number): void;
}

/** Workers that let in who has logged in at the provider, which listens on a port of loopback. */
export async function startOpenidStack(port: number, config: Pick<OidcConfig, "issuer" | "clientId" | "clientSecret"> & Partial<OidcConfig>, workers: number): Promise<OpenidStack> {
  let ahead = 0;
  const now = (): number => Date.now() + ahead * 1000;
  const nowMs = (): number => performance.now() + ahead * 1000;
  const owner = new RateOwner(nowMs);
  const setTimer: FilterTools["setTimer"] = () => ({ cancel() {} });
  const got: OpenidStack["got"] = [];
  const program = await startProgram((request, response) => void text(request).then(() => {
    got.push({ url: request.url!, headers: request.headers as Record<string, string> });
    response.end("inside");
  }));
  const gateways = Array.from({ length: workers }, () => {
    const gateway = startGateway([program.port]);
    const policy = new TurnPolicy();
    policy.update([{ ip: "127.0.0.1", port, key: `127.0.0.1:${port}` }]);
    gateway.engine.putUpstream({ id: "issuer", http2: false, connectMs: 1_000, idleMs: 30_000 }, policy);
    const tools: FilterTools = { random: systemRandom, nowMs, dateMs: now, setTimer, limiter: (id, rate) => leasedLimiter(id, rate, { nowMs, setTimer, ask: (request, reply) => reply(owner.lease(request)) }), sessionKey: "0123456789abcdef0123456789abcdef", call: (request, then) => gateway.engine.call(request, then) };
    const forward: Handler = (exchange, outcome) => {
      exchange.upstream = "shop/web/80";
      outcome.forward(exchange);
    };
    const whole: OidcConfig = { type: "oidc", upstreams: [{ upstream: "issuer", origin: config.issuer }], redirectUrl: "%REQ(x-forwarded-proto)%://%REQ(:authority)%/oauth2/callback", logoutPath: "/logout", scopes: ["openid", "email"], cookies: { suffix: "abc" }, refresh: true, defaultRefreshMs: 86_400_000, flowMs: 600_000, ...config };
    gateway.routed.handler = oidc(whole, tools)(forward);
    return gateway;
  });
  return {
    workers: gateways,
    got,
    now,
    pass: (seconds) => void (ahead += seconds),
    async [Symbol.asyncDispose]() {
      for (const gateway of gateways) await gateway[Symbol.asyncDispose]();
      await program[Symbol.asyncDispose]();
    },
  };
}
