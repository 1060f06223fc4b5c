import { open } from "node:fs/promises";
import { constants } from "node:fs";
import type { Container } from "../../api/types.ts";
import { limits } from "../../base/limits.ts";

// What kubelet takes of a log when a failed container left no message of its own.
const logTail = { bytes: 2048, lines: 80 } as const;

/**
 * A container's last words: its termination-log file, or, if it failed and the policy says so, the end of its
 * log. `file` is written by the pod, so no link of its making is followed and nothing but a file is read.
 */
export async function terminationMessage(container: Container, exitCode: number, file: string, tailOfLog: (bytes: number) => Promise<string>): Promise<string> {
  const written = await readTail(file, limits.terminationMessageBytesMax);
  if (written !== "" || exitCode === 0 || container.terminationMessagePolicy !== "FallbackToLogsOnError") return written;
  const lines = (await tailOfLog(logTail.bytes)).split("\n");
  if (lines.at(-1) === "") lines.pop();
  const text = lines.slice(-logTail.lines).join("\n");
  return text === "" ? "" : `${text}\n`;
}

/**
 * Whether a Node program ended itself (SIGABRT) because its heap was full. Its heap follows the container's memory
 * limit, so without that the kernel would have ended it: to whoever watches it is the same.
 */
export async function ranOutOfHeap(container: Container, exitCode: number, tailOfLog: (bytes: number) => Promise<string>): Promise<boolean> {
  return exitCode === 134 && container.resources?.limits?.["memory"] !== undefined && (await tailOfLog(8192)).includes("JavaScript heap out of memory");
}

async function readTail(file: string, bytes: number): Promise<string> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => undefined);
  if (!handle) return "";
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) return "";
    const length = Math.min(stat.size, bytes);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, stat.size - length);
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await handle.close();
  }
}
