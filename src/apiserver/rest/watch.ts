import type { WatchOptions } from "../../api/client.ts";
import type { Kind } from "../../api/kind.ts";
import type { KubeObject, WatchEventType } from "../../api/meta.ts";
import { goneRevisionError, StatusError, tooLargeRevisionError } from "../../api/status.ts";
import { type Entry, RevisionCompactedError, type Store, type Watch } from "../../store/store.ts";
import { prefixOf, selectableOf } from "./keys.ts";
import { filterOf, list, passes, revisionOf, watchListForbidden } from "./read.ts";

/** What a watch tells: entries, so that bytes are encoded once for all watchers; bookmarks carry a revision only. */
export type WatchNotice = { type: Exclude<WatchEventType, "BOOKMARK" | "ERROR">; entry: Entry } | { type: "BOOKMARK"; revision: number; initialEventsEnd: boolean };

export interface WatchSink {
  /** Notices of one slice, in order. False: enough for now; `resume` when there is room. */
  onNotices(notices: readonly WatchNotice[]): boolean | void;
  /** The watch is over: too slow (410), or the store closed. Without an error: what was watched is served no more, or otherwise. */
  onEnd(error: StatusError | undefined): void;
}

export interface OpenWatch {
  resume(): void;
  close(): void;
  /** Sends a BOOKMARK with the revision that everything has been told up to. */
  bookmark(): void;
}

/**
 * Opens a watch. Throws the StatusErrors that come before the stream starts (400, 410, 422, 504).
 * Source: k8s.io/apiserver/pkg/storage/cacher.
 */
export function openWatch(store: Store, kind: Kind, options: WatchOptions, sink: WatchSink): OpenWatch {
  checkWatchOptions(options);
  const filter = filterOf(kind, options);
  const selects = filter.labels !== null || filter.fields !== null;
  const prefix = prefixOf(kind, kind.scope === "Namespaced" ? options.namespace : undefined);
  const asked = revisionOf(options.resourceVersion);
  if (asked !== undefined && asked > store.revision) throw tooLargeRevisionError(asked, store.revision);
  const bookmarks = options.allowWatchBookmarks ?? false;

  // "" and "0" begin with the present state; so does a WatchList, which then says where it ends.
  const withInitial = options.sendInitialEvents === true || (options.sendInitialEvents === undefined && !asked);
  let start = asked ?? 0;
  let initial: WatchNotice[] = [];
  if (withInitial || !asked) {
    const { entries, revision } = list(store, kind, { ...(options.namespace !== undefined && { namespace: options.namespace }), ...(options.labelSelector && { labelSelector: options.labelSelector }), ...(options.fieldSelector && { fieldSelector: options.fieldSelector }) });
    start = revision;
    if (withInitial) initial = entries.map((entry) => ({ type: "ADDED", entry }));
    if (options.sendInitialEvents === true) initial.push({ type: "BOOKMARK", revision, initialEventsEnd: true });
  }

  const matches = (entry: Entry | undefined) => entry !== undefined && (!selects || passes(kind, filter, selectableOf(kind, entry)));
  let watch: Watch;
  try {
    watch = store.watch(prefix, start, {
      onEvents(events) {
        const notices: WatchNotice[] = [];
        for (const { type, entry, previous } of events) {
          // A selector turns a change into an arrival or a departure.
          const was = matches(previous);
          const is = type === "put" && matches(entry);
          if (is) notices.push({ type: was ? "MODIFIED" : "ADDED", entry });
          else if (was) notices.push({ type: "DELETED", entry: type === "put" || !kind.gracePeriodSeconds ? departed(previous!, entry) : entry });
        }
        return notices.length > 0 ? sink.onNotices(notices) : undefined;
      },
      onEnd: (error) => sink.onEnd(error instanceof StatusError ? error : new StatusError(410, "Expired", `The watch fell behind and was ended; list again. (${error.message})`)),
    });
  } catch (error) {
    if (error instanceof RevisionCompactedError) throw goneRevisionError(error.asked, error.current);
    throw error;
  }
  if (initial.length > 0) sink.onNotices(initial);
  return {
    resume: () => watch.resume(),
    close: () => watch.close(),
    bookmark: () => bookmarks && void sink.onNotices([{ type: "BOOKMARK", revision: Math.max(watch.revision, start), initialEventsEnd: false }]),
  };
}

const departures = new WeakMap<Entry, Entry>();

/**
 * Who leaves a selection is told as he was in it, with the revision at which he left; and who is deleted as he was stored.
 * Of a pod, whoever runs it must read with how much grace it goes.
 */
function departed(previous: Entry, { revision }: Entry): Entry {
  const known = departures.get(previous);
  if (known) return known;
  const object = previous.object as KubeObject;
  const last = { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
  const entry: Entry = { key: previous.key, revision, object: last, bytes: Buffer.from(JSON.stringify(last)) };
  departures.set(previous, entry);
  return entry;
}

export function checkWatchOptions(options: WatchOptions): void {
  const { sendInitialEvents, resourceVersionMatch, allowWatchBookmarks } = options;
  if (options.continue) throw watchListForbidden("continue", "continue is forbidden for watch");
  if (sendInitialEvents === undefined) {
    if (resourceVersionMatch !== undefined) throw watchListForbidden("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    return;
  }
  if (resourceVersionMatch === undefined) throw watchListForbidden("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
  if (resourceVersionMatch !== "NotOlderThan") throw watchListForbidden("resourceVersionMatch", 'must be "NotOlderThan" when sendInitialEvents is provided', resourceVersionMatch);
  if (sendInitialEvents && !allowWatchBookmarks) throw watchListForbidden("allowWatchBookmarks", "sendInitialEvents requires allowWatchBookmarks");
}

/** A BOOKMARK's object: nothing but kind and revision. */
export function bookmarkObject(kind: Kind, apiVersion: string, revision: number, initialEventsEnd: boolean): KubeObject {
  return { kind: kind.kind, apiVersion, metadata: { resourceVersion: String(revision), ...(initialEventsEnd && { annotations: { "k8s.io/initial-events-end": "true" } }) } } as unknown as KubeObject;
}
