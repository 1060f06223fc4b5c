import type { DeleteOptions, ListOptions, PatchType, WatchOptions } from "../../api/client.ts";
import { apiVersionOf, type KubeObject } from "../../api/meta.ts";
import type { Kind } from "../../api/kind.ts";
import { badRequestError, invalidError, notFoundError, StatusError } from "../../api/status.ts";
import { type FieldError, forbidden, invalid, notSupported, required, tooLong } from "../../api/field.ts";
import type { Random } from "../../base/random.ts";
import type { Entry } from "../../store/store.ts";
import type { Api } from "../api.ts";
import { withConversions } from "../crd/convert.ts";
import type { WriteContext } from "../rest/context.ts";
import { computeList, computeOne } from "../rest/computed.ts";
import { decodeRequest } from "../rest/decode.ts";
import { deletedStatus } from "../rest/delete.ts";
import { bytesOf, objectOf } from "../rest/keys.ts";
import { checkGetRevision, checkListOptions, type Listed } from "../rest/read.ts";
import { checkWatchOptions } from "../rest/watch.ts";
import { readBody, readObject, readOptional, parsePatch, unsupportedMedia } from "./body.ts";
import { readConfig } from "./apply-body.ts";
import type { Exchange } from "./exchange.ts";
import { type Form, formOf } from "./negotiate.ts";
import { isTrue, type ResourceInfo } from "./request-info.ts";
import { type IncludeObject, partialMetadata, row, rowsOf, table, scaleColumns } from "./table.ts";
import { serveWatch } from "./watch-stream.ts";

const methodNotAllowed = () => new StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {});

/** The verbs of objects over HTTP. Throws StatusErrors. */
export async function serveResource(api: Api, exchange: Exchange, target: ResourceInfo & { kind: Kind }, random: Random, authorizeCreate?: () => void): Promise<void> {
  const { info } = exchange;
  const { kind, namespace, name, subresource } = target;
  const { query } = info;
  if (kind.scope === "Cluster" && namespace !== undefined) throw new StatusError(404, "NotFound", "the server could not find the requested resource", {});
  // A slash inside a segment would reach over into another namespace's keys.
  if (`${namespace ?? ""}${name ?? ""}`.includes("/") || (kind.scope === "Namespaced" && namespace === undefined && name !== undefined)) throw new StatusError(404, "NotFound", "the server could not find the requested resource", {});
  if (subresource !== undefined && kind.custom && name !== undefined && !kind.subresources.some((known) => known.name === subresource)) {
    if (kind.deprecation) exchange.warnings.push(kind.deprecation);
    throw notFoundError(kind, name);
  }
  if (subresource !== undefined && !kind.subresources.some((known) => known.name === subresource)) throw new StatusError(404, "NotFound", "the server could not find the requested resource", {});
  if (kind.custom && kind.deprecation) exchange.warnings.push(kind.deprecation);
  if (info.verb === "patch" && (name !== undefined || kind.custom)) patchTypeOf(exchange, kind);
  const isServed = name !== undefined || (info.verb !== "update" && info.verb !== "patch");
  if (kind.deprecation && !kind.custom && isServed) exchange.warnings.push(kind.deprecation);
  // What is wrong with the options of a list is told before what form it cannot have.
  if (info.verb === "list") checkListOptions(listOptions(query, namespace));
  else if (info.verb === "watch") checkWatchOptions(watchOptions(query, namespace));
  const form = formOf(exchange.headers.accept);
  const include = includeOf(query.get("includeObject"));

  switch (info.verb) {
    case "get": {
      if (subresource === undefined || subresource === "status") checkGetRevision(api.store, query.get("resourceVersion") ?? undefined);
      if (kind.custom) return withConversions(api.store, kind, () => (subresource === undefined ? answerEntry(exchange, api.get(kind, namespace, name!), kind, form, include, api) : answer(exchange, 200, api.getSubresource(kind, namespace, name!, subresource), kind, form, include, api)));
      if (subresource !== undefined) return answer(exchange, 200, api.getSubresource(kind, namespace, name!, subresource), kind, form, include, api);
      return answerEntry(exchange, kind.computed ? await computeOne(api.store, kind, namespace, name!) : api.get(kind, namespace, name!), kind, form, include, api);
    }
    case "list":
      requireVerb(kind, "list");
      if (kind.custom) return withConversions(api.store, kind, () => answerListed(exchange, api, kind, api.list(kind, listOptions(query, namespace)), form, include));
      return kind.computed ? answerListed(exchange, api, kind, await computeList(api.store, kind, listOptions(query, namespace)), form, include) : answerListed(exchange, api, kind, api.list(kind, listOptions(query, namespace)), form, include);
    case "watch":
      requireVerb(kind, "watch");
      return withConversions(api.store, kind, () => serveWatch(api, kind, watchOptions(query, namespace), exchange, form, include, random));
    case "create": {
      if (subresource === undefined && name !== undefined) throw methodNotAllowed();
      if (subresource === undefined) requireVerb(kind, "create");
      if (kind.scope === "Namespaced" && namespace === undefined) throw methodNotAllowed();
      const context = writeContext(exchange, "CreateOptions");
      const { value, duplicates } = await readObject(exchange.request, api.registry, context.fieldValidation !== "Ignore", kind.kind);
      const write = { ...context, duplicates };
      const created = await api.create(kind, namespace, value, write, { ...(name !== undefined && { name }), ...(subresource !== undefined && { subresource }) });
      return answerWritten(exchange, 201, created, write, kind, form, include, api);
    }
    case "update": {
      if (name === undefined) throw kind.custom ? badRequestError("name must be provided") : methodNotAllowed();
      const context = writeContext(exchange, "UpdateOptions");
      const { value, duplicates } = await readObject(exchange.request, api.registry, context.fieldValidation !== "Ignore", kind.kind);
      const write = { ...context, duplicates, ...(authorizeCreate && { authorizeCreate }) };
      const updated = await api.update(kind, namespace, name, value, write, subresource !== undefined ? { subresource } : {});
      return answerWritten(exchange, write.created ? 201 : 200, updated, write, kind, form, include, api);
    }
    case "patch": {
      if (name === undefined) throw kind.custom ? badRequestError("name must be provided") : methodNotAllowed();
      const type = patchTypeOf(exchange, kind);
      // Nothing says how the lists of a custom resource would be merged.
      if (type === "strategic" && kind.custom && subresource !== "scale") throw unsupportedMedia("application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml");
      const context = { ...writeContext(exchange, "PatchOptions", patchErrors(query, type)), force: isTrue(query.get("force")), ...(authorizeCreate && { authorizeCreate }) };
      const bytes = await readBody(exchange.request);
      const body = type === "apply" ? await readConfig(bytes, context) : parsePatch(bytes, type);
      const patched = await api.patch(kind, namespace, name, type, body, context, subresource !== undefined ? { subresource } : {});
      return answerWritten(exchange, context.created ? 201 : 200, patched, context, kind, form, include, api);
    }
    case "delete": {
      if (subresource !== undefined) throw methodNotAllowed();
      requireVerb(kind, "delete");
      const options = deleteOptions(await readOptional(exchange.request, api.registry), query);
      const { object, gone } = await api.delete(kind, namespace, name!, options, writeContext(exchange, "DeleteOptions", [], options.dryRun));
      const whole = !gone || kind.returnsDeleted === true;
      return answer(exchange, 200, whole ? object : deletedStatus(kind, object), kind, form, include, api);
    }
    case "deletecollection": {
      requireVerb(kind, "deletecollection");
      checkListOptions(listOptions(query, namespace));
      const options = deleteOptions(await readOptional(exchange.request, api.registry), query);
      // As of the list that was deleted.
      const { revision } = api.store;
      const items = await api.deleteCollection(kind, listOptions(query, namespace), options, writeContext(exchange, "DeleteOptions", [], options.dryRun));
      return exchange.json(200, { kind: kind.listKind ?? `${kind.kind}List`, apiVersion: apiVersionOf(kind.group, kind.version), metadata: { resourceVersion: String(revision), ...alwaysContinues(kind, form) }, items: kind.custom ? items : items.map(({ kind: _kind, apiVersion: _apiVersion, ...item }) => item) }, form);
    }
    default:
      throw methodNotAllowed();
  }
}

function requireVerb(kind: Kind, verb: Kind["verbs"][number]): void {
  if (!kind.verbs.includes(verb)) throw methodNotAllowed();
}

/** Objects go out as the bytes that are stored; other forms are made of the parsed object. */
function answerEntry(exchange: Exchange, entry: Entry, kind: Kind, form: Form, include: IncludeObject, api: Api): void {
  if (form.as === undefined && form.media === "json") return exchange.encoded(200, bytesOf(kind, entry));
  answer(exchange, 200, objectOf(kind, entry), kind, form, include, api);
}

/** What was just stored is encoded already. */
function answerWritten(exchange: Exchange, code: number, object: object, { entry }: WriteContext, kind: Kind, form: Form, include: IncludeObject, api: Api): void {
  if (entry && form.as === undefined && form.media === "json" && !kind.storedAs && objectOf(kind, entry) === object) return exchange.encoded(code, bytesOf(kind, entry));
  answer(exchange, code, object, kind, form, include, api);
}

function answer(exchange: Exchange, code: number, object: object, kind: Kind, form: Form, include: IncludeObject, api: Api): void {
  const known = object as KubeObject;
  if (form.as !== undefined && known.kind === "Scale" && kind.kind !== "Scale") return answer(exchange, code, known, { ...kind, kind: "Scale", ...(form.as === "Table" ? { columns: scaleColumns } : { group: "autoscaling", custom: undefined }) } as Kind, form, include, api);
  if (form.as === undefined || known.kind !== kind.kind) return exchange.json(code, object, form);
  if (form.as === "Table") return exchange.json(code, table(kind, [row(kind, known, api.clock.now(), include, form.version!)], { resourceVersion: known.metadata.resourceVersion }, form.version!), form);
  if (form.as === "PartialObjectMetadata") return exchange.json(code, partialMetadata(known, form.version!), form);
  throw new StatusError(406, "NotAcceptable", `you requested ${form.as}, but the requested object is not a list (${goTypeOf(kind, "")})`);
}

/** As Go names the type: "*core.PodList". */
const goTypeOf = (kind: Kind, suffix: "" | "List"): string => (kind.custom ? `*unstructured.Unstructured${suffix}` : `*${kind.group.split(".")[0] || "core"}.${kind.kind}${suffix}`);

function answerListed(exchange: Exchange, api: Api, kind: Kind, listed: Listed, form: Form, include: IncludeObject): void {
  const metadata = { resourceVersion: String(listed.revision), ...(listed.continue !== undefined ? { continue: listed.continue } : alwaysContinues(kind, form)), ...(listed.remainingItemCount !== undefined && { remainingItemCount: listed.remainingItemCount }) };
  if (form.as === "Table") {
    const now = api.clock.now();
    return exchange.json(200, table(kind, rowsOf(kind, listed.entries.map((entry) => row(kind, objectOf(kind, entry), now, include, form.version!))), metadata, form.version!), form);
  }
  if (form.as === "PartialObjectMetadata") throw new StatusError(406, "NotAcceptable", `you requested PartialObjectMetadata, but the requested object is a list (${goTypeOf(kind, "List")})`);
  if (form.as !== undefined) {
    const items = listed.entries.map((entry) => partialMetadata(objectOf(kind, entry), form.version!));
    // Without any upstream's list is null here, and only here.
    return exchange.json(200, { kind: "PartialObjectMetadataList", apiVersion: `meta.k8s.io/${form.version}`, metadata, items: items.length > 0 ? items : null }, form);
  }
  const head = { kind: kind.listKind ?? `${kind.kind}List`, apiVersion: apiVersionOf(kind.group, kind.version), metadata };
  if (form.media === "yaml") return exchange.json(200, { ...head, items: listed.entries.map((entry) => withoutType(kind, JSON.parse(bytesOf(kind, entry).toString()) as KubeObject)) }, form);
  const begin = Buffer.from(`${JSON.stringify(head).slice(0, -1)},"items":[`);
  const items = listed.entries.map((entry) => bytesOf(kind, entry));
  const cut = itemCut(kind, items);
  exchange.pieces(200, items.reduce((sum, item) => sum + item.length - cut(item), begin.length + Math.max(0, items.length - 1) + listEnd.length), inList(begin, items, cut));
}

/** Lists of custom resources have no Go type that leaves out what is empty. */
const alwaysContinues = (kind: Kind, form: Form): { continue?: string } => (kind.custom && form.as === undefined ? { continue: "" } : {});

/** How much of an item is left out: those of a built-in kind's list name neither kind nor apiVersion, as Go's typed lists do not; stored objects begin with both. */
function itemCut(kind: Kind, items: readonly Buffer[]): (item: Buffer) => number {
  if (kind.custom || items.length === 0) return () => 0;
  const head = Buffer.from(`"kind":${JSON.stringify(kind.kind)},"apiVersion":${JSON.stringify(apiVersionOf(kind.group, kind.version))},`);
  return (item) => (item.length > head.length && item.compare(head, 0, head.length, 1, 1 + head.length) === 0 ? head.length : 0);
}

/** Views of what is stored, made when their turn has come. */
function* inList(begin: Buffer, items: readonly Buffer[], cut: (item: Buffer) => number): Generator<Buffer> {
  yield begin;
  for (const [index, item] of items.entries()) {
    const cutBytes = cut(item);
    if (cutBytes === 0) {
      if (index > 0) yield comma;
      yield item;
    } else {
      yield index > 0 ? commaBrace : brace;
      yield item.subarray(1 + cutBytes);
    }
  }
  yield listEnd;
}

const brace = Buffer.from("{");
const comma = Buffer.from(",");
const commaBrace = Buffer.from(",{");
const listEnd = Buffer.from("]}\n");

function withoutType(kind: Kind, { kind: name, apiVersion, ...item }: KubeObject): object {
  return kind.custom ? { kind: name, apiVersion, ...item } : item;
}

// — options —

function includeOf(text: string | null): IncludeObject {
  if (text === null || text === "") return "Metadata";
  if (text === "None" || text === "Metadata" || text === "Object") return text;
  throw badRequestError(`unrecognized includeObject value: ${JSON.stringify(text)}`);
}

function numberOf(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === "") return undefined;
  if (!/^-?\d+$/.test(text)) throw badRequestError(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  return Number(text);
}

export function listOptions(query: URLSearchParams, namespace: string | undefined): ListOptions {
  const text = (name: string) => query.get(name) || undefined;
  const limit = numberOf(query, "limit");
  return Object.fromEntries(
    Object.entries({ namespace, labelSelector: text("labelSelector"), fieldSelector: text("fieldSelector"), continue: text("continue"), resourceVersion: text("resourceVersion"), resourceVersionMatch: text("resourceVersionMatch"), limit }).filter(([, value]) => value !== undefined),
  ) as ListOptions;
}

function watchOptions(query: URLSearchParams, namespace: string | undefined): WatchOptions {
  const timeoutSeconds = numberOf(query, "timeoutSeconds");
  const initial = query.get("sendInitialEvents");
  return {
    ...listOptions(query, namespace),
    allowWatchBookmarks: isTrue(query.get("allowWatchBookmarks")),
    ...(initial !== null && initial !== "" && { sendInitialEvents: isTrue(initial) }),
    ...(timeoutSeconds !== undefined && timeoutSeconds > 0 && { timeoutSeconds }),
  };
}

type OptionsKind = "CreateOptions" | "UpdateOptions" | "PatchOptions" | "DeleteOptions";

/** `errors`: what is wrong already. Source: k8s.io/apimachinery/pkg/apis/meta/v1/validation. */
function writeContext(exchange: Exchange, options: OptionsKind, errors: readonly FieldError[] = [], dryRunInBody = false): WriteContext {
  const { query } = exchange.info;
  const dryRun = query.getAll("dryRun");
  const unknown = dryRun.filter((value) => value !== "All" && value !== "");
  const validation = query.get("fieldValidation") || "Warn";
  const manager = query.get("fieldManager") ?? "";
  const all = [...errors, ...(options === "DeleteOptions" ? [] : managerErrors(manager)), ...(unknown.length > 0 ? [notSupported("dryRun", unknown, ["All"])] : [])];
  if (!isFieldValidation(validation)) all.push(notSupported("fieldValidation", validation, ["Ignore", "Strict", "Warn"]));
  if (all.length > 0 || !isFieldValidation(validation)) throw invalidError({ group: "meta.k8s.io", kind: options }, "", all);
  return { user: exchange.user, fieldManager: manager || managerOf(exchange.headers["user-agent"] ?? "unknown"), fieldValidation: validation, dryRun: dryRunInBody || dryRun.includes("All"), warnings: exchange.warnings, ...(exchange.annotations && { annotations: exchange.annotations }) };
}

function managerOf(userAgent: string): string {
  const [agent] = userAgent.split("/", 1) as [string];
  const printable = /^[\x20-\x7e]*$/.test(agent) ? agent : [...agent].filter((character) => !unprintable.test(character)).join("");
  return printable.slice(0, managerBytesMax) || "unknown";
}

const isFieldValidation = (text: string): text is WriteContext["fieldValidation"] => text === "Strict" || text === "Warn" || text === "Ignore";

const managerBytesMax = 128;
/** What Go's unicode.IsPrint refuses: anything but letters, marks, numbers, punctuation, symbols and the space. */
const unprintable = /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u;

function managerErrors(manager: string): FieldError[] {
  if (Buffer.byteLength(manager) > managerBytesMax) return [tooLong("fieldManager", managerBytesMax)];
  const at = manager.search(unprintable);
  if (at < 0) return [];
  const code = manager.codePointAt(at)!.toString(16).toUpperCase().padStart(4, "0");
  return [invalid("fieldManager", manager, `invalid character U+${code} (at position ${Buffer.byteLength(manager.slice(0, at))})`)];
}

const propagationPolicies = ["Foreground", "Background", "Orphan"];

function deleteOptions(given: unknown, query: URLSearchParams): DeleteOptions {
  const body = decodeRequest("", "v1", "DeleteOptions", given);
  const grace = (body["gracePeriodSeconds"] as number | undefined) ?? numberOf(query, "gracePeriodSeconds");
  const orphan = body["orphanDependents"] as boolean | undefined;
  const policy = (body["propagationPolicy"] as DeleteOptions["propagationPolicy"] | undefined) ?? (query.get("propagationPolicy") as DeleteOptions["propagationPolicy"] | null) ?? (orphan === undefined ? undefined : orphan ? "Orphan" : "Background");
  const stages = (body["dryRun"] as string[] | undefined) ?? [];
  const errors: FieldError[] = [];
  if (orphan !== undefined && body["propagationPolicy"] !== undefined) errors.push(invalid("propagationPolicy", body["propagationPolicy"], "orphanDependents and deletionPropagation cannot be both set"));
  if (policy !== undefined && !propagationPolicies.includes(policy)) errors.push(notSupported("propagationPolicy", policy, [...propagationPolicies, "nil"]));
  if (stages.some((stage) => stage !== "All")) errors.push(notSupported("dryRun", stages, ["All"]));
  if (errors.length > 0) throw invalidError({ group: "meta.k8s.io", kind: "DeleteOptions" }, "", errors);
  const dryRun = stages.length > 0;
  return {
    ...(grace !== undefined && grace !== null && { gracePeriodSeconds: grace }),
    ...(policy && { propagationPolicy: policy }),
    ...((body["preconditions"] as object | undefined) && { preconditions: body["preconditions"] as { uid?: string; resourceVersion?: string } }),
    ...(dryRun && { dryRun }),
  };
}

function patchErrors(query: URLSearchParams, type: PatchType): FieldError[] {
  if (type === "apply") return query.get("fieldManager") ? [] : [required("fieldManager", "is required for apply patch")];
  return query.get("force") === null ? [] : [forbidden("force", "may not be specified for non-apply patch")];
}

function patchTypeOf(exchange: Exchange, kind: Kind): PatchType {
  const type = String(exchange.headers["content-type"] ?? "").split(";")[0]!.trim();
  switch (type) {
    case "application/json-patch+json":
      return "json";
    case "application/merge-patch+json":
      return "merge";
    case "application/strategic-merge-patch+json":
      return "strategic";
    case "application/apply-patch+yaml":
      return "apply";
    default:
      throw unsupportedMedia(`application/json-patch+json, application/merge-patch+json, ${kind.custom ? "" : "application/strategic-merge-patch+json, "}application/apply-patch+yaml`);
  }
}
