import { existsSync, globSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { Artifact } from "../../api/artifacts.ts";
import { parseYaml } from "../../api/yaml.ts";
import { WherryError } from "../../base/errors.ts";
import { parseDockerfile } from "./dockerfile.ts";

/** The part of skaffold.yaml that Wherry reads. Source: skaffold.dev/docs/references/yaml (v2beta to v4beta). */
interface SkaffoldConfig {
  apiVersion?: string;
  kind?: string;
  build?: { artifacts?: ({ image?: string; context?: string; docker?: { dockerfile?: string; buildArgs?: Record<string, string>; target?: string } } & Record<string, unknown>)[] };
  manifests?: { rawYaml?: string[]; kustomize?: { paths?: string[] } } & Record<string, unknown>;
  deploy?: { kubectl?: { manifests?: string[] }; kustomize?: { paths?: string[] } } & Record<string, unknown>;
}

// What would change what runs, and is not read: a project that needs it must not come up half.
const foreignBuilders = ["bazel", "buildpacks", "custom", "jib", "kaniko", "ko"];
const foreignManifests = ["helm", "kpt"];

function refuse(where: string, given: Record<string, unknown> | undefined, fields: readonly string[], remedy: string): void {
  for (const field of fields) if (given?.[field] !== undefined) throw new WherryError("MANIFEST_INVALID", `${where}.${field} is not read by Wherry; ${remedy}`);
}

export interface SkaffoldProject {
  artifacts: Artifact[];
  /** Files and kustomization folders, absolute, in the order they are named. */
  manifests: string[];
}

/** Reads skaffold.yaml and the Dockerfiles it names. Throws MANIFEST_INVALID naming file and field; `tolerate` is told of Dockerfiles instead. */
export function readSkaffold(file: string, tolerate?: (file: string, error: WherryError) => void): SkaffoldProject {
  const folder = dirname(file);
  const project: SkaffoldProject = { artifacts: [], manifests: [] };
  let documents: unknown[];
  try {
    documents = parseYaml(readFileSync(file, "utf8"));
  } catch (error) {
    throw new WherryError("MANIFEST_INVALID", `${file}: ${(error as Error).message}`);
  }
  for (const config of documents as SkaffoldConfig[]) {
    if (config.kind !== "Config" || !config.apiVersion?.startsWith("skaffold/")) throw new WherryError("MANIFEST_INVALID", `${file}: is no skaffold configuration (kind: Config, apiVersion: skaffold/…)`);
    for (const part of ["manifests", "deploy"] as const) refuse(`${file}: ${part}`, config[part], foreignManifests, "render it to plain manifests and name those in manifests.rawYaml");
    for (const [index, { image, context, docker, ...rest }] of (config.build?.artifacts ?? []).entries()) {
      refuse(`${file}: build.artifacts[${index}]`, rest, foreignBuilders, "describe the image with a Dockerfile (docker.dockerfile)");
      if (!image) throw new WherryError("MANIFEST_INVALID", `${file}: build.artifacts[${index}].image is missing`);
      const where = resolve(folder, context ?? ".");
      try {
        project.artifacts.push(artifactOf(image, where, docker ?? {}, `${file}: build.artifacts[${index}]`));
      } catch (error) {
        if (!tolerate || !(error instanceof WherryError)) throw error;
        tolerate(dockerfileOf(where, docker ?? {}), error);
      }
    }
    const raw = [...(config.manifests?.rawYaml ?? []), ...(config.deploy?.kubectl?.manifests ?? (config.manifests || config.deploy ? [] : ["k8s/*.yaml"]))];
    for (const pattern of raw) {
      const found = globSync(pattern, { cwd: folder }).sort();
      if (found.length === 0 && !/[*?[{]/.test(pattern)) throw new WherryError("MANIFEST_INVALID", `${file}: manifests.rawYaml names ${pattern}, which does not exist`);
      project.manifests.push(...found.map((name) => join(folder, name)));
    }
    project.manifests.push(...[...(config.manifests?.kustomize?.paths ?? []), ...(config.deploy?.kustomize?.paths ?? [])].map((path) => resolve(folder, path)));
  }
  return project;
}

const dockerfileOf = (context: string, docker: { dockerfile?: string }) => resolve(context, docker.dockerfile ?? "Dockerfile");

/** One artifact: the image's name and what its Dockerfile says. */
export function artifactOf(reference: string, context: string, docker: { dockerfile?: string; buildArgs?: Record<string, string>; target?: string }, where: string): Artifact {
  const { image, tag } = splitImage(reference);
  const dockerfile = dockerfileOf(context, docker);
  if (!existsSync(dockerfile)) throw new WherryError("MANIFEST_INVALID", `${where}: there is no ${basename(dockerfile)} in ${context}`);
  const read = parseDockerfile(readFileSync(dockerfile, "utf8"), {
    file: dockerfile,
    ...(docker.buildArgs && { buildArgs: Object.fromEntries(Object.entries(docker.buildArgs).map(([name, value]) => [name, String(value)])) }),
    ...(docker.target && { target: docker.target }),
    isFolder: (path) => statSync(join(context, path), { throwIfNoEntry: false })?.isDirectory() ?? false,
  });
  return { image, tag, context, dockerfile, ...read };
}

/** "host:5000/a/b:v1" → image and tag; a digest stays with the image. */
export function splitImage(reference: string): { image: string; tag: string } {
  const colon = reference.lastIndexOf(":");
  return colon > reference.lastIndexOf("/") && !reference.includes("@") ? { image: reference.slice(0, colon), tag: reference.slice(colon + 1) } : { image: reference, tag: "" };
}
