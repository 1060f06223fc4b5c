import type { ListOptions } from "../../api/client.ts";
import type { Kind } from "../../api/kind.ts";
import { apiVersionOf, type KubeObject } from "../../api/meta.ts";
import { type FieldSelector, parseFieldSelector, parseLabelSelector, type Selector, SelectorError } from "../../api/selectors.ts";
import { badRequestError, expiredError, invalidError, notFoundError, StatusError, tooLargeRevisionError } from "../../api/status.ts";
import { forbidden, invalid, notSupported } from "../../api/field.ts";
import { limits } from "../../base/limits.ts";
import { type Entry, RevisionCompactedError, type Store } from "../../store/store.ts";
import { keyOf, objectOf, prefixOf } from "./keys.ts";

export function read(store: Store, kind: Kind, namespace: string | undefined, name: string): Entry {
  const entry = store.get(keyOf(kind, namespace, name));
  if (!entry) throw notFoundError(kind, name);
  return entry;
}

/** Which objects a list or watch is about. `fields` is null when every object passes. */
export interface Filter {
  labels: Selector | null;
  fields: FieldSelector | null;
}

export function filterOf(kind: Kind, options: Pick<ListOptions, "labelSelector" | "fieldSelector">): Filter {
  const filter = selectorsOf(options);
  if (filter.fields) checkFields(kind, filter.fields);
  return filter;
}

function selectorsOf(options: Pick<ListOptions, "labelSelector" | "fieldSelector">): Filter {
  try {
    const labels = options.labelSelector ? parseLabelSelector(options.labelSelector) : null;
    const fields = options.fieldSelector ? parseFieldSelector(options.fieldSelector) : null;
    return { labels, fields };
  } catch (error) {
    if (error instanceof SelectorError) throw badRequestError(error.message);
    throw error;
  }
}

function checkFields(kind: Kind, selector: FieldSelector): void {
  for (const { field } of selector.terms) {
    if (field === "metadata.name" || (field === "metadata.namespace" && !(kind.scope === "Cluster" && (kind.custom || kind.selectableFields)))) continue;
    if (!kind.selectableFields && !kind.custom) throw unknownField(field);
    // The labels a kind knows are those it gives for any object, even an empty one.
    if (!(field in (kind.selectableFields ?? (() => ({})))({ apiVersion: apiVersionOf(kind.group, kind.version), kind: kind.kind, metadata: {} as KubeObject["metadata"], spec: {}, status: {} }))) throw badRequestError(kind.kind === "Job" ? `field label ${JSON.stringify(field)} not supported for Job` : `field label not supported: ${field}`);
  }
}

const unknownField = (field: string) => badRequestError(`${JSON.stringify(field)} is not a known field selector: only "metadata.name", "metadata.namespace"`);

export function passes(kind: Kind, filter: Filter, object: KubeObject): boolean {
  if (filter.labels && !filter.labels.matches(object.metadata.labels)) return false;
  if (!filter.fields) return true;
  return filter.fields.matches({ "metadata.name": object.metadata.name, "metadata.namespace": object.metadata.namespace ?? "", ...kind.selectableFields?.(object) });
}

export interface Listed {
  entries: Entry[];
  revision: number;
  continue?: string;
  remainingItemCount?: number;
}

/** An opaque continue token: where the next page starts, and the revision that all pages show. */
interface Token {
  v: "meta.k8s.io/v1";
  rv: number;
  start: string;
}

/** Source of the rules: k8s.io/apimachinery/pkg/apis/meta/internalversion/validation, apiserver/pkg/storage/continue.go. */
export function list(store: Store, kind: Kind, options: ListOptions): Listed {
  checkListOptions(options);
  const filter = filterOf(kind, options);
  const prefix = prefixOf(kind, kind.scope === "Namespaced" ? options.namespace : undefined);
  const limit = Math.min(options.limit && options.limit > 0 ? options.limit : Number.POSITIVE_INFINITY, options.limit ? limits.listPageMax : Number.POSITIVE_INFINITY);
  const token = options.continue ? parseToken(options.continue, prefix) : undefined;
  if (token && options.resourceVersion && options.resourceVersion !== "0") throw badRequestError("specifying resource version is not allowed when using continue");
  const asked = revisionOf(options.resourceVersion);
  if (asked !== undefined && asked > store.revision) throw tooLargeRevisionError(asked, store.revision);

  // A page of a list that names a revision has always been of just that revision.
  const isExact = options.resourceVersionMatch === "Exact" || (options.resourceVersionMatch === undefined && asked !== undefined && asked > 0 && limit !== Number.POSITIVE_INFINITY);
  const exact = token ? token.rv : isExact ? asked! : undefined;
  const revision = exact !== undefined && exact > 0 ? exact : store.revision;

  // A list by name is a get.
  const name = filter.fields?.exactValue("metadata.name");
  if (name !== undefined && exact === undefined && (kind.scope === "Cluster" || options.namespace !== undefined)) {
    const entry = store.get(keyOf(kind, options.namespace, name));
    return { entries: entry && passes(kind, filter, objectOf(kind, entry)) ? [entry] : [], revision };
  }

  const selects = filter.labels !== null || filter.fields !== null;
  // limit with resourceVersion "0" is answered whole, as the watch cache does.
  const pageSize = asked === 0 && !token ? Number.POSITIVE_INFINITY : limit;
  const entries: Entry[] = [];
  let startKey = token?.start;
  let more = false;
  try {
    for (;;) {
      const wanted = pageSize === Number.POSITIVE_INFINITY ? undefined : pageSize - entries.length + 1;
      const range = { ...(startKey !== undefined && { startKey }), ...(wanted !== undefined && { limit: selects ? Math.max(wanted, 500) : wanted }) };
      const batch = exact === undefined || revision === store.revision ? store.range(prefix, range) : store.rangeAt(prefix, revision, range);
      let taken = 0;
      for (const entry of batch) {
        if (entries.length >= pageSize) break;
        taken++;
        if (!selects || passes(kind, filter, objectOf(kind, entry))) entries.push(entry);
      }
      more = taken < batch.length;
      if (more || wanted === undefined || batch.length < range.limit!) {
        if (more) startKey = batch[taken]!.key;
        break;
      }
      startKey = `${batch.at(-1)!.key}\0`;
    }
  } catch (error) {
    if (!(error instanceof RevisionCompactedError)) throw error;
    if (!token) throw expiredError(`The resourceVersion for the provided list is too old.`);
    // A way on for clients that can live with a torn list: from the same place, at today's revision.
    throw expiredError("The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.", { continue: formatToken({ v: "meta.k8s.io/v1", rv: 0, start: token.start }, prefix) });
  }
  if (!more) return { entries, revision };
  return {
    entries,
    revision,
    continue: formatToken({ v: "meta.k8s.io/v1", rv: revision, start: startKey! }, prefix),
    ...(!selects && { remainingItemCount: revision === store.revision ? store.count(prefix, startKey) : store.rangeAt(prefix, revision, { ...(startKey !== undefined && { startKey }) }).length }),
  };
}

/** "" and undefined: none; "0": any; else the number. Throws 400. */
export function revisionOf(text: string | undefined): number | undefined {
  if (text === undefined || text === "") return undefined;
  if (!/^\d{1,15}$/.test(text)) throw badRequestError(`invalid resource version: resourceVersion: Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`);
  return Number(text);
}

/** A get may say how new the object must at least be. Throws 400, and 504 for a revision that is not yet. */
export function checkGetRevision(store: Store, text: string | undefined): void {
  const asked = revisionOf(text);
  if (asked !== undefined && asked > store.revision) throw tooLargeRevisionError(asked, store.revision);
}

/** What is wrong with the options themselves, whatever is listed. Throws 400 and 422. */
export function checkListOptions(options: ListOptions): void {
  const { resourceVersion, resourceVersionMatch, continue: token } = options;
  const of = { group: "meta.k8s.io", kind: "ListOptions" };
  selectorsOf(options);
  if (resourceVersionMatch === undefined) return;
  if (token) throw invalidError(of, "", [forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")]);
  if (!["Exact", "NotOlderThan"].includes(resourceVersionMatch)) throw invalidError(of, "", [notSupported("resourceVersionMatch", resourceVersionMatch, ["Exact", "NotOlderThan", ""])]);
  if (!resourceVersion) throw invalidError(of, "", [forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")]);
  if (resourceVersionMatch === "Exact" && resourceVersion === "0") throw invalidError(of, "", [forbidden("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')]);
}

function formatToken(token: Token, prefix: string): string {
  return Buffer.from(JSON.stringify({ ...token, start: token.start.slice(prefix.length) })).toString("base64url");
}

function parseToken(text: string, prefix: string): Token {
  const refuse = (why: string) => badRequestError(`invalid continue token: continue key is not valid${why}`);
  const illegal = text.search(/[^A-Za-z0-9_-]/);
  if (illegal >= 0 || text.length % 4 === 1) throw refuse(`: illegal base64 data at input byte ${illegal >= 0 ? illegal : text.length - 1}`);
  const decoded = Buffer.from(text, "base64url");
  let token: Partial<Token>;
  try {
    token = JSON.parse(decoded.toString()) as Partial<Token>;
  } catch {
    const first = decoded.toString("latin1").trimStart()[0];
    throw refuse(first === undefined || /[{["\-0-9tfn]/.test(first) ? ": unexpected end of JSON input" : `: invalid character '${characterText(first)}' looking for beginning of value`);
  }
  const { v, rv, start } = token;
  if (v !== "meta.k8s.io/v1") throw refuse(`: server does not recognize this encoded version ${v ?? ""}`);
  if (!Number.isInteger(rv)) throw refuse(": incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
  if (typeof start !== "string" || start === "") throw refuse(": encoded start key empty (version meta.k8s.io/v1)");
  if (start.split("/").some((part) => part === ".." || part === ".")) throw refuse(`: ${start}`);
  return { v, rv: rv!, start: prefix + start };
}

/** As Go quotes a byte that it did not expect. */
const characterText = (character: string): string => (/[\x20-\x7e\xa1-\xff]/.test(character) ? character : `\\u${character.codePointAt(0)!.toString(16).padStart(4, "0")}`);

/** 422 for options that exclude each other on a watch. */
export const watchListForbidden = (field: string, detail: string, value?: unknown): StatusError =>
  invalidError({ group: "meta.k8s.io", kind: "ListOptions" }, "", [value === undefined ? forbidden(field, detail) : invalid(field, value, detail)]);
