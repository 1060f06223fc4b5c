import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";

// sizeof(sockaddr_un.sun_path) is 108 on Linux and 104 on macOS, with a closing zero.
const socketPathBytesMax = 103;

/**
 * Where a unix socket of this data directory lives: inside it, or, when that path is too long for the kernel,
 * in a private folder (0700) below the system's temporary one, named after the data directory.
 */
export function socketPath(dataDir: string, name: string): string {
  const direct = join(dataDir, name);
  if (Buffer.byteLength(direct) <= socketPathBytesMax) return direct;
  const digest = createHash("sha256").update(dataDir).digest("hex").slice(0, 16);
  const folder = join(tmpdir(), `wherry-${userInfo().uid}-${digest}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return join(folder, name);
}
