import type { ApiStage, ApiThrottle } from "../../api/product/kinds.ts";
import type { PlanLimit } from "../../api/traffic-access.ts";
import type { HttpFilter, KeySet, TokenProvider } from "../../api/traffic.ts";
import type { BackendReference } from "../gateway/kinds.ts";
import type { World } from "../gateway/world.ts";
import { type Need, References } from "../policies/references.ts";
import { apiKeyFilter } from "../policies/security/credentials.ts";
import type { Refusal } from "../policies/effect.ts";
import type { AskedScheme, Checked, OwnCheck } from "./security.ts";

/** What an operation asks of its stage. */
export interface Guarded {
  /** As the document has it. */
  id: string;
  /** "NAMESPACE/API.STAGE". */
  place: string;
  stage: ApiStage;
  security?: AskedScheme[][];
  backendRef?: BackendReference;
}

/** What comes of it. */
export interface Guard {
  /** Before whatever is counted, kept or made of a request. */
  before: HttpFilter[];
  /** Last of all. */
  after: HttpFilter[];
  needs: Need[];
  /** Why nothing may be served. */
  refusal?: string;
}

/** The filters of policies that check what a scheme asks for. */
export const policyFilters: Record<Checked, readonly string[]> = { jwt: ["jwt", "oidc", "extAuth"], apiKey: ["apiKey", "extAuth"], basic: ["basic", "extAuth"], authorizer: ["extAuth"] };

/**
 * How stages check by themselves what their documents ask for, and what they show their backends: Secrets and Services that stages name,
 * looked at once for all operations of a route. Whatever is named and not there leaves nothing that is served.
 */
export class Guards {
  readonly #references: References;
  readonly #made = new Map<string, Guard>();

  /** `seen` hears of what is named, there or not: "Secret/NAMESPACE/NAME". */
  constructor(world: World, namespace: string, seen: (what: string) => void) {
    this.#references = new References(world, "HTTPRoute", namespace, seen);
  }

  /** `present`: types of the filters that policies have put there. */
  of(guarded: Guarded, present: ReadonlySet<string>): Guard {
    const { id, security } = guarded;
    const credential = this.#credential(guarded);
    const servable = (security ?? []).filter((alternative) => alternative.every(({ checked, own }) => own !== undefined || policyFilters[checked].some((type) => present.has(type))));
    const own = servable.filter((alternative) => alternative.some((scheme) => scheme.own));
    // One that policies see to is seen to.
    if (own.length === 0 || own.length < servable.length) return credential;
    // For OpenAPI one of them is enough; AWS API Gateway has a key and an authorizer for every method, and wants both.
    const schemes = own.flat();
    if (own.length > 1 && schemes.some(({ isAws }) => isAws) && schemes.some(({ checked }) => checked === "apiKey")) return refused(`${id} asks for ${own.map((alternative) => alternative.map(({ name }) => name).join(" and ")).join(" or ")}: AWS API Gateway would want both, and OpenAPI one of them; one object in security asks for both`);
    const ways = own.map((alternative) => this.#way(alternative, guarded));
    const known = together(ways);
    const before: HttpFilter[] = ways.length === 1 ? known.before : [{ type: "anyOf", of: ways.map((way) => way.before) }];
    return together([{ ...known, before }, credential]);
  }

  /** All of these. */
  #way(alternative: AskedScheme[], guarded: Guarded): Guard {
    const order: Checked[] = ["jwt", "authorizer", "basic", "apiKey"];
    return together(alternative.toSorted((a, b) => order.indexOf(a.checked) - order.indexOf(b.checked)).flatMap(({ name, own: check }) => (check ? [this.#check(name, check, guarded)] : [])));
  }

  #check(name: string, check: OwnCheck, guarded: Guarded): Guard {
    if (check.type === "jwt") return this.#once(`jwt ${name} ${JSON.stringify(check)}`, () => this.#tokens(name, check));
    if (check.type === "apiKey") return this.#keys(check, guarded);
    const { backendRef, filter } = check;
    let why: string | undefined;
    const need = this.#references.backend(backendRef, (text) => void (why = text));
    if (!need) return refused(`stages[].authorizers: ${name}: backendRef ${why}`);
    return { before: [{ ...filter, upstream: need.id, host: `${need.service}.${need.namespace}` }], after: [], needs: [need] };
  }

  #tokens(name: string, { providers, audiences, clientIdIsAudience, place, scopes }: Extract<OwnCheck, { type: "jwt" }>): Guard {
    const needs: Need[] = [];
    const made: TokenProvider[] = [];
    for (const [i, { issuer, jwksUri }] of providers.entries()) {
      const uri = jwksUri ?? `${issuer!.replace(/\/$/, "")}/.well-known/openid-configuration`;
      let why: string | undefined;
      const need = this.#references.url(uri, (text) => void (why = text));
      if (!need) return refused(`${name}: ${jwksUri === undefined ? "its issuer" : "jwksUri"} ${why}`);
      needs.push(need);
      const url = new URL(uri);
      made.push({
        name: i === 0 ? name : `${name} ${i}`,
        ...(issuer !== undefined && { issuer }),
        ...(audiences.length > 0 && { audiences }),
        ...(clientIdIsAudience && audiences.length > 0 && { clientIdIsAudience }),
        keys: { upstream: need.id, host: url.host, target: url.pathname + url.search, ...(jwksUri === undefined && { issuer: issuer! }) },
        ...(place && ("header" in place ? { headers: [{ name: place.header.toLowerCase(), prefix: "Bearer ", isOptional: true as const }] } : { params: [place.param] })),
        isForwarded: true,
      });
    }
    const wanted = scopes.names.length === 0 ? [] : scopes.all ? [scopes.names] : scopes.names.map((scope) => [scope]);
    const rules = made.flatMap(({ name: provider }) => wanted.map((list) => ({ name: `scope ${list.join(" ")}`, action: "allow" as const, token: { provider, scopes: list } })));
    return { before: [{ type: "jwt", providers: made }, ...(rules.length > 0 ? [{ type: "authorise", rules, otherwise: "deny" } satisfies HttpFilter] : [])], after: [], needs };
  }

  /** Keys of all plans, and what each plan allows. */
  #keys({ from }: Extract<OwnCheck, { type: "apiKey" }>, { id, place, stage }: Guarded): Guard {
    const known = this.#once("keys", () => {
      const all: KeySet[number][] = [];
      const planOf = new Map<string, string>();
      for (const { name, secretRef } of stage.plans!) {
        const wrong: Refusal[] = [];
        const [filter] = apiKeyFilter({ credentialRefs: [secretRef], extractFrom: [{ headers: ["x-api-key"] }] }, this.#references, wrong);
        if (wrong.length > 0) return refused(`stages[].plans: ${name}: secretRef ${wrong.map(({ why }) => why).join("; ")}`);
        for (const key of filter?.type === "apiKey" ? filter.keys : []) {
          const other = planOf.get(key.sha256);
          if (other !== undefined) return refused(`stages[].plans: ${name}: ${key.client} has a key of plan ${other}, too`);
          planOf.set(key.sha256, name);
          all.push({ ...key, plan: name });
        }
      }
      return { before: [{ type: "apiKey", keys: all, from: [] }], after: [], needs: [] };
    });
    if (known.refusal !== undefined) return known;
    const [{ keys }] = known.before as [Extract<HttpFilter, { type: "apiKey" }>];
    const plans = stage.plans!.map(({ name, throttle, quota, operations = [] }) => {
      const one = operations.find(({ operation }) => operation === id);
      const base = `plan/${place}/${name}`;
      // What is narrower first: what it refuses takes nothing from what is for all.
      return { name, limits: [...(one ? limitOf(`${base}/${id}`, one.throttle, one.quota) : []), ...limitOf(`${base}/`, throttle, quota)] };
    });
    return { before: [{ type: "apiKey", keys, from }, { type: "plans", plans }], after: [], needs: [] };
  }

  /** What its backend wants to be shown. */
  #credential({ stage, backendRef }: Guarded): Guard {
    const { namespace } = this.#references;
    const fits = (one: NonNullable<ApiStage["credentials"]>[number]): boolean => backendRef !== undefined && one.backendRef.name === backendRef.name && (one.backendRef.namespace ?? namespace) === (backendRef.namespace ?? namespace) && (one.backendRef.port ?? backendRef.port) === backendRef.port;
    const found = stage.credentials?.find(fits);
    if (!found) return none;
    return this.#once(`credential ${JSON.stringify(found)}`, () => {
      const { backendRef: { name }, secretRef, header = "Authorization" } = found;
      let why: string | undefined;
      const secret = this.#references.secret(secretRef, (text) => void (why = text));
      const value = secret && shownOf(secret.data ?? {});
      if (value === undefined) return refused(`stages[].credentials: ${name}: secretRef ${why ?? `names Secret ${secretRef.name}, which has neither username and password, nor token, nor credential: one of the three`}`);
      if (/[^\t\x20-\x7e]/.test(value)) return refused(`stages[].credentials: ${name}: secretRef names Secret ${secretRef.name}, whose value has a line break or another character that no header can have`);
      return { before: [], after: [{ type: "credential", header, secret: value, overwrite: true }], needs: [] };
    });
  }

  /** For all operations that ask for the same. */
  #once(key: string, make: () => Guard): Guard {
    let found = this.#made.get(key);
    if (!found) this.#made.set(key, (found = make()));
    return found;
  }
}

const none: Guard = { before: [], after: [], needs: [] };
const refused = (refusal: string): Guard => ({ ...none, refusal });
function together(guards: readonly Guard[]): Guard {
  const refusal = guards.find((guard) => guard.refusal !== undefined)?.refusal;
  return { before: guards.flatMap(({ before }) => before), after: guards.flatMap(({ after }) => after), needs: guards.flatMap(({ needs }) => needs), ...(refusal !== undefined && { refusal }) };
}

type Quota = NonNullable<NonNullable<ApiStage["plans"]>[number]["quota"]>;
function limitOf(id: string, throttle: ApiThrottle | undefined, quota: Quota | undefined): PlanLimit[] {
  if (!throttle && !quota) return [];
  return [
    {
      id,
      ...(throttle && { throttle: { requestsPerSecond: throttle.requestsPerSecond, burst: throttle.burst ?? throttle.requestsPerSecond } }),
      ...(quota && { quota: { requests: quota.requests, unit: quota.unit.toLowerCase() as NonNullable<PlanLimit["quota"]>["unit"] } }),
    },
  ];
}

/** Of `username` and `password`, of a `token`, or as it stands in `credential`. Undefined: not exactly one of them. */
function shownOf(data: Readonly<Record<string, string>>): string | undefined {
  const text = (name: string): string | undefined => (data[name] === undefined ? undefined : Buffer.from(data[name], "base64").toString("utf8"));
  const trimmed = (value: string | undefined): string | undefined => (value === undefined || value.trim() === "" ? undefined : value.replace(/\r?\n$/, ""));
  const [username, password, token, credential] = [text("username"), text("password"), trimmed(text("token")), trimmed(text("credential"))];
  const ways = [username !== undefined && password !== undefined ? `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}` : undefined, token === undefined ? undefined : `Bearer ${token}`, credential].filter((value) => value !== undefined);
  return ways.length === 1 ? ways[0] : undefined;
}
