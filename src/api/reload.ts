/**
 * Asks the node to restart containers of a pod in place, because the code that they run has changed: the same pod,
 * the same address, no back-off, and not counted as a crash. Written onto the pod by `wherry up`, which watches the
 * folders; anybody may write it. Each new value is a new request; what it says is for people.
 */
export const reloadAnnotation = "wherry.dev/reload";

/** What was wrong with the new code, as long as the pod does not run it. */
export const reloadFailedAnnotation = "wherry.dev/reload-failed";

/** Where a container's debugger is reached ("127.0.0.1:9229"), as long as `wherry up --inspect` runs. */
export const debuggerAnnotation = (container: string): string => `${debuggerPrefix}${container}`;
export const debuggerPrefix = "debugger.wherry.dev/";

export interface ReloadRequest {
  /** Empty: every main container and sidecar. */
  containers: string[];
  /** What changed, as people would call it: "src/server.js". */
  files: string[];
  /** What the images are made of changed too (a Dockerfile): it is read before the programs start again. */
  relinked?: boolean;
  /** RFC 3339, to make the value a new one. */
  at: string;
}

export function reloadValue(request: ReloadRequest): string {
  return JSON.stringify(request);
}

/** What a value asks for; one that is not ours (typed by hand) asks for everything. */
export function parseReload(value: string): ReloadRequest {
  const words = (list: unknown) => (Array.isArray(list) ? list.filter((word) => typeof word === "string") : []);
  try {
    const { containers, files, relinked, at } = JSON.parse(value) as Record<string, unknown>;
    return { containers: words(containers), files: words(files), ...(relinked === true && { relinked }), at: String(at) };
  } catch {
    return { containers: [], files: [], at: value };
  }
}

/** "server.js", "server.js and lib/a.js", "server.js and 11 other files". */
export function namedFiles(files: readonly string[]): string {
  if (files.length <= 2) return files.join(" and ");
  return `${files[0]} and ${files.length - 1} other files`;
}
