import { rm } from "node:fs/promises";
import { join } from "node:path";

/** The folders that volumes and snapshots of our own provisioner are. Names are those of objects: plain ones. */
export interface VolumeStorage {
  /** Where the folders of volumes lie: one per volume, named as it is. */
  readonly folder: string;
  /** A volume with all that is in it. */
  removeVolume(name: string): Promise<void>;
  /**
   * Makes a volume or a snapshot that holds what another one does, all of one instant: `claim`'s pods stand still for it.
   * What is there already is not made again. Gives the instant, in ms. Throws, and leaves nothing, when it cannot.
   */
  copy(from: VolumeData, to: VolumeData, claim?: { namespace: string; name: string }): Promise<number>;
  hasSnapshot(handle: string): Promise<boolean>;
  removeSnapshot(handle: string): Promise<void>;
}
export type VolumeData = { volume: string } | { snapshot: string };

/** Storage without anybody who could copy: volumes come and go, snapshots are refused. */
export function plainStorage(folder: string, remove?: (name: string) => Promise<void>): VolumeStorage {
  const refuse = async (): Promise<never> => {
    throw new Error("volumes cannot be copied here");
  };
  return { folder, removeVolume: remove ?? ((name) => rm(join(folder, name), { recursive: true, force: true })), copy: refuse, hasSnapshot: async () => false, removeSnapshot: refuse };
}
