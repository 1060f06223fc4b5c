import type { Kind } from "../../api/kind.ts";
import type { KindRegistry } from "../../api/registry.ts";
import { methodNotSupportedError, StatusError } from "../../api/status.ts";
import type { OpenWatch, WatchSink } from "../rest/watch.ts";

/** A watch of a custom kind ends when the kind goes, or is served in another way: the client looks anew. */
export function watchWhileServed(registry: KindRegistry, kind: Kind, sink: WatchSink, open: (sink: WatchSink) => OpenWatch): OpenWatch {
  let stop = () => {};
  const watch = open({
    onNotices: (notices) => sink.onNotices(notices),
    onEnd(error) {
      stop();
      sink.onEnd(error);
    },
  });
  stop = registry.onChange(({ kind: changed }) => {
    if (changed.group !== kind.group || changed.version !== kind.version || changed.resource !== kind.resource) return;
    stop();
    watch.close();
    sink.onEnd(undefined);
  });
  return {
    resume: () => watch.resume(),
    bookmark: () => watch.bookmark(),
    close() {
      stop();
      watch.close();
    },
  };
}

export function terminatingError(kind: Kind, verb: string): StatusError {
  const { code, reason, details } = methodNotSupportedError(kind, verb);
  return new StatusError(code, reason, `${verb} not allowed while custom resource definition is terminating`, details);
}
