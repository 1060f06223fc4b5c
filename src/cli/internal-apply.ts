import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Artifact } from "../api/artifacts.ts";
import { resources } from "../api/resources.ts";
import type { Pod } from "../api/types.ts";
import { systemClock } from "../base/clock.ts";
import { WherryError } from "../base/errors.ts";
import { closedFolder } from "../base/files.ts";
import { collectWhenQuiet } from "../base/quiet-collector.ts";
import { connect } from "./connect.ts";
import { printDoors } from "./doors.ts";
import { debuggersOf } from "./debuggers.ts";
import { mergeKubeconfig } from "./kubeconfig.ts";
import { followUntilReady } from "./progress.ts";
import { applyManifests, linkArtifacts } from "./sources/apply-project.ts";
import { readProject } from "./sources/project.ts";
import { printAddresses, table } from "./status.ts";

/**
 * The child of `wherry up`, which ends when all is applied unless it is to go on watching: reads manifests, skaffold.yaml and Dockerfiles (so that the parent of
 * the pods parses no file of a user), applies them, shows progress until everything is Ready, prints URLs.
 */
export interface ApplyRequest {
  dataDir: string;
  paths: string[];
  links: string[];
  /** Each pod is another user of this machine and reaches its code by the path: plain mode as root. */
  podUsers?: boolean;
  /** Go on watching the folders until the parent is gone. */
  watch?: boolean;
  /** Delete what a manifest that was removed had made. */
  prune?: boolean;
  /** When the stack was started, in ms since 1970. */
  startedMs?: number;
  /** A test's stack: nobody's kubeconfig is touched, and who asked waits for Ready himself. */
  isolated?: boolean;
}

export async function run(argv: string[]): Promise<number> {
  const request = JSON.parse(argv[0]!) as ApplyRequest;
  const project = readProject(request.paths, request.links);
  if (request.podUsers) refuseClosed(project.artifacts);
  const client = await connect(request.dataDir, { waitMs: 30_000 });
  if (!request.isolated) offerContext(join(request.dataDir, "kubeconfig"));
  const began = performance.now();

  // What a test applies is applied, also when it was before.
  if (request.isolated) rmSync(join(request.dataDir, "applied.json"), { force: true });
  if (project.artifacts.length > 0 || request.links.length > 0) await linkArtifacts(client, project.artifacts);
  const workloads = await applyManifests(client, project.manifests, request.dataDir);
  if (request.isolated) return 0;
  // Before anything is Ready: what keeps it may be code that is being mended.
  const watch = request.watch && (request.paths.length > 0 || request.links.length > 0) ? await import("./watch/watch.ts") : undefined;
  const watching = watch?.watchProject({ client, request, project, say: (line) => process.stdout.write(`${line}\n`) });
  // Whatever is under way then has nobody left to show it to.
  void watching?.ended.then(() => process.exit(0));
  const ready = await followUntilReady(client, workloads, process.stdout, { sinceMs: request.startedMs ?? 0 });
  if (workloads.length > 0 && ready) process.stdout.write(`Ready in ${((performance.now() - began) / 1000).toFixed(1)} s\n\n`);
  await printAddresses(client, process.stdout);
  await printDoors(client, request.dataDir, process.stdout);
  const debuggers = debuggersOf((await client.list<Pod>(resources.pods)).items);
  if (debuggers.length > 0) process.stdout.write(`\n${table(["POD", "DEBUGGER"], debuggers)}`);
  if (!watching) return 0;
  watching.tell();
  process.send?.("applied");
  // From here on it waits, for hours.
  collectWhenQuiet(systemClock);
  await watching.ended;
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
