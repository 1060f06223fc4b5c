import { existsSync, readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Artifact } from "../../api/artifacts.ts";
import { WherryError } from "../../base/errors.ts";
import { type Manifest, readManifests, type Tolerate } from "./manifests.ts";
import { readSkaffold } from "./skaffold.ts";

export interface Project {
  artifacts: Artifact[];
  manifests: Manifest[];
}

/**
 * What the folders (or files) given to `up` hold. A folder is read by what lies in it: skaffold.yaml (artifacts
 * and manifests), a kustomization, or plain manifests. `links` give their artifacts only. With `tolerate`, a manifest or
 * Dockerfile that cannot be read is left out, and nothing at all is no error: a folder that is being edited.
 */
export function readProject(paths: readonly string[], links: readonly string[], tolerate?: Tolerate): Project {
  const project: Project = { artifacts: [], manifests: [] };
  for (const path of links.map((link) => resolve(link))) {
    const skaffold = skaffoldOf(path);
    if (!skaffold) throw new WherryError("MANIFEST_INVALID", `--link ${path}: there is no skaffold.yaml that says which image comes from which folder`);
    project.artifacts.push(...readSkaffold(skaffold, tolerate).artifacts);
  }
  for (const path of paths.map((given) => resolve(given))) {
    const skaffold = skaffoldOf(path);
    if (!skaffold) {
      const manifests = readManifests(path, tolerate);
      const nested = join(path, "k8s");
      project.manifests.push(...(manifests.length === 0 && existsSync(nested) ? readManifests(nested, tolerate) : manifests));
      if (project.manifests.length === 0 && !tolerate) throw new WherryError("MANIFEST_INVALID", `${path}: holds no manifests (*.yaml, *.json), no kustomization.yaml and no skaffold.yaml${hint(path)}`);
      continue;
    }
    const read = readSkaffold(skaffold, tolerate);
    project.artifacts.push(...read.artifacts);
    project.manifests.push(...read.manifests.flatMap((file) => readManifests(file, tolerate)));
  }
  return project;
}

function skaffoldOf(path: string): string | undefined {
  if (/skaffold\.ya?ml$/.test(path)) return path;
  return ["skaffold.yaml", "skaffold.yml"].map((name) => join(path, name)).find((file) => existsSync(file));
}

function hint(path: string): string {
  const folders = statSync(path, { throwIfNoEntry: false })?.isDirectory() ? readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory() && !entry.name.startsWith(".")) : [];
  return folders.length > 0 ? ` (folders below it: ${folders.slice(0, 6).map((entry) => entry.name).join(", ")})` : "";
}
