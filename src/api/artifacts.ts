/**
 * What the node must know of an image that is a folder on this machine: read off skaffold.yaml and the
 * Dockerfile by the CLI, kept in ConfigMap `wherry-artifacts` of `wherry-system` (one key an image, the value
 * this shape as JSON), read by the agent when a pod names the image.
 */
export interface Artifact {
  /** "ecommerce/user-service", without tag. */
  image: string;
  /** "v1.0.0"; empty when skaffold.yaml names none: any tag matches. */
  tag: string;
  /** Absolute path of the build context: the live folder. */
  context: string;
  dockerfile: string;
  entrypoint: string[];
  cmd: string[];
  env: Record<string, string>;
  workingDir: string;
  /** As written: "1001", "appuser", "node:node"; empty for root. */
  user: string;
  /** From `adduser -u`/`useradd -u` in RUN lines: name → uid. */
  users: Record<string, number>;
  exposedPorts: number[];
  stopSignal: string;
  /** Paths of the image that are folders or files of `context`, through all build stages; longest first. */
  mounts: { imagePath: string; contextPath: string }[];
  /** The last stage's base: "node:22-alpine". Decides which runtime the machine must have. */
  base: string;
  /** RUN lines that were not executed; shown in the pod's status. */
  skippedRun: string[];
  /** VOLUME: paths of the image that programs write to. The live folder itself is never written. */
  volumes: string[];
}

export const artifactsConfigMap = "wherry-artifacts";
/** A ConfigMap key allows [-._a-zA-Z0-9]: "ecommerce/user-service:v1" → "ecommerce.user-service_v1" plus the full name in the value. */
export function artifactKey(image: string, tag: string): string {
  return `${image}${tag === "" ? "" : `_${tag}`}`.replace(/[^-._a-zA-Z0-9]/g, ".");
}
