import { createHash } from "node:crypto";
import { join, relative, resolve } from "node:path";
import { type Artifact, artifactKey, artifactsConfigMap } from "../../api/artifacts.ts";
import type { Client } from "../../api/client.ts";
import type { GroupVersionResource, KubeObject } from "../../api/meta.ts";
import { resources, systemNamespace } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import { WherryError } from "../../base/errors.ts";
import { readJsonFile, writeFileAtomic } from "../../base/files.ts";
import type { Workload } from "../progress.ts";
import { apply, goJson } from "./apply.ts";
import { ServedKinds, untilEstablished } from "./kinds.ts";
import type { Manifest } from "./manifests.ts";

/** Tells the node which image is which folder. The whole list is replaced: what is no longer given is forgotten. */
export async function linkArtifacts(client: Client, artifacts: readonly Artifact[]): Promise<void> {
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
 * restart does not undo `kubectl scale`. Gives the workloads worth waiting for. Throws MANIFEST_INVALID at the first that the
 * API refuses, or tells `refused` and goes on with the next.
 */
export async function applyManifests(client: Client, manifests: readonly Manifest[], dataDir: string, options: { changedOnly?: boolean; before?(): void; refused?(error: WherryError): void } = {}): Promise<Workload[]> {
  const ledger = new Ledger(dataDir);
  const workloads: Workload[] = [];
  let applied = 0;
  const kinds = await kindsOf(client, manifests);
  const resolved = manifests.map((manifest) => locate(manifest, kinds)).sort((a, b) => early(a.manifest.object) - early(b.manifest.object));
  for (const { manifest, resource, namespace, shown, key } of resolved) {
    const { object } = manifest;
    const digest = digestOf(manifest);
    let outcome: string;
    if (ledger.entries[key] === digest) {
      if (options.changedOnly) continue;
      outcome = "as last time";
    } else {
      if (applied++ === 0) options.before?.();
      try {
        outcome = await applyOne(client, resource, namespace, manifest, false);
      } catch (error) {
        if (!options.refused || !(error instanceof WherryError)) throw error;
        options.refused(error);
        continue;
      }
      if (object.kind === "CustomResourceDefinition" && outcome !== "unchanged") await untilEstablished(client, object.metadata.name, manifest.origin);
      ledger.entries[key] = digest;
      ledger.write();
    }
    process.stdout.write(`${shown} ${outcome}\n`);
    if (["Deployment", "StatefulSet", "DaemonSet"].includes(object.kind)) workloads.push({ resource, namespace: namespace!, name: object.metadata.name, kind: object.kind });
  }
  return workloads;
}

async function applyOne(client: Client, resource: GroupVersionResource, namespace: string | undefined, { object, origin }: Manifest, dryRun: boolean): Promise<string> {
  try {
    return await apply(client, resource, namespace, object, dryRun);
  } catch (error) {
    if (error instanceof StatusError) throw new WherryError("MANIFEST_INVALID", `${origin}: ${error.message}`, { cause: error });
    throw error;
  }
}

/**
 * Has the API judge what would be applied, and applies nothing: an error in one document must not leave half of a file.
 * What lives in a namespace, or is of a kind, that is only to be made cannot be judged yet. Gives the first error of each file that has one.
 */
export async function judgeManifests(client: Client, manifests: readonly Manifest[], dataDir: string): Promise<Map<string, WherryError>> {
  const ledger = new Ledger(dataDir);
  const made = new Set(manifests.filter(({ object }) => object.kind === "Namespace").map(({ object }) => object.metadata.name));
  const kinds = await kindsOf(client, manifests);
  const defined = new Set(manifests.filter(({ object }) => object.kind === "CustomResourceDefinition").map(({ object }) => (object as { spec?: { group?: string } }).spec?.group));
  const broken = new Map<string, WherryError>();
  for (const manifest of manifests) {
    if (broken.has(manifest.file)) continue;
    try {
      const { resource, namespace, key } = locate(manifest, kinds);
      if (ledger.entries[key] === digestOf(manifest)) continue;
      await applyOne(client, resource, namespace, manifest, true);
    } catch (error) {
      if (!(error instanceof WherryError)) throw error;
      const { cause } = error;
      const namespace = manifest.object.metadata.namespace ?? "default";
      if (!(cause instanceof StatusError && cause.code === 404 && (made.has(namespace) || defined.has(manifest.object.apiVersion.split("/")[0])))) broken.set(manifest.file, error);
    }
  }
  return broken;
}

/** What `up` applied from which file, kept from one start to the next. */
class Ledger {
  readonly #file: string;
  readonly entries: Record<string, string>;
  constructor(dataDir: string) {
    this.#file = join(dataDir, "applied.json");
    this.entries = readJsonFile<Record<string, string>>(this.#file) ?? {};
  }
  write(): void {
    writeFileAtomic(this.#file, JSON.stringify(this.entries, null, 1));
  }
}

/** Makes `up` apply these again should they come back. */
export function forget(gone: readonly Located[], dataDir: string): void {
  const ledger = new Ledger(dataDir);
  for (const { key } of gone) delete ledger.entries[key];
  ledger.write();
}

const digestOf = ({ object }: Manifest) => createHash("sha256").update(goJson(object)).digest("hex");

export interface Located {
  manifest: Manifest;
  resource: GroupVersionResource;
  namespace: string | undefined;
  /** "deployment.apps/web". */
  shown: string;
  /** Its line in the ledger. */
  key: string;
}

export const kindsOf = (client: Client, manifests: readonly Manifest[]): Promise<ServedKinds> => ServedKinds.of(client, manifests.map(({ object }) => object));

/** The object, whichever file it stands in. */
export const identityOf = ({ object: { apiVersion, kind, metadata } }: Manifest): string => `${apiVersion}/${kind}/${metadata.namespace ?? "default"}/${metadata.name}`;

export function locate(manifest: Manifest, kinds: ServedKinds): Located {
  const { object, origin, file } = manifest;
  const found = kinds.find(object.apiVersion, object.kind);
  if (!found) throw new WherryError("MANIFEST_INVALID", `${origin}: there is no kind "${object.kind}" in version "${object.apiVersion}"; ensure CRDs are installed first`);
  const namespace = found.namespaced ? (object.metadata.namespace ?? "default") : undefined;
  return { manifest, resource: found.resource, namespace, shown: `${found.singular}/${object.metadata.name}`, key: `${resolve(file)}#${identityOf(manifest)}` };
}
