import type { AuthorisationPolicy } from "../../api/authorisation.ts";
import type { Guard, PeerMode } from "../../api/guard.ts";
import type { PodIdentity } from "../../api/network.ts";
import { type Authorise, compileAuthorisation } from "../../policy/authorise/authorise.ts";
import { compileLogTest, type LoggedRequest } from "../../policy/log-test.ts";
import { PolicyError } from "../../policy/policy-error.ts";
import { SharedKeys } from "./shared-keys.ts";
import { type FetchKeys, TokenReader } from "../../policy/tokens/reader.ts";

/** All that stands before one pod. */
export interface PodGuard {
  authorise: Authorise | undefined;
  /** What a PeerAuthentication says of this port; STRICT: who calls must be known. Undefined: none says anything. */
  peerMode(port: number): PeerMode | undefined;
  tokens: TokenReader | undefined;
  /** Whether a request has a line in the access log; undefined: nobody says. */
  log: ((of: LoggedRequest) => boolean) | undefined;
  /** It cannot judge without reading HTTP. */
  readsHttp: boolean;
}

/** Which guards stand before which pods. What was found is kept until guards or pods change. */
export class Guards {
  readonly #pods: ReadonlyMap<string, PodIdentity>;
  readonly #keys: SharedKeys;
  #guards: readonly Guard[] = [];
  /** By Service ("" without), then by address: texts that the tables have already, so that none is made for a request. */
  readonly #known = new Map<string, Map<string, PodGuard | undefined>>();
  /** By the ids of the guards: pods of one Deployment share it. */
  readonly #made = new Map<string, PodGuard>();

  constructor(pods: ReadonlyMap<string, PodIdentity>, fetchKeys: FetchKeys) {
    this.#pods = pods;
    this.#keys = new SharedKeys(fetchKeys);
  }

  set(guards: readonly Guard[]): void {
    this.#guards = guards.toSorted((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
    this.podsChanged();
    for (const { tokens } of this.#made.values()) tokens?.close();
    this.#made.clear();
    this.#keys.want(new Set(guards.flatMap(({ tokens = [] }) => tokens.flatMap(({ jwks, jwksUri }) => (jwks === undefined && jwksUri !== undefined ? [jwksUri] : [])))));
  }
  /** Resolves when keys that are elsewhere are there, or cannot be had. */
  keysAnswered(): Promise<void> {
    return this.#keys.answered();
  }
  podsChanged(): void {
    this.#known.clear();
  }

  /** Of the pod with this address, when it is called by its Service ("NAMESPACE/NAME"); undefined: there is none. */
  of(ip: string, service: string | undefined): PodGuard | undefined {
    if (this.#guards.length === 0) return undefined;
    let known = this.#known.get(service ?? "");
    if (!known) this.#known.set(service ?? "", (known = new Map()));
    const found = known.get(ip);
    if (found !== undefined || known.has(ip)) return found;
    const pod = this.#pods.get(ip);
    const here = this.#guards.filter((guard) => (guard.services ? service !== undefined && guard.services.includes(service) : pod !== undefined && isFor(guard, pod)));
    const guard = here.length === 0 ? undefined : this.#make(here);
    known.set(ip, guard);
    return guard;
  }

  #make(guards: readonly Guard[]): PodGuard {
    const key = guards.map(({ id }) => id).join(" ");
    const known = this.#made.get(key);
    if (known) return known;
    const policies = guards.flatMap(({ authorisation }) => authorisation ?? []).map(orClosed);
    const rules = guards.flatMap(({ tokens }) => tokens ?? []);
    const tokens = rules.length > 0 ? new TokenReader(rules, this.#keys.read) : undefined;
    const made = { authorise: compileAuthorisation(policies), peerMode: peerModes(guards), tokens, log: logOf(guards), readsHttp: tokens !== undefined || policies.some(looksAtHttp) };
    this.#made.set(key, made);
    return made;
  }
}

/** Whether a guard stands before a pod, whoever calls it. */
export function isFor({ namespace, labels = {}, services }: Guard, pod: PodIdentity): boolean {
  if (services || (namespace !== undefined && namespace !== pod.namespace)) return false;
  return Object.entries(labels).every(([name, value]) => pod.labels?.[name] === value);
}

/** Whether calls must be asked about, so that nobody may get past the one who asks. */
export function keepsOff({ authorisation, tokens, services }: Guard): boolean {
  if (services) return false;
  return tokens !== undefined || (authorisation !== undefined && !authorisation.isDryRun && authorisation.action !== "AUDIT");
}

/** A policy that cannot be read lets nobody in by it, or keeps everybody out: its author has meant somebody. */
function orClosed(policy: AuthorisationPolicy): AuthorisationPolicy {
  try {
    compileAuthorisation([policy]);
    return policy;
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return { ...policy, rules: policy.action === "ALLOW" ? [] : [{}] };
  }
}

function looksAtHttp({ rules }: AuthorisationPolicy): boolean {
  return rules.some(({ from, to, when }) => from?.some(({ requestPrincipals }) => requestPrincipals) || to?.some(({ hosts, methods, paths }) => hosts ?? methods ?? paths) || when?.some(({ key }) => key.startsWith("request.")));
}

/** The guard for the fewest pods says it, and the oldest of these; a port of its own goes first. Source: istio.io, PeerAuthentication. */
function peerModes(guards: readonly Guard[]): (port: number) => PeerMode | undefined {
  const oldest = (rank: number) => guards.find((guard) => guard.peer && rankOf(guard) === rank)?.peer;
  const [own, ofNamespace, ofMesh] = [oldest(2), oldest(1), oldest(0)];
  const ports = new Map(Object.entries(own?.ports ?? {}).map(([port, mode]): [number, PeerMode] => [Number(port), mode]));
  const usual = own?.mode ?? ofNamespace?.mode ?? ofMesh?.mode;
  return (port) => ports.get(port) ?? usual;
}

function logOf(guards: readonly Guard[]): PodGuard["log"] {
  const said = guards.filter(({ log }) => log).toSorted((a, b) => rankOf(b) - rankOf(a))[0]?.log;
  if (!said) return undefined;
  if (said.isDisabled) return () => false;
  return said.when ? compileLogTest(said.when) : () => true;
}
const rankOf = ({ namespace, labels, services }: Guard): number => (labels || services ? 2 : namespace !== undefined ? 1 : 0);
