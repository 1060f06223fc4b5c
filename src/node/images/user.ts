import type { Container, Pod } from "../../api/types.ts";
import { ContainerError, formatPod } from "../context.ts";
import type { Image } from "./image.ts";

export interface ContainerUser {
  uid: number;
  gid: number;
  userName: string;
  homeDir: string;
}

// What an account gets that the image names without saying its number, as the first `adduser` of a system would.
const firstUid = 1001;
/** Accounts that every base image of their kind has. */
const wellKnownUsers: Record<string, number> = { root: 0, daemon: 1, nobody: 65534, node: 1000, postgres: 999, redis: 999, nginx: 101, nonroot: 65532, "www-data": 33 };

/** Who the container's program is, inside the pod. Throws where runAsNonRoot cannot be kept, in kubelet's words. */
export function containerUser(pod: Pod, container: Container, image: Pick<Image, "user" | "users">): ContainerUser {
  const podContext = pod.spec!.securityContext ?? {};
  const own = container.securityContext ?? {};
  const runAsUser = own.runAsUser ?? podContext.runAsUser;
  const runAsGroup = own.runAsGroup ?? podContext.runAsGroup;
  const runAsNonRoot = own.runAsNonRoot ?? podContext.runAsNonRoot ?? false;

  const [name = "", group = ""] = image.user.split(":");
  const numeric = /^\d+$/.test(name);
  const imageUid = name === "" ? 0 : numeric ? Number(name) : (image.users[name] ?? wellKnownUsers[name] ?? firstUid);
  const uid = runAsUser ?? imageUid;
  const gid = runAsGroup ?? (/^\d+$/.test(group) ? Number(group) : (image.users[group] ?? (runAsUser === undefined ? uid : 0)));

  if (runAsNonRoot) {
    const where = `(pod: ${JSON.stringify(formatPod(pod))}, container: ${container.name})`;
    if (runAsUser === 0) throw new ContainerError("CreateContainerConfigError", `container's runAsUser breaks non-root policy ${where}`);
    if (runAsUser === undefined && name !== "" && !numeric) throw new ContainerError("CreateContainerConfigError", `container has runAsNonRoot and image has non-numeric user (${name}), cannot verify user is non-root ${where}`);
    if (uid === 0) throw new ContainerError("CreateContainerConfigError", `container has runAsNonRoot and image will run as root ${where}`);
  }
  const userName = runAsUser === undefined && name !== "" && !numeric ? name : (Object.entries({ ...wellKnownUsers, ...image.users }).find(([, id]) => id === uid)?.[0] ?? `user${uid}`);
  return { uid, gid, userName, homeDir: uid === 0 ? "/root" : `/home/${userName}` };
}
