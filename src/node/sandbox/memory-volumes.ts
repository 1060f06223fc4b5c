import { spawn } from "node:child_process";
import { openSync } from "node:fs";
import { quote } from "./command.ts";
import type { ContainerRuntime } from "./container.ts";
import type { PodSandboxSpec } from "./sandbox.ts";

/**
 * Makes a pod's volumes in memory, once for all of its containers: in a namespace of mounts from which each of them is
 * started, so that what one writes the others see, and it outlives their restarts. Gives an open descriptor of it, which
 * alone keeps it; the memory goes with the descriptor and the last container.
 */
export async function mountMemory({ tools, network, env }: ContainerRuntime, { hostUid, memoryVolumes = [] }: PodSandboxSpec): Promise<number> {
  const mounts = memoryVolumes.map(({ path, sizeBytes, group }) => {
    const options = ["nosuid", "nodev", `mode=${group === undefined ? "1777" : "2777"}`, ...(tools.isRoot ? [`uid=${hostUid}`, `gid=${group ?? hostUid}`] : []), ...(sizeBytes === undefined ? [] : [`size=${sizeBytes}`])];
    return `${tools.mount} -n -i -t tmpfs -o ${options.join(",")} tmpfs ${quote(path)} || exit 1`;
  });
  const argv = [tools.setpriv, "--pdeathsig", "KILL", ...network.enterAsAdmin, tools.unshare, "-m", tools.sh, "-c", `${mounts.join("\n")}\necho mounted; read -r end`];
  const child = spawn(argv[0]!, argv.slice(1), { env, stdio: ["pipe", "pipe", "pipe"], detached: true, cwd: "/" });
  child.stdin.on("error", () => {});
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => void (errors += chunk.toString().slice(0, 2000)));
  try {
    return await new Promise<number>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", () => reject(new Error(`volumes in memory could not be mounted: ${errors.trim()}`)));
      child.stdout.once("data", () => {
        try {
          resolve(openSync(`/proc/${child.pid}/ns/mnt`, "r"));
        } catch (error) {
          reject(error as Error);
        }
      });
    });
  } finally {
    child.stdin.end();
  }
}
