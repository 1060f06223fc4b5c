import type { Kind } from "../../api/kind.ts";
import type { KindRegistry } from "../../api/registry.ts";
import { apiVersionOf, type KubeObject } from "../../api/meta.ts";
import { internalError, methodNotSupportedError, StatusError } from "../../api/status.ts";
import type { OpenWatch, WatchNotice, WatchSink } from "../rest/watch.ts";

/** A watch of a custom kind ends when the kind goes, or is served in another way: the client looks anew. */
export function watchWhileServed(registry: KindRegistry, kind: Kind, sink: WatchSink, open: (sink: WatchSink) => OpenWatch): OpenWatch {
  let stop = () => {};
  const { conversions } = kind.custom!;
  const apiVersion = apiVersionOf(kind.group, kind.version);
  const waiting: WatchNotice[] = [];
  let converting = false;
  let over = false;
  const objectsOf = (notices: readonly WatchNotice[]) => notices.flatMap((notice) => (notice.type === "BOOKMARK" ? [] : [notice.entry.object as KubeObject]));
  /** In order: what comes meanwhile waits its turn. */
  const convert = async () => {
    converting = true;
    try {
      while (waiting.length > 0) {
        const notices = waiting.splice(0);
        const held = objectsOf(notices);
        await conversions!.settle(held, apiVersion);
        if (over) return;
        sink.onNotices(notices);
        // Only now: a conversion is known by the object.
        held.length = 0;
      }
    } catch (error) {
      if (!over) end(error instanceof StatusError ? error : internalError((error as Error).message));
    }
    converting = false;
    if (!over) watch.resume();
  };
  const end = (error: StatusError | undefined) => {
    over = true;
    stop();
    watch.close();
    sink.onEnd(error);
  };
  const watch = open({
    onNotices(notices) {
      if (!conversions || (!converting && objectsOf(notices).every((object) => conversions.has(object, apiVersion)))) return sink.onNotices(notices);
      waiting.push(...notices);
      if (!converting) queueMicrotask(() => void convert());
      return false;
    },
    onEnd(error) {
      over = true;
      stop();
      sink.onEnd(error);
    },
  });
  stop = registry.onChange(({ kind: changed }) => {
    if (changed.group !== kind.group || changed.version !== kind.version || changed.resource !== kind.resource) return;
    end(undefined);
  });
  return {
    resume: () => watch.resume(),
    bookmark: () => watch.bookmark(),
    close() {
      over = true;
      stop();
      watch.close();
    },
  };
}

export function terminatingError(kind: Kind, verb: string): StatusError {
  const { code, reason, details } = methodNotSupportedError(kind, verb);
  return new StatusError(code, reason, `${verb} not allowed while custom resource definition is terminating`, details);
}
