import type { EdgeListener, ListenerTls, Route, TrafficPatch, TrafficSnapshot, Upstream } from "../../api/traffic.ts";
import { byAge } from "../gateway/gateways.ts";
import { Index, Published } from "../published.ts";
import { type Note, readAnnotations } from "./annotations/read.ts";
import { isFor, type KeyPair, KeyPairs } from "./certificates.ts";
import { aliasOf } from "./backends.ts";
import { compileHost, type HostMemory, type Member } from "./hosts.ts";
import { type Ingress, type IngressAddress, isOurs } from "./kinds.ts";
import type { World } from "./world.ts";

export const address = "127.0.0.1";
export const ports = { http: 80, https: 443 } as const;

/** Where the two listeners came to be; undefined: not yet, or not at all. */
export interface Bound {
  http: number | undefined;
  https: number | undefined;
  /** Why not. */
  problem?: string;
}

/** What must not happen, and where. */
export interface Fault {
  what: string;
  error: unknown;
}

/** What is to be told of an Ingress that changed: all there is to say, not only what is new. */
export interface Told {
  key: string;
  notes: Note[];
  /** For its status. */
  addresses: IngressAddress[];
}

/**
 * Ingresses → what the engine serves, and what each of them is told. Pure but for its memory: after any sequence of changes
 * it holds what a fresh one would make of the same world, at the cost of the hosts that the changes touch.
 *
 *   changed(kind, key)  …  flush() ─▶ { patch, told }
 */
export class Translator {
  readonly #world: World;
  /** Shown to clients that ask for a name that nobody has a certificate for. */
  readonly #fake: KeyPair;
  readonly #members = new Map<string, Member & { ownNotes: Note[]; hosts: string[]; references: string[] }>();
  readonly #membersOfHost = new Index();
  readonly #membersOfReference = new Index();
  readonly #hosts = new Map<string, { routes: string[]; upstreams: string[]; notes: Map<string, Note[]>; hasCertificate: boolean; memory: HostMemory }>();
  readonly #hostsOfUpstream = new Index();
  readonly #keyPairs = new KeyPairs();
  /** Members to whom it matters which names are hosts of their own. */
  readonly #withOtherNames = new Set<string>();
  readonly #certificateNotes = new Map<string, Note[]>();
  readonly #listeners = new Published<EdgeListener>();
  readonly #routes = new Published<Route>();
  readonly #upstreams = new Published<Upstream>();
  readonly #dirty = { ingresses: new Set<string>(), hosts: new Set<string>(), told: new Set<string>(), certificates: false };
  readonly #released = new Set<string>();
  #bound: Bound = { http: undefined, https: undefined };
  #revision = 0;

  constructor(world: World, fake: KeyPair) {
    this.#world = world;
    this.#fake = fake;
  }

  /** Something is there, is otherwise, or is gone: the world already shows it. */
  changed(kind: string, key: string): void {
    const dirty = this.#dirty;
    // What it is another name for has become another.
    if (kind === "Service" && aliasOf(this.#world.service(key)) !== this.#aliases.get(key)) for (const member of this.#membersOfReference.get(`Service/${key}`)) dirty.ingresses.add(member);
    switch (kind) {
      case "Ingress":
        return void dirty.ingresses.add(key);
      case "IngressClass":
        for (const { metadata } of this.#world.ingresses()) dirty.ingresses.add(`${metadata.namespace}/${metadata.name}`);
        return;
      case "Secret":
        if (this.#membersOfReference.get(`Secret/${key}`).size > 0) dirty.certificates = true;
        return;
      default:
        for (const member of this.#membersOfReference.get(`${kind}/${key}`)) for (const host of this.#members.get(member)!.hosts) dirty.hosts.add(host);
    }
  }

  /** What became of the addresses. */
  set bound(bound: Bound) {
    if (JSON.stringify(bound) === JSON.stringify(this.#bound)) return;
    // Redirects name the port.
    if (bound.https !== this.#bound.https) for (const host of this.#hosts.keys()) this.#dirty.hosts.add(host);
    this.#bound = bound;
    for (const key of this.#members.keys()) this.#dirty.told.add(key);
  }

  snapshot(): TrafficSnapshot {
    return { revision: this.#revision, listeners: this.#listeners.values(), routes: this.#routes.values(), upstreams: this.#upstreams.values() };
  }

  /** Works off what changed. Without `patch` nothing changed for the engine. */
  flush(): { patch: TrafficPatch | undefined; told: Told[]; faults: Fault[] } {
    const dirty = this.#dirty;
    const faults: Fault[] = [];
    // A fault of ours is one Ingress' or one host's loss, which stays as it was, and nobody else's.
    const guarded = (what: string, work: () => void) => {
      try {
        work();
      } catch (error) {
        faults.push({ what, error });
      }
    };
    for (const key of dirty.ingresses) guarded(`Ingress ${key}`, () => this.#read(key));
    if (dirty.certificates) guarded("certificates", () => this.#certify());
    for (const host of dirty.hosts) guarded(`host ${host}`, () => this.#translateHost(host));
    const told = [...dirty.told].flatMap((key) => this.#tell(key));
    dirty.certificates = false;
    for (const set of [dirty.ingresses, dirty.hosts, dirty.told]) set.clear();
    return { patch: this.#patch(), told, faults };
  }

  #read(key: string): void {
    const dirty = this.#dirty;
    const found = this.#world.ingress(key);
    const ingress = found && isOurs(found, this.#world.ingressClass) ? found : undefined;
    const before = this.#members.get(key);
    const hosts = ingress ? hostsOf(ingress) : [];
    const references = ingress ? this.#withAliases(referencesOf(ingress)) : [];
    const read = ingress && readAnnotations(ingress.metadata.annotations);
    // Nothing was changed up to here.
    this.#membersOfHost.move(key, before?.hosts ?? [], hosts);
    this.#membersOfReference.move(key, before?.references ?? [], references);
    for (const host of new Set([...(before?.hosts ?? []), ...hosts])) dirty.hosts.add(host);
    // Whether a name is a host of its own decides about the aliases and redirects of others.
    for (const other of this.#withOtherNames) for (const host of this.#members.get(other)!.hosts) dirty.hosts.add(host);
    this.#withOtherNames.delete(key);
    const isFirstOrLast = this.#members.size === (before ? 1 : 0);
    if (before?.ingress.spec.tls?.length || ingress?.spec.tls?.length || isFirstOrLast) dirty.certificates = true;
    dirty.told.add(key);
    if (!ingress || !read) {
      // It went to another controller, who is to find no address of ours.
      if (before && found) this.#released.add(key);
      this.#members.delete(key);
      this.#certificateNotes.delete(key);
      return;
    }
    const { settings, notes } = read;
    if (settings.aliases.length > 0 || settings.fromToWww) this.#withOtherNames.add(key);
    this.#members.set(key, { key, ingress, settings, ownNotes: notes, hosts, references });
  }

  /** Services of type ExternalName that Ingresses name, and what they are other names for. */
  readonly #aliases = new Map<string, string>();

  #withAliases(references: readonly string[]): string[] {
    const all = new Set(references);
    for (const reference of references) {
      if (!reference.startsWith("Service/")) continue;
      const key = reference.slice("Service/".length);
      const target = aliasOf(this.#world.service(key));
      if (target === undefined) this.#aliases.delete(key);
      else {
        this.#aliases.set(key, target);
        all.add(`Service/${target}`);
      }
    }
    return [...all];
  }

  /** Certificates and listeners. There are a few; they change rarely. */
  #certify(): void {
    const members = this.#byAge(this.#members.keys());
    if (members.length === 0) {
      for (const id of ["ingress/http", "ingress/https"]) this.#listeners.remove(id);
      return;
    }
    const certificates: ListenerTls["certificates"] = [this.#fake];
    const secured = new Set<string>();
    for (const { key, ingress } of members) {
      const notes: Note[] = [];
      for (const { hosts = [], secretName } of ingress.spec.tls ?? []) {
        const names = hosts.length > 0 ? hosts : hostsOf(ingress);
        for (const host of names) secured.add(host.toLowerCase());
        if (!secretName) continue;
        const pair = this.#keyPairs.of(this.#world, `${ingress.metadata.namespace}/${secretName}`);
        const unfit = typeof pair === "string" ? [] : hosts.filter((host) => !isFor(pair, host));
        if (typeof pair === "string") notes.push({ type: "Warning", reason: "CertificateNotFound", message: `${pair}; ${names.join(", ") || "its hosts"}: a self-signed certificate is shown, which no client trusts` });
        else if (!certificates.some(({ certificate }) => certificate === pair.certificate)) certificates.push(pair);
        if (unfit.length > 0) notes.push({ type: "Warning", reason: "CertificateMismatch", message: `Secret ${secretName}: the certificate is not for ${unfit.join(", ")}, where a self-signed one is shown` });
      }
      if (JSON.stringify(this.#certificateNotes.get(key) ?? []) !== JSON.stringify(notes)) this.#dirty.told.add(key);
      this.#certificateNotes.set(key, notes);
    }
    for (const [host, known] of this.#hosts) if (known.hasCertificate !== isSecured(host, secured)) this.#dirty.hosts.add(host);
    this.#secured = secured;
    this.#listeners.put("ingress/http", { id: "ingress/http", address, port: ports.http, protocol: "HTTP" });
    this.#listeners.put("ingress/https", { id: "ingress/https", address, port: ports.https, protocol: "HTTPS", tls: { mode: "terminate", certificates } });
  }
  #secured: ReadonlySet<string> = new Set();

  #translateHost(host: string): void {
    const before = this.#hosts.get(host);
    const members = this.#byAge(this.#membersOfHost.get(host));
    const hasCertificate = isSecured(host, this.#secured);
    const isHost = (name: string) => this.#membersOfHost.get(name).size > 0;
    const { routes, upstreams, notes, memory } = compileHost(this.#world, host, members, { hasCertificate, httpsPort: this.#bound.https ?? ports.https, isHost }, before?.memory);
    for (const route of routes) this.#routes.put(route.id, route);
    const now = new Set(routes.map(({ id }) => id));
    for (const id of before?.routes ?? []) if (!now.has(id)) this.#routes.remove(id);
    const ids = upstreams.map(({ id }) => id);
    this.#hostsOfUpstream.move(host, before?.upstreams ?? [], ids);
    for (const upstream of upstreams) this.#upstreams.put(upstream.id, upstream);
    for (const id of before?.upstreams ?? []) if (this.#hostsOfUpstream.get(id).size === 0) this.#upstreams.remove(id);
    const byKey = new Map<string, Note[]>();
    for (const { key, note } of notes) byKey.set(key, [...(byKey.get(key) ?? []), note]);
    for (const key of new Set([...(before?.notes.keys() ?? []), ...byKey.keys()])) if (JSON.stringify(before?.notes.get(key)) !== JSON.stringify(byKey.get(key))) this.#dirty.told.add(key);
    if (members.length === 0) this.#hosts.delete(host);
    else this.#hosts.set(host, { routes: [...now], upstreams: ids, notes: byKey, hasCertificate, memory });
  }

  #tell(key: string): Told[] {
    const member = this.#members.get(key);
    if (!member) return this.#released.delete(key) ? [{ key, notes: [], addresses: [] }] : [];
    const fromHosts = member.hosts.flatMap((host) => this.#hosts.get(host)?.notes.get(key) ?? []);
    const { http, https, problem } = this.#bound;
    const isUsual = http === ports.http && https === ports.https;
    // The ports are told where they are not those that everybody expects.
    const addresses: IngressAddress[] = http === undefined ? [] : [{ ip: address, ...(!isUsual && { ports: [http, ...(https === undefined ? [] : [https])].map((port) => ({ port, protocol: "TCP" })) }) }];
    const notes = [...member.ownNotes, ...(this.#certificateNotes.get(key) ?? []), ...fromHosts, ...placeNotes({ http, https, problem })];
    // Two paths may say the same.
    return [{ key, notes: notes.filter((note, i) => notes.findIndex((other) => other.reason === note.reason && other.message === note.message) === i), addresses }];
  }

  #byAge(keys: Iterable<string>): Member[] {
    return [...keys].map((key) => this.#members.get(key)!).sort((a, b) => byAge(a.ingress, b.ingress));
  }

  #patch(): TrafficPatch | undefined {
    const parts = { listeners: this.#listeners.take(), routes: this.#routes.take(), upstreams: this.#upstreams.take() };
    if (!Object.values(parts).some(Boolean)) return undefined;
    const pick = (side: "put" | "remove") => Object.fromEntries(Object.entries(parts).flatMap(([part, taken]) => (taken?.[side].length ? [[part, taken[side]]] : [])));
    return { revision: ++this.#revision, put: pick("put"), remove: pick("remove") };
  }
}

/** Where it is to be found, when that is not where everybody looks. */
function placeNotes({ http, https, problem }: { [field in keyof Bound]: Bound[field] | undefined }): Note[] {
  const moved = [...(http !== undefined && http !== ports.http ? [`http at ${address}:${http}`] : []), ...(https !== undefined && https !== ports.https ? [`https at ${address}:${https}`] : [])];
  return [
    ...(problem === undefined ? [] : [{ type: "Warning", reason: "PortUnavailable", message: problem } as const]),
    // Once both are decided, or it would be told twice.
    ...(moved.length === 0 || (problem === undefined && (http === undefined || https === undefined)) ? [] : [{ type: "Normal", reason: "OtherPorts", message: `served as ${moved.join(", ")}: the usual ports could not be had` } as const]),
  ];
}

/** Also "", every host, for rules without one and for an Ingress that has a default backend alone. */
function hostsOf({ spec }: Ingress): string[] {
  const { rules = [], defaultBackend } = spec;
  if (rules.length === 0) return defaultBackend ? [""] : [];
  return [...new Set(rules.map(({ host }) => (host ?? "").toLowerCase()))];
}

/** "Service/NAMESPACE/NAME" and so on of all that it names, there or not. */
function referencesOf({ metadata: { namespace, annotations }, spec }: Ingress): string[] {
  const backends = [...(spec.defaultBackend ? [spec.defaultBackend] : []), ...(spec.rules ?? []).flatMap(({ http }) => (http?.paths ?? []).map(({ backend }) => backend))];
  const headers = annotations?.["nginx.ingress.kubernetes.io/custom-headers"]?.split("/").at(-1);
  const other = annotations?.["nginx.ingress.kubernetes.io/default-backend"];
  return [
    ...new Set([
      ...(other ? [`Service/${namespace}/${other}`] : []),
      ...backends.flatMap(({ service }) => (service ? [`Service/${namespace}/${service.name}`] : [])),
      ...(spec.tls ?? []).flatMap(({ secretName }) => (secretName ? [`Secret/${namespace}/${secretName}`] : [])),
      ...(headers ? [`ConfigMap/${namespace}/${headers}`] : []),
    ]),
  ];
}

/** A wildcard covers one label. */
function isSecured(host: string, secured: ReadonlySet<string>): boolean {
  return secured.has(host) || (host.includes(".") && secured.has(`*${host.slice(host.indexOf("."))}`));
}
