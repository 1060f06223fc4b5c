import { chmodSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import type { Log } from "../base/log.ts";
import { StorageFullError, type Store } from "./store.ts";

/** What is answered on `store.sock`, a line of JSON, to the line `{ "copyTo": FILE }`. */
export type CopyAnswer = { revision: number } | { error: string; full: boolean };

/**
 * Lets `wherry backup`, which is another process, have a copy of the store: SQLite's file is locked by the thread that
 * writes it. A socket of its own, for the owner of the data directory alone: no client of the API can name files.
 */
export async function serveCopies(path: string, store: Store, log: Log): Promise<{ close(): void }> {
  rmSync(path, { force: true });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    createInterface({ input: socket }).once("line", (line) => void answer(line).then((said) => socket.end(`${JSON.stringify(said)}\n`)));
  });
  const answer = async (line: string): Promise<CopyAnswer> => {
    try {
      const { copyTo } = JSON.parse(line) as { copyTo: string };
      const revision = await store.copyTo(copyTo);
      log.info("the store was copied", { revision });
      return { revision };
    } catch (error) {
      return { error: (error as Error).message, full: error instanceof StorageFullError };
    }
  };
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600); // plain mode lets pods pass through the folder
  server.unref();
  return {
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
