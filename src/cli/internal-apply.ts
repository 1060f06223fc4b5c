import { createHash } from "node:crypto";
import { join, relative, resolve } from "node:path";
import { type Artifact, artifactKey, artifactsConfigMap } from "../api/artifacts.ts";
import type { Client } from "../api/client.ts";
import type { GroupVersionResource, KubeObject } from "../api/meta.ts";
import { resources, systemNamespace } from "../api/resources.ts";
import { StatusError } from "../api/status.ts";
import { WherryError } from "../base/errors.ts";
import { closedFolder, readJsonFile, writeFileAtomic } from "../base/files.ts";
import { connect, resourceOf } from "./connect.ts";
import { mergeKubeconfig } from "./kubeconfig.ts";
import { followUntilReady, type Workload } from "./progress.ts";
import { apply, goJson } from "./sources/apply.ts";
import type { Manifest } from "./sources/manifests.ts";
import { readProject } from "./sources/project.ts";
import { printAddresses } from "./status.ts";

/**
 * The short-lived child of `wherry up`: reads manifests, skaffold.yaml and Dockerfiles (so that the parent of
 * the pods parses no file of a user), applies them, shows progress until everything is Ready, prints URLs.
 */
export interface ApplyRequest {
  dataDir: string;
  paths: string[];
  links: string[];
  /** Each pod is another user of this machine and reaches its code by the path: plain mode as root. */
  podUsers?: boolean;
}

export async function run(argv: string[]): Promise<number> {
  const request = JSON.parse(argv[0]!) as ApplyRequest;
  const project = readProject(request.paths, request.links);
  if (request.podUsers) refuseClosed(project.artifacts);
  const client = await connect(request.dataDir, { waitMs: 30_000 });
  offerContext(join(request.dataDir, "kubeconfig"));
  const began = performance.now();

  if (project.artifacts.length > 0 || request.links.length > 0) await linkArtifacts(client, project.artifacts);
  const workloads = await applyManifests(client, project.manifests, request.dataDir);
  const ready = await followUntilReady(client, workloads, process.stdout);
  if (workloads.length > 0 && ready) process.stdout.write(`Ready in ${((performance.now() - began) / 1000).toFixed(1)} s\n\n`);
  await printAddresses(client, process.stdout);
  return 0;
}

function refuseClosed(artifacts: readonly Artifact[]): void {
  for (const { image, context } of artifacts) {
    const closed = closedFolder(context);
    if (closed) throw new WherryError("FOLDER_CLOSED", `in plain mode as root each pod has a user of its own, and none may pass through ${closed} to the code of image ${image} in ${context}`);
  }
}

/** Adds the context to the user's own kubeconfig; a file that cannot be read or written is left alone. */
function offerContext(file: string): void {
  try {
    process.stdout.write(`kubectl: ${mergeKubeconfig(file).message}\n\n`);
  } catch (error) {
    process.stdout.write(`kubectl: your own kubeconfig was left as it is (${(error as Error).message}); use the KUBECONFIG above\n\n`);
  }
}

/** Tells the node which image is which folder. The whole list is replaced: what is no longer given is forgotten. */
async function linkArtifacts(client: Client, artifacts: readonly Artifact[]): Promise<void> {
  const data = Object.fromEntries(artifacts.map((artifact) => [artifactKey(artifact.image, artifact.tag), JSON.stringify(artifact)]));
  const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: artifactsConfigMap, namespace: systemNamespace }, data };
  try {
    await client.create(resources.configMaps, systemNamespace, object);
  } catch (error) {
    if (!(error instanceof StatusError) || error.code !== 409) throw error;
    await client.update(resources.configMaps, systemNamespace, artifactsConfigMap, object);
  }
  for (const { image, tag, context } of artifacts) process.stdout.write(`linked  ${image}${tag && `:${tag}`} → ${relative(process.cwd(), context) || "."}\n`);
}

// Namespaces and definitions first: what follows may live in them.
const early = (object: KubeObject) => (object.kind === "Namespace" ? 0 : object.kind === "CustomResourceDefinition" ? 1 : 2);

/**
 * Applies what changed since the last `up` of this data directory; an unchanged file is left alone, so that a
 * restart does not undo `kubectl scale`. Gives the workloads worth waiting for.
 */
async function applyManifests(client: Client, manifests: readonly Manifest[], dataDir: string): Promise<Workload[]> {
  const ledgerFile = join(dataDir, "applied.json");
  const ledger = readJsonFile<Record<string, string>>(ledgerFile) ?? {};
  const workloads: Workload[] = [];
  const resolved = manifests.map((manifest) => ({ manifest, ...locate(manifest) }));
  for (const { manifest, resource, namespace, singular } of resolved.sort((a, b) => early(a.manifest.object) - early(b.manifest.object))) {
    const { object, origin } = manifest;
    const shown = `${singular}/${object.metadata.name}`;
    const key = `${resolve(manifest.file)}#${object.apiVersion}/${object.kind}/${namespace ?? ""}/${object.metadata.name}`;
    const digest = createHash("sha256").update(goJson(object)).digest("hex");
    let outcome: string;
    if (ledger[key] === digest) outcome = "as last time";
    else {
      try {
        outcome = await apply(client, resource, namespace, object);
      } catch (error) {
        if (error instanceof StatusError) throw new WherryError("MANIFEST_INVALID", `${origin}: ${error.message}`, { cause: error });
        throw error;
      }
      ledger[key] = digest;
      writeFileAtomic(ledgerFile, JSON.stringify(ledger, null, 1));
    }
    process.stdout.write(`${shown} ${outcome}\n`);
    if (["Deployment", "StatefulSet", "DaemonSet"].includes(object.kind)) workloads.push({ resource, namespace: namespace!, name: object.metadata.name, kind: object.kind });
  }
  return workloads;
}

function locate(manifest: Manifest): { resource: GroupVersionResource; namespace: string | undefined; singular: string } {
  const found = resourceOf(manifest.object.apiVersion, manifest.object.kind);
  if (!found) throw new WherryError("MANIFEST_INVALID", `${manifest.origin}: there is no kind "${manifest.object.kind}" in version "${manifest.object.apiVersion}"; ensure CRDs are installed first`);
  return { ...found, namespace: found.namespaced ? (manifest.object.metadata.namespace ?? "default") : undefined };
}
