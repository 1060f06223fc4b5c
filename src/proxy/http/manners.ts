import { X509Certificate } from "node:crypto";
import type { EarlyChange, ListenerManners, TextMatch } from "../../api/traffic.ts";
import type { HeaderEdits, LocalAnswer, RequestView, ResponseView } from "../../policy/exchange.ts";
import { compileEdits, mergeEdits } from "../../policy/header-edits.ts";
import { localAnswer } from "../../policy/local-answer.ts";
import { compileTextMatch } from "../../policy/text-match.ts";
import { clientReader } from "./client-address.ts";
import { certificateElement } from "./forwarded-certificate.ts";
import type { Head } from "./head.ts";
import { HeadView } from "./request-view.ts";
import type { Listener } from "./routing.ts";
import { normalPath } from "./target.ts";

/** What was found of one request before any route saw it. */
export interface Met {
  /** Who found it: the listener may have others by the time that it is answered. */
  readonly by: Manners;
  readonly request: RequestView;
  /** It goes no further. */
  readonly answer: LocalAnswer | undefined;
  /** What the peer says of forwarding is believed. */
  readonly trusted: boolean;
  readonly edits: HeaderEdits | undefined;
  readonly host: string | undefined;
}

const methodsOfHealth = new Set(["GET", "HEAD"]);
const ofLimits = new Set(["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]);
/** Undefined: it has none. */
const withoutDot = (host: string): string | undefined => (/\.(?=:\d*$|$)/.test(host) ? host.replace(/\.(?=:\d*$|$)/, "") : undefined);
const requestIdShape = /^[\w.~:+/=@-]{1,128}$/;

/**
 * What a listener does with each request before routes are asked, and with each answer after all that they say. Compiled once a
 * listener; where nothing is configured there is none, and no request pays for it.
 */
export class Manners {
  readonly #config: ListenerManners;
  readonly #clientOf: ReturnType<typeof clientReader> | undefined;
  readonly #early: CompiledChange | undefined;
  readonly #late: CompiledChange | undefined;
  readonly #ignoresUpgrade: ((protocol: string) => boolean)[];
  readonly #isDraining: () => boolean;

  /** @throws PolicyError naming a field */
  constructor(config: ListenerManners, isDraining: () => boolean) {
    this.#config = config;
    this.#isDraining = isDraining;
    this.#clientOf = config.client && clientReader(config.client);
    this.#early = config.requestHeaders && compileChange(config.requestHeaders);
    this.#ignoresUpgrade = (config.ignoredUpgrades ?? []).map((match, i) => compileTextMatch(match, `ignoredUpgrades[${i}]`));
    this.#late = config.responseHeaders && compileChange(config.responseHeaders);
  }

  meet(head: Head, listener: Listener, peer: string): Met {
    const { underscores, defaultHost, healthPath, cutsHostDot } = this.#config;
    const found = this.#clientOf?.(peer, (name) => head.find(name)) ?? { address: peer, trusted: false };
    // Whoever is believed about the client is believed about how it came.
    const told = found.trusted ? head.find("x-forwarded-proto")?.split(",").at(-1)?.trim() : undefined;
    const scheme = told === "http" || told === "https" ? told : listener.scheme;
    if (this.#ignoresUpgrade.length > 0 && head.upgradeField >= 0) this.#ignoreUpgrade(head);
    let host: string | undefined;
    if (defaultHost !== undefined && head.hostField < 0 && !head.absolute) head.host = host = defaultHost;
    else if (cutsHostDot && head.hostField >= 0 && !head.absolute) host = withoutDot(head.valueAt(head.hostField));
    const isRefused = underscores !== undefined && this.#judgeNames(head);
    const path = this.#path(head);
    const edits = this.#edits(head, listener, path.location === undefined);
    const request = edits ? new EditedView(head, scheme, listener.port, found.address ?? peer, edits) : new HeadView(head, scheme, listener.port, found.address ?? peer);
    let answer: LocalAnswer | undefined;
    if (isRefused) answer = localAnswer(request, "DPE", "a header's name has an underscore", { status: 400 });
    else if (path.isRefused) answer = localAnswer(request, "DPE", "the path has an encoded slash", { status: 400 });
    else if (path.location !== undefined) answer = localAnswer(request, "DR", "the path has an encoded slash", { status: 307, headers: [["location", path.location]] });
    else if (healthPath !== undefined && head.path === healthPath && methodsOfHealth.has(request.method)) answer = this.#health(request);
    else if (found.address === undefined) answer = localAnswer(request, "AD", "the client's address is not said", { status: 403 });
    return { by: this, request, answer, trusted: found.trusted, edits, host };
  }
  #health(request: RequestView): LocalAnswer {
    return this.#isDraining() ? localAnswer(request, "UH", "the worker ends", { status: 503 }) : localAnswer(request, "DR", "the listener's health", { status: 200 });
  }

  /** The id that goes with the request: "" for none, undefined for a new one. */
  requestId(head: Head): string | undefined {
    const { requestId } = this.#config;
    if (requestId === undefined) return undefined;
    if (requestId === "none") return "";
    const given = head.requestIdField >= 0 ? head.valueAt(head.requestIdField) : "";
    if (requestIdShape.test(given)) return given;
    return requestId === "given" ? "" : undefined;
  }
  /** Calls of gRPC-Web are made gRPC's. */
  get hasGrpcWeb(): boolean {
    return this.#config.grpcWeb === true;
  }
  /** Whether the peer's address goes behind what X-Forwarded-For says already. */
  get appends(): boolean {
    return !this.#config.keepsForwardedFor;
  }
  /** After all that routes say of an answer; undefined: nothing. */
  late(told: HeaderEdits | undefined, response: ResponseView): HeaderEdits | undefined {
    const edits = told && this.#config.hidesLimits ? { ...told, set: told.set.filter(([name]) => !ofLimits.has(name)) } : told;
    if (!this.#late) return edits;
    const has = (name: string): boolean => {
      if (edits && [...edits.set, ...edits.add].some(([known]) => known === name)) return true;
      return !edits?.remove.includes(name) && response.header(name) !== undefined;
    };
    return mergeEdits(edits, changeFor(this.#late, [], has));
  }

  #ignoreUpgrade(head: Head): void {
    const protocol = head.valueAt(head.upgradeField).toLowerCase();
    if (!this.#ignoresUpgrade.some((ignores) => ignores(protocol))) return;
    head.connectionUpgrade = false;
    head.dropped[head.upgradeField] = 1;
  }
  /** Whether the request is refused for a name. */
  #judgeNames(head: Head): boolean {
    for (let i = 0; i < head.count; i++) {
      if (!head.nameAt(i).includes("_")) continue;
      if (this.#config.underscores === "refuse") return true;
      head.dropped[i] = 1;
    }
    return false;
  }
  /** Brings the head's path into the form that the listener wants. */
  #path(head: Head): { isRefused?: boolean; location?: string } {
    const { escapedSlashes, keepsSlashes } = this.#config;
    if (head.asterisk) return {};
    const hasEscaped = escapedSlashes !== undefined && /%2F|%5C/.test(head.path);
    if (hasEscaped && escapedSlashes === "refuse") return { isRefused: true };
    if (!hasEscaped && !(keepsSlashes && head.unusualPath)) return {};
    let raw = head.path;
    if (keepsSlashes) {
      const target = head.bytes.latin1Slice(head.base + head.targetStart, head.base + head.queryStart);
      raw = head.absolute ? (/^https?:\/\/[^/]+(\/.*)?$/i.exec(target)?.[1] ?? "/") : target;
    }
    const path = normalPath(hasEscaped ? raw.replace(/%2f|%5c/gi, "/") : raw, keepsSlashes);
    if (path === undefined) return { isRefused: true };
    if (hasEscaped && escapedSlashes === "redirect") return { location: path + head.bytes.latin1Slice(head.base + head.queryStart, head.base + head.targetEnd) };
    head.path = path;
    head.unusualPath = true;
    return {};
  }
  #edits(head: Head, { certificate }: Listener, goesOn: boolean): HeaderEdits | undefined {
    const { clientCertificate } = this.#config;
    let edits: HeaderEdits | undefined;
    if (this.#early) {
      const names = this.#early.matching.length === 0 ? [] : Array.from({ length: head.count }, (_, i) => head.nameAt(i));
      edits = changeFor(this.#early, names, (name) => head.find(name) !== undefined);
    }
    if (!clientCertificate || !goesOn) return edits;
    const { mode, details } = clientCertificate;
    const given = mode === "set" || (mode !== "always" && !certificate) ? undefined : head.find("x-forwarded-client-cert");
    const own = certificate && mode !== "forward" && mode !== "always" ? certificateElement(new X509Certificate(certificate), details) : undefined;
    const value = [given, own].filter((part) => part !== undefined).join(",");
    return value === "" ? edits : mergeEdits(edits, { remove: [], set: [["x-forwarded-client-cert", value]], add: [] });
  }
}

interface CompiledChange {
  edits: HeaderEdits;
  absent: readonly (readonly [name: string, value: string])[];
  matching: ((text: string) => boolean)[];
}
function compileChange({ addIfAbsent = [], removeMatching = [], ...change }: EarlyChange): CompiledChange {
  return { edits: compileEdits(change), absent: compileEdits({ set: addIfAbsent }).set, matching: removeMatching.map((match: TextMatch, i) => compileTextMatch(match, `removeMatching[${i}]`)) };
}
function changeFor({ edits, absent, matching }: CompiledChange, names: readonly string[], has: (name: string) => boolean): HeaderEdits {
  const gone = names.filter((name) => matching.some((fits) => fits(name)));
  const missing = absent.filter(([name]) => gone.includes(name) || edits.remove.includes(name) || (!has(name) && ![...edits.set, ...edits.add].some(([known]) => known === name)));
  return gone.length + missing.length === 0 ? edits : { remove: [...edits.remove, ...gone], set: edits.set, add: [...edits.add, ...missing] };
}

/** A head whose headers were changed before anybody looked. */
class EditedView extends HeadView {
  readonly #edits: HeaderEdits;
  constructor(head: Head, scheme: "http" | "https", port: number, client: string, edits: HeaderEdits) {
    super(head, scheme, port, client);
    this.#edits = edits;
  }
  override header(name: string): string | undefined {
    const { remove, set, add } = this.#edits;
    const given = set.find(([known]) => known === name)?.[1] ?? (remove.includes(name) ? undefined : super.header(name));
    const parts = [...(given === undefined ? [] : [given]), ...add.flatMap(([known, value]) => (known === name ? [value] : []))];
    return parts.length === 0 ? undefined : parts.join(", ");
  }
}
