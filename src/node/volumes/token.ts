import { resources } from "../../api/resources.ts";
import type { Pod } from "../../api/types.ts";
import type { NodeContext } from "../context.ts";

/** Gives the pod's service-account tokens, each until it should be renewed. */
export interface TokenSource {
  token(audience: string, expirationSeconds: number): Promise<string>;
}

interface TokenRequest {
  status?: { token: string; expirationTimestamp: string };
}

/** A token is renewed when 80 % of its life is over, or after a day. kubelet's rule. */
const renewal = { share: 0.8, maxAgeMs: 24 * 3600 * 1000 } as const;

export class PodTokens implements TokenSource {
  readonly #ctx: Pick<NodeContext, "client" | "clock">;
  readonly #pod: Pod;
  readonly #tokens = new Map<string, { token: string; renewAtMs: number }>();

  constructor(ctx: Pick<NodeContext, "client" | "clock">, pod: Pod) {
    this.#ctx = ctx;
    this.#pod = pod;
  }

  /** When the first of them is due, so that the volume is written again. */
  get renewAtMs(): number {
    return Math.min(Infinity, ...[...this.#tokens.values()].map(({ renewAtMs }) => renewAtMs));
  }

  async token(audience: string, expirationSeconds: number): Promise<string> {
    const key = `${audience}/${expirationSeconds}`;
    const nowMs = this.#ctx.clock.now();
    const known = this.#tokens.get(key);
    if (known && nowMs < known.renewAtMs) return known.token;
    const { name, namespace, uid } = this.#pod.metadata;
    const request = {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: { audiences: audience === "" ? [] : [audience], expirationSeconds, boundObjectRef: { apiVersion: "v1", kind: "Pod", name, uid } },
    };
    const account = this.#pod.spec!.serviceAccountName || "default";
    const answer = await this.#ctx.client.create<TokenRequest>(resources.serviceAccounts, namespace, request, { subresource: "token", name: account });
    if (!answer.status?.token) throw new Error(`the API gave no token for service account ${namespace}/${account}`);
    const lifeMs = Date.parse(answer.status.expirationTimestamp) - nowMs;
    this.#tokens.set(key, { token: answer.status.token, renewAtMs: nowMs + Math.min(lifeMs * renewal.share, renewal.maxAgeMs) });
    return answer.status.token;
  }
}
