import type { Client, WatchOptions } from "../../src/api/client.ts";
import { goneRevisionError, serviceUnavailableError } from "../../src/api/status.ts";
import type { GroupVersionResource } from "../../src/api/meta.ts";
import type { Random } from "../../src/base/random.ts";

/**
 * A client as a bad day has it: writes that never arrive, writes that arrive and whose answer is lost, watches that
 * break or are too old. `mood` between 0 (never) and 1 is asked each time, so that the day can get better.
 */
export function unreliableClient(client: Client, random: Random, mood: () => number): Client {
  const unlucky = (share: number): boolean => random.next() < share * mood();
  const lost = (): Error => Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
  const write =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (unlucky(0.1)) throw unlucky(0.5) ? serviceUnavailableError("the server is currently unable to handle the request") : lost();
      const result = await call(...args);
      if (unlucky(0.1)) throw lost();
      return result;
    };
  const read =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (unlucky(0.1)) throw lost();
      return call(...args);
    };
  return {
    get: read(client.get.bind(client)) as Client["get"],
    list: read(client.list.bind(client)) as Client["list"],
    create: write(client.create.bind(client)) as Client["create"],
    update: write(client.update.bind(client)) as Client["update"],
    patch: write(client.patch.bind(client)) as Client["patch"],
    delete: write(client.delete.bind(client)) as Client["delete"],
    async *watch<T>(resource: GroupVersionResource, options?: WatchOptions) {
      if (unlucky(0.2)) throw lost();
      for await (const event of client.watch<T>(resource, options)) {
        if (unlucky(0.02)) throw lost();
        if (unlucky(0.02)) throw goneRevisionError(1, 2);
        yield event;
      }
    },
  };
}
