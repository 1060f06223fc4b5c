import type { Client } from "../api/client.ts";
import { createHttpClient } from "../api/http-client.ts";
import { resources } from "../api/resources.ts";
import { WherryError } from "../base/errors.ts";
import { socketPath } from "../base/socket-path.ts";

/** A client of the stack that owns this data directory, over its unix socket. Throws NOT_RUNNING. */
export async function connect(dataDir: string, options: { waitMs?: number } = {}): Promise<Client> {
  const client = createHttpClient({ socketPath: socketPath(dataDir, "api.sock") });
  const deadline = performance.now() + (options.waitMs ?? 0);
  for (;;) {
    try {
      await client.get(resources.namespaces, undefined, "wherry-system");
      return client;
    } catch (error) {
      if (performance.now() >= deadline) throw new WherryError("NOT_RUNNING", `no Wherry runs on ${dataDir}`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
