import { createServer, type Server } from "node:net";
import { WherryError } from "../../base/errors.ts";

/** The two loopback networks of one stack in plain mode: "127.96" for Services, "127.97" for pods. */
export interface PlainNetworks {
  readonly services: string;
  readonly pods: string;
  release(): void;
}

/**
 * Stacks in plain mode share the machine's loopback, and must not answer each other's names: each takes the first pair of
 * networks that nobody has. The claim is a socket in Linux's abstract namespace, which is as wide as the loopback is, and
 * which the kernel takes back however its owner ends.
 */
export async function claimPlainNetworks(first = 96, last = 126): Promise<PlainNetworks> {
  for (let n = first; n <= last; n += 2) {
    const claim = await listenAbstract(`\0wherry-plain-network-${n}`);
    if (claim) return { services: `127.${n}`, pods: `127.${n + 1}`, release: () => void claim.close() };
  }
  throw new WherryError("PORT_TAKEN", `all loopback networks for plain mode, 127.${first} to 127.${last + 1}, belong to other stacks on this machine`);
}

function listenAbstract(path: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", (error: NodeJS.ErrnoException) => (error.code === "EADDRINUSE" ? resolve(undefined) : reject(error)));
    server.listen(path, () => resolve(server.unref()));
  });
}
