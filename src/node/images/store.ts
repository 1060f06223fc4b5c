import type { Artifact } from "../../api/artifacts.ts";
import type { ConfigMap } from "../../api/types.ts";
import { ContainerError } from "../context.ts";
import { artifactImage } from "./artifact-image.ts";
import type { Image, ImageStore } from "./image.ts";
import { postgresImage } from "./postgres.ts";
import { parseReference } from "./reference.ts";
import { wellKnownImage } from "./well-known.ts";

/**
 * Image name → program, in the order of docs/internals/images.md: the linked artifact with that exact name and
 * tag, the one with that name, a well-known image, else ErrImagePull with what to do.
 */
export class MachineImages implements ImageStore {
  readonly #dataDir: string;
  #artifacts: readonly Artifact[] = [];

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
  }

  /** Takes the artifacts that the CLI linked. Entries that do not parse are left out. */
  link(configMap: ConfigMap | undefined): void {
    this.#artifacts = Object.values(configMap?.data ?? {}).flatMap((text) => {
      try {
        return [JSON.parse(text) as Artifact];
      } catch {
        return [];
      }
    });
  }

  async resolve(image: string): Promise<Image> {
    const reference = parseReference(image);
    if (!reference) throw new ContainerError("InvalidImageName", `Failed to apply default image tag ${JSON.stringify(image)}: couldn't parse image name ${JSON.stringify(image)}: invalid reference format`);
    const named = this.#artifacts.filter((artifact) => artifact.image === reference.name || artifact.image === reference.familiar);
    const artifact = named.find(({ tag }) => tag === (reference.tag || "latest")) ?? named.find(({ tag }) => tag === "") ?? named.at(-1);
    if (artifact) return artifactImage(artifact, image);
    if (reference.familiar === "postgres") return await postgresImage(reference, this.#dataDir);
    const known = await wellKnownImage(reference);
    if (known) return known;
    throw new ContainerError(
      "ErrImagePull",
      `no program of this machine is known as ${JSON.stringify(image)}: name its folder in skaffold.yaml (build.artifacts: - image: ${reference.name}, context: FOLDER) and run "wherry up", or link it with "wherry up --link FOLDER"`,
    );
  }
}
