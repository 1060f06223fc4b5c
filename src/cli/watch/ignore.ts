import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

// What no program is made of: version control, installed packages, and what editors and tools leave for a moment.
const folders = /(^|\/)(\.cache|\.next|\.nuxt|\.turbo|\.gradle|\.venv|\.tox|\.pytest_cache|\.mypy_cache|\.nyc_output|\.git|\.hg|\.svn|\.jj|node_modules|__pycache__|\.idea|\.vscode|\.wherry(-[^/]*)?)(\/|$)/;
const files = /(^|\/)(\.#[^/]*|#[^/]*#|[^/]*~|4913|\.DS_Store|[^/]*\.(sw[a-z]|tmp|temp|bak|orig|log|pid|lock|sqlite[^/]*|db-(wal|shm|journal))|[^/]*\.tmp\.[^/]*|[^/]*___jb_(tmp|old)___|\.goutputstream-[^/]*)$/;

/** Whether a path below a watched folder ("lib/a.js") never is source. */
export function isNoise(path: string): boolean {
  return folders.test(path) || files.test(path);
}

/**
 * What a .dockerignore leaves out. The file beside the Dockerfile (`Dockerfile.dockerignore`) comes before the context's;
 * the last line that matches decides; `!` takes back. Source: docs.docker.com/build/concepts/context/#dockerignore-files.
 */
export function dockerIgnore(context: string, dockerfile: string): { file(path: string): boolean; folder(path: string): boolean } {
  const found = [`${dockerfile}.dockerignore`, join(context, ".dockerignore")].find((candidate) => dockerfile !== "" && existsSync(candidate));
  if (found === undefined) return { file: () => false, folder: () => false };
  const text = readFileSync(found, "utf8");
  const file = ignoreRules(text);
  // With a line that takes back, something below an ignored folder may be meant.
  return { file, folder: /^\s*!/m.test(text) ? () => false : file };
}

export function ignoreRules(text: string): (path: string) => boolean {
  const rules = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => ({ takesBack: line.startsWith("!"), pattern: patternOf(line.replace(/^!/, "").trim().replace(/^\.?\/+/, "").replace(/\/+$/, "")) }));
  return (path) => rules.findLast(({ pattern }) => pattern.test(path))?.takesBack === false;
}

/** Go's filepath.Match with `**`; what lies below a match matches. */
function patternOf(glob: string): RegExp {
  let source = "";
  for (let at = 0; at < glob.length; at++) {
    const rest = glob.slice(at);
    if (rest.startsWith("**/")) {
      source += "(?:[^/]+/)*";
      at += 2;
    } else if (rest.startsWith("**")) {
      source += ".*";
      at += 1;
    } else if (rest[0] === "*") source += "[^/]*";
    else if (rest[0] === "?") source += "[^/]";
    else source += rest[0]!.replace(/[.+^${}()|[\]\\]/, "\\$&");
  }
  return new RegExp(`^${source}(?:/|$)`);
}
