import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { KubeObject } from "../../api/meta.ts";
import { parseYaml } from "../../api/yaml.ts";
import { WherryError } from "../../base/errors.ts";

/** One object of a file, with where it stands, for messages. */
export interface Manifest {
  /** "k8s/user-service.yaml", or "k8s/user-service.yaml (2nd document)". */
  origin: string;
  file: string;
  object: KubeObject;
}

const ordinal = (n: number) => `${n}${n === 1 ? "st" : n === 2 ? "nd" : n === 3 ? "rd" : "th"}`;

/** The objects of one YAML or JSON text. `v1/List` is unfolded. Throws MANIFEST_INVALID naming file and document. */
export function parseManifests(text: string, file: string): Manifest[] {
  let documents: unknown[];
  try {
    documents = parseYaml(text);
  } catch (error) {
    throw new WherryError("MANIFEST_INVALID", `${file}: ${(error as Error).message}`);
  }
  return documents.flatMap((document, index) => {
    const origin = documents.length === 1 ? file : `${file} (${ordinal(index + 1)} document)`;
    const fail = (why: string): never => {
      throw new WherryError("MANIFEST_INVALID", `${origin}: ${why}`);
    };
    if (typeof document !== "object" || Array.isArray(document)) fail(`is no Kubernetes object but ${JSON.stringify(document)?.slice(0, 60)}; it needs apiVersion, kind and metadata`);
    const object = document as KubeObject & { items?: KubeObject[] };
    for (const field of ["apiVersion", "kind"]) if (typeof object[field] !== "string") fail(`${field} is ${object[field] === undefined ? "missing" : `no string but ${JSON.stringify(object[field])}`}`);
    if (object.kind === "List" && Array.isArray(object.items)) return object.items.map((item) => ({ origin, file, object: item }));
    if (!object.metadata?.name && !object.metadata?.generateName) fail("metadata.name is missing");
    return [{ origin, file, object }];
  });
}

const isManifestFile = (name: string) => /\.(ya?ml|json)$/i.test(name);

/** Told of a file that cannot be read, instead of the whole being refused for it. */
export type Tolerate = (file: string, error: WherryError) => void;

/** The manifests of a file, a folder (not deeper, as `kubectl apply -f` reads it), or a kustomization. Throws MANIFEST_INVALID, or tells `tolerate`. */
export function readManifests(path: string, tolerate?: Tolerate): Manifest[] {
  const tolerant = (file: string, read: () => Manifest[]): Manifest[] => {
    try {
      return read();
    } catch (error) {
      if (!tolerate || !(error instanceof WherryError)) throw error;
      tolerate(file, error);
      return [];
    }
  };
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) throw new WherryError("MANIFEST_INVALID", `${path}: there is no such file or folder`);
  if (stat.isFile()) return tolerant(path, () => parseManifests(readFileSync(path, "utf8"), path));
  const names = readdirSync(path).sort();
  if (names.some((name) => /^kustomization\.ya?ml$/i.test(name) || name === "Kustomization")) return tolerant(path, () => kustomize(path));
  return names
    .filter((name) => isManifestFile(name) && !/^skaffold\.ya?ml$|^package(-lock)?\.json$|^tsconfig.*\.json$/.test(name))
    .map((name) => join(path, name))
    .flatMap((file) => tolerant(file, () => parseManifests(readFileSync(file, "utf8"), file)));
}

/** Kustomize is a language of its own: kubectl carries the real thing, so it does the work. */
function kustomize(folder: string): Manifest[] {
  try {
    return parseManifests(execFileSync("kubectl", ["kustomize", folder], { encoding: "utf8", maxBuffer: 1 << 26, stdio: ["ignore", "pipe", "pipe"] }), folder);
  } catch (error) {
    if (error instanceof WherryError) throw error;
    if ((error as NodeJS.ErrnoException).code === "ENOENT") throw new WherryError("PROGRAM_MISSING", `${folder} is a kustomization, which needs kubectl on the PATH (package kubectl)`);
    throw new WherryError("MANIFEST_INVALID", `${folder}: kubectl kustomize: ${String((error as { stderr?: unknown }).stderr ?? (error as Error).message).trim()}`);
  }
}
