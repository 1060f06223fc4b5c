import { closeSync, readdirSync, readFileSync } from "node:fs";

const closeOnExec = 0o2000000;

/**
 * Descriptors from 3 on that every child would inherit: those that whoever started Wherry left open. Node marks its own
 * close-on-exec, and at start also inherited ones up to the first gap, which is why some still leak. A folder among them
 * lets a pod walk the machine's files by /proc/self/fd/N/.., so they must be closed before the first pod starts.
 */
export function leakedFds(): number[] {
  const channel = Number(process.env["NODE_CHANNEL_FD"] ?? -1);
  return readdirSync("/proc/self/fd").map(Number).filter((fd) => {
    if (fd < 3 || fd === channel) return false;
    try {
      const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))?.[1];
      return flags !== undefined && (Number.parseInt(flags, 8) & closeOnExec) === 0;
    } catch {
      // The descriptor of the listing itself.
      return false;
    }
  });
}

/** Closes them, and returns which. Throws if one cannot be closed: then no pod may start. */
export function closeLeakedFds(): number[] {
  const leaked = process.platform === "linux" ? leakedFds() : [];
  for (const fd of leaked) closeSync(fd);
  const left = process.platform === "linux" ? leakedFds() : [];
  if (left.length > 0) throw new Error(`file descriptors ${left.join(", ")} were inherited and cannot be closed; pods would inherit them too`);
  return leaked;
}
