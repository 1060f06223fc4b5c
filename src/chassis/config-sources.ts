import { readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename, join } from "node:path";

/**
 * Where values come from: variables, files, and folders that hold a file for each key, as a ConfigMap or Secret is mounted.
 *
 * Kubernetes changes such a folder all at once: the keys are links into `..data`, itself a link to a folder with a date in its
 * name, which is put in place by a rename. So all keys are read from where `..data` leads at the beginning, and once more if
 * that was removed meanwhile: never some old and some new.
 * Source: k8s.io/kubernetes/pkg/volume/util/atomic_writer.go.
 */
export interface GivenValue {
  raw: unknown;
  /** For messages: "variable DB_HOST", "/etc/config/host". */
  from: string;
}

/** By path ("database.host") or by the name of its variable ("DATABASE_HOST"). */
export type Given = Map<string, GivenValue>;

/** A key may be no larger: a ConfigMap as a whole is not. */
const bytesMax = 1 << 20;
const attempts = 5;

/** @throws Error where it cannot be read or is no JSON; a folder that is not there holds nothing. */
export function readFolder(folder: string, add: (key: string, value: GivenValue) => void): void {
  for (let attempt = 1; ; attempt++) {
    try {
      const found: [string, string][] = [];
      const real = realDataOf(folder);
      for (const entry of readdirSync(real, { withFileTypes: true })) {
        // "..data" and the folder it leads to; editors' leavings.
        if (entry.name.startsWith(".") || entry.name.endsWith("~")) continue;
        const file = join(real, entry.name);
        if (statSync(file).isFile()) found.push([entry.name, readText(file)]);
      }
      for (const [name, text] of found) addText(join(folder, name), text, add);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      if (attempt < attempts && isThere(folder)) continue;
      if (isThere(folder)) throw error;
      return;
    }
  }
}

/** @throws Error where it is not there, or no JSON */
export function readFile(file: string, add: (key: string, value: GivenValue) => void): void {
  addText(file, readText(file), add);
}

export function readText(file: string): string {
  const { size } = statSync(file);
  if (size > bytesMax) throw new Error(`${file}: ${size} bytes, more than ${bytesMax}`);
  return readFileSync(file, "utf8");
}

const realDataOf = (folder: string): string => {
  try {
    return realpathSync(join(folder, "..data"));
  } catch {
    return realpathSync(folder);
  }
};
const isThere = (path: string): boolean => {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
};

/** `NAME.json` is a document of fields; everything else one value, named as its file. */
function addText(file: string, text: string, add: (key: string, value: GivenValue) => void): void {
  if (!file.endsWith(".json")) return add(basename(file), { raw: text.replace(/\r?\n$/, ""), from: file });
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new Error(`${file}: is no JSON: ${(error as Error).message}`, { cause: error });
  }
  if (typeof document !== "object" || document === null || Array.isArray(document)) throw new Error(`${file}: must be a JSON object`);
  flatten(document as Record<string, unknown>, "", (path, raw) => add(path, { raw, from: file }));
}

function flatten(object: Record<string, unknown>, before: string, add: (path: string, raw: unknown) => void): void {
  for (const [name, value] of Object.entries(object)) {
    const path = before === "" ? name : `${before}.${name}`;
    if (typeof value === "object" && value !== null && !Array.isArray(value)) flatten(value as Record<string, unknown>, path, add);
    else if (value !== null) add(path, value);
  }
}
