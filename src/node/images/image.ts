import type { ConfigMap } from "../../api/types.ts";
import type { Mount } from "../sandbox/sandbox.ts";

/** What an image says about a container, whatever the image is made of. */
export interface Image {
  /** As it shall appear in containerStatuses[].imageID. */
  id: string;
  entrypoint: readonly string[];
  cmd: readonly string[];
  env: Readonly<Record<string, string>>;
  workingDir: string;
  /** As a Dockerfile's USER says it: "", "1001", "app", "app:group". */
  user: string;
  /** Users the image knows: name → uid. */
  users: Readonly<Record<string, number>>;
  mounts: readonly Mount[];
  /** Folders that the image wants kept and writable (VOLUME); each is a folder of the pod where no volume lies. */
  volumes: readonly string[];
  stopSignal: NodeJS.Signals;
  /** What the user should know of how the image is run here; each becomes an Event. */
  notices: readonly { type: "Normal" | "Warning"; reason: string; message: string }[];
}

export interface ImageStore {
  /** Throws ContainerError with ErrImagePull, ErrImageNeverPull or InvalidImageName. */
  resolve(image: string): Promise<Image>;
  /** Takes the folders that the CLI linked, as they are now. */
  link?(configMap: ConfigMap | undefined): void;
}
