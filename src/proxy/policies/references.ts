import { envoyGroup, type PolicyKind } from "../../api/envoy/kinds.ts";
import type { ConfigMap, Secret } from "../../api/types.ts";
import type { Upstream } from "../../api/traffic.ts";
import { type ResolvedBackend, resolveBackend, upstreamId } from "../gateway/backends.ts";
import { isGranted } from "../gateway/grants.ts";
import { type BackendReference, gatewayGroup } from "../gateway/kinds.ts";
import type { World } from "../gateway/world.ts";

/** A Service port, or a place beyond the cluster, that a filter asks by itself: what {@link Effect.needs} holds. */
export type Need = NonNullable<ResolvedBackend["upstream"]>;

/** Says why a reference cannot be used. */
export type Refuse = (why: string) => void;

/**
 * What a policy's fields name. Whatever is looked at is remembered, there or not, so that the policy is compiled anew when it changes. Names
 * of other namespaces need a ReferenceGrant, as those of routes do.
 */
export class References {
  readonly #world: World;
  readonly #from: { group: string; kind: PolicyKind | "HTTPRouteFilter" | "HTTPRoute"; namespace: string };
  readonly #seen: (what: string) => void;
  #state = { isPending: false };

  /** `seen` hears "KIND/NAMESPACE/NAME" of objects, and "Name/HOST" of names beyond the cluster. */
  constructor(world: World, kind: PolicyKind | "HTTPRouteFilter" | "HTTPRoute", namespace: string, seen: (what: string) => void) {
    this.#world = world;
    this.#from = { group: kind === "HTTPRoute" ? gatewayGroup : envoyGroup, kind, namespace };
    this.#seen = seen;
  }
  get namespace(): string {
    return this.#from.namespace;
  }
  /** Something that is named is not read yet: what the policy comes to will be known soon. */
  get isPending(): boolean {
    return this.#state.isPending;
  }
  /** Of several policies that are merged, names are in the namespace of the first that has this field of `spec`, as it wrote them. */
  of(field: string, policies: readonly { metadata: { namespace?: string }; spec: object }[]): References {
    const namespace = policies.find(({ spec }) => Object.hasOwn(spec, field))?.metadata.namespace;
    if (namespace === undefined || namespace === this.namespace) return this;
    const others = new References(this.#world, this.#from.kind, namespace, this.#seen);
    others.#state = this.#state;
    return others;
  }

  /** Its data are base64. */
  secret({ group = "", kind = "Secret", namespace = this.namespace, name }: { group?: string; kind?: string; namespace?: string; name: string }, refuse: Refuse): Secret | undefined {
    if (group !== "" || kind !== "Secret") return void refuse(`names ${group === "" ? "core" : group}/${kind} ${name}; Secret is what may be named`);
    this.#seen(`Secret/${namespace}/${name}`);
    if (!isGranted(this.#world, this.#from, { group, kind, namespace, name })) return void refuse(`names Secret ${namespace}/${name}, and no ReferenceGrant there lets a ${this.#from.kind} of ${this.namespace} do so`);
    const key = `${namespace}/${name}`;
    const secret = this.#world.namedSecret ? this.#world.namedSecret(key) : this.#world.secret(key);
    if (secret === "unknown") {
      this.#state.isPending = true;
      return void refuse(`names Secret ${key}, which is not read yet`);
    }
    return secret ?? void refuse(`names Secret ${namespace}/${name}, which does not exist`);
  }
  /** One file of a Secret, as text. */
  secretText(reference: { group?: string; kind?: string; namespace?: string; name: string }, file: string, refuse: Refuse): string | undefined {
    const secret = this.secret(reference, refuse);
    if (!secret) return undefined;
    const data = secret.data?.[file];
    return data === undefined ? void refuse(`names Secret ${secret.metadata.namespace}/${secret.metadata.name}, which has no ${file}`) : Buffer.from(data, "base64").toString("utf8");
  }
  /** In the policy's own namespace. */
  configMap(name: string, refuse: Refuse): ConfigMap | undefined {
    const key = `${this.namespace}/${name}`;
    this.#seen(`ConfigMap/${key}`);
    return this.#world.configMap(key) ?? void refuse(`names ConfigMap ${key}, which does not exist`);
  }

  /** A Service port. With settings it is an upstream of its own, "NAMESPACE/SERVICE/PORT@SUFFIX". */
  backend(reference: BackendReference & { fallback?: boolean }, refuse: Refuse, own?: { suffix: string; settings: Partial<Upstream> }): Need | undefined {
    if (reference.fallback === true) return void refuse("has fallback, which is not honoured: who is asked has to be reachable");
    this.#seen(`Service/${reference.namespace ?? this.namespace}/${reference.name}`);
    const { upstream, unusable } = resolveBackend(this.#world, this.#from, reference);
    if (!upstream) return void refuse(unusable!.message.replace(/^backendRefs: /, ""));
    return own ? { ...upstream, id: `${upstream.id}@${own.suffix}`, settings: own.settings } : upstream;
  }

  /**
   * Where a URL leads: to a Service when its host is one's name ("NAME.NAMESPACE.svc"), else beyond the cluster, and there by https alone.
   * Addresses of this machine are nobody's to be sent to.
   */
  url(text: string, refuse: Refuse): Need | undefined {
    const url = URL.parse(text);
    if (!url || (url.protocol !== "https:" && url.protocol !== "http:") || url.username !== "" || url.password !== "" || url.hash !== "") return void refuse(`${JSON.stringify(text)} must be an address of http or https`);
    const isTls = url.protocol === "https:";
    const host = url.hostname.replace(/\.$/, "");
    const port = url.port !== "" ? Number(url.port) : isTls ? 443 : 80;
    const [service = "", namespace, ...rest] = host.split(".");
    const domain = rest.join(".");
    if (namespace !== undefined && (domain === "svc" || domain === "svc.cluster.local" || domain === "")) {
      this.#seen(`Service/${namespace}/${service}`);
      const found = this.#world.service(`${namespace}/${service}`);
      if (found) {
        if (!found.spec?.ports?.some((candidate) => candidate.port === port && (candidate.protocol ?? "TCP") === "TCP")) return void refuse(`${text}: Service ${namespace}/${service} has no port ${port}`);
        return { id: upstreamId(namespace, service, port), namespace, service, port };
      }
      if (domain !== "") return void refuse(`${text}: Service ${namespace}/${service} does not exist`);
    }
    if (!isTls) return void refuse(`${text}: beyond the cluster only https is spoken`);
    if (namespace === undefined || /^[\d.]+$/.test(host) || host.startsWith("[") || host === "localhost" || host.endsWith(".localhost")) return void refuse(`${text}: ${host} is no name beyond the cluster`);
    this.#seen(`Name/${host}`);
    const addresses = (this.#world.addressesOf?.(host) ?? []).filter((address) => !/^(?:0|127|169\.254)\./.test(address));
    return { id: `beyond/${host}/${port}`, namespace: "", service: host, port, settings: { protocol: "http1", endpoints: addresses.map((ip) => ({ ip, port })), tls: { serverName: host } } };
  }
}
