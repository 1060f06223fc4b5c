import { createServer, type Server } from "node:net";

/** A name that is ours alone until it is released. */
export interface Claim {
  release(): void;
}

/**
 * Claims a name on this machine; undefined when another process has it. It is a socket in Linux's abstract namespace, which is
 * as wide as the network namespace, and which the kernel takes back however its owner ends.
 */
export function claimName(name: string): Promise<Claim | undefined> {
  return new Promise((resolve, reject) => {
    const server: Server = createServer((socket) => socket.destroy());
    server.once("error", (error: NodeJS.ErrnoException) => (error.code === "EADDRINUSE" ? resolve(undefined) : reject(error)));
    server.listen(`\0${name}`, () => {
      server.unref();
      resolve({ release: () => void server.close() });
    });
  });
}
