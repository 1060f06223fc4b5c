import { Informers } from "../src/api/informer.ts";
import type { Client } from "../src/api/client.ts";
import type { GroupVersionResource, KubeObject } from "../src/api/meta.ts";
import { systemClock } from "../src/base/clock.ts";
import { silentLog } from "../src/base/log.ts";
import { systemRandom } from "../src/base/random.ts";
import { type Controller, Runner } from "../src/controllers/runner.ts";

/** A few controllers beside an API server, and a way to wait for what they do. */
export interface RunningControllers extends AsyncDisposable {
  /** Resolves with the object once it is so; rejects after `timeoutMs`. */
  until(resource: GroupVersionResource, name: string, so: (object: KubeObject) => boolean, timeoutMs?: number): Promise<KubeObject>;
}

export async function runControllers(client: Client, controllers: readonly Controller[]): Promise<RunningControllers> {
  const options = { client, clock: systemClock, random: systemRandom, log: silentLog };
  const informers = new Informers(options);
  const runners = controllers.map((definition) => new Runner(definition, { ...options, informers }));
  await informers.start();
  for (const runner of runners) runner.start();
  return {
    until: (resource, name, so, timeoutMs = 10_000) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = informers.for<KubeObject>(resource).get(name);
          if (!found || !so(found)) return;
          clearTimeout(timer);
          stop();
          resolve(found);
        };
        const stop = informers.for<KubeObject>(resource).onChange(look);
        const timer = setTimeout(() => {
          stop();
          reject(new Error(`${resource.resource} ${name} is not as expected: ${JSON.stringify(informers.for<KubeObject>(resource).get(name))}`));
        }, timeoutMs);
        look();
      }),
    async [Symbol.asyncDispose]() {
      await Promise.all(runners.map((runner) => runner.stop()));
      await informers.stop();
    },
  };
}
