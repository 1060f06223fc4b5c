import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { builtinResources } from "../../api/kinds/table.ts";
import type { Describe } from "./schemas.ts";

/**
 * The words of `kubectl explain`, taken from the comments of the npm package kubernetes-models where that is
 * installed: one .d.ts file a definition. Without it nothing is said, and explain shows types alone.
 */
export function describeFromTypings(resolveFrom: string = import.meta.url): Describe {
  let folders: Folders | undefined | null = null;
  const known = new Map<string, Map<string, string>>();
  return (definition, field = "") => {
    // Looked for when first asked: most starts never publish a document.
    if (folders === null) folders = typingsFolders(resolveFrom);
    if (!folders) return undefined;
    let words = known.get(definition);
    if (!words) known.set(definition, (words = readTypings(folders, definition)));
    return words.get(field);
  };
}

interface Folders {
  /** Package of Go ("rbac") → folder of its group ("…/rbac.authorization.k8s.io"). */
  groups: Map<string, string>;
  meta: string | undefined;
}

function typingsFolders(resolveFrom: string): Folders | undefined {
  const models = packageFolder("kubernetes-models", resolveFrom);
  if (models === undefined) return undefined;
  const groups = new Map(builtinResources().map(({ group }) => [group === "" ? "core" : group.split(".")[0]!, join(models, group)]));
  const machinery = packageFolder("@kubernetes-models/apimachinery", join(models, "package.json"));
  return { groups, meta: machinery && join(machinery, "apis/meta") };
}

function packageFolder(name: string, from: string): string | undefined {
  try {
    return dirname(createRequire(from).resolve(`${name}/package.json`));
  } catch {
    return undefined;
  }
}

/** Field → comment; the definition's own under "". */
function readTypings({ groups, meta }: Folders, definition: string): Map<string, string> {
  const [name, version, owner] = definition.split(".").toReversed() as [string, string, string];
  const folder = owner === "meta" ? meta : groups.get(owner);
  const file = folder && join(folder, version, `${name}.d.ts`);
  if (!file || !existsSync(file)) return new Map();
  const text = readFileSync(file, "utf8");
  const start = text.indexOf(`export interface I${name} `);
  if (start < 0) return new Map();
  const body = text.slice(start, text.indexOf("\n}", start));
  const words = new Map<string, string>();
  const own = /\/\*\*((?:(?!\*\/)[^])*)\*\/\s*$/.exec(text.slice(0, start))?.[1];
  if (own !== undefined) words.set("", plain(own));
  for (const match of body.matchAll(/\n {4}\/\*\*((?:(?!\*\/)[^])*)\*\/\n {4}"([^"]+)"\??:/g)) words.set(match[2]!, plain(match[1]!));
  return words;
}

/** Without the stars of the comment. */
function plain(comment: string): string {
  return comment
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, ""))
    .join("\n")
    .trim();
}
