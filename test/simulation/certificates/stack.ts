import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { loadAll } from "js-yaml";
import { certManager } from "../../../src/api/cert-manager/types.ts";
import type { Client } from "../../../src/api/client.ts";
import { installDefinitions, shippedDefinitions } from "../../../src/api/definitions/definitions.ts";
import { strategies } from "../../../src/api/kinds/index.ts";
import type { GroupVersionResource, KubeObject } from "../../../src/api/meta.ts";
import { createBuiltinRegistry } from "../../../src/api/registry.ts";
import { resources } from "../../../src/api/resources.ts";
import { StatusError } from "../../../src/api/status.ts";
import { localAuthority } from "../../../src/api/x509/local-authority.ts";
import { createApi } from "../../../src/apiserver/api.ts";
import { systemIdentity } from "../../../src/apiserver/rest/context.ts";
import { FakeClock } from "../../../src/base/clock.ts";
import { silentLog } from "../../../src/base/log.ts";
import { seededRandom } from "../../../src/base/random.ts";
import { type Controllers, startControllers } from "../../../src/controllers/index.ts";
import type { ChallengeSolver } from "../../../src/controllers/certificates/acme/order.ts";
import { createMemoryStore } from "../../../src/store/memory-store.ts";

/** API server and all controllers in this process, with time that moves when told to. */
export class Stack implements AsyncDisposable {
  readonly clock = new FakeClock(Date.UTC(2026, 5, 1));
  readonly folder = mkdtempSync(join(tmpdir(), "wherry-certificates-"));
  readonly #api = createApi({ store: createMemoryStore({ log: silentLog }), registry: createBuiltinRegistry(strategies), clock: this.clock, random: seededRandom(1), log: silentLog });
  readonly client: Client = this.#api.client(systemIdentity("test"));
  #controllers: Controllers | undefined;
  #solver: ChallengeSolver | undefined;

  /** `gateways`: Gateway API is there, too. `solver`: ACME servers are spoken to. */
  static async start({ gateways = false, solver }: { gateways?: boolean; solver?: ChallengeSolver } = {}): Promise<Stack> {
    const stack = new Stack();
    stack.#solver = solver;
    await stack.startControllers();
    if (gateways) await stack.during(installDefinitions(stack.client));
    else for (const definition of shippedDefinitions("cert-manager")) await stack.during(stack.client.create(resources.customResourceDefinitions, undefined, definition));
    await stack.apply("{apiVersion: v1, kind: Namespace, metadata: {name: cert-manager}}");
    return stack;
  }

  async startControllers(): Promise<void> {
    this.#controllers = startControllers({ client: this.#api.client(systemIdentity("controllers")), registry: this.#api.registry, clock: this.clock, random: seededRandom(2), log: silentLog, volumesDir: "/nonexistent/volumes", removeVolume: async () => {}, rootCa: "CERTIFICATE", localAuthority: () => localAuthority(this.folder, this.clock.now()), ...(this.#solver && { challengeSolver: this.#solver }), withoutControllers: ["scheduler"] });
    await this.during(this.#controllers.start());
  }
  async stopControllers(): Promise<void> {
    await this.#controllers?.stop(AbortSignal.timeout(5_000));
    this.#controllers = undefined;
  }

  /** Time passes in small steps until it is done: lists that fail are tried again later. */
  async during<T>(promise: Promise<T>): Promise<T> {
    const pending = Symbol("pending");
    const settled = promise.then(
      () => true,
      () => true,
    );
    while ((await Promise.race([settled, Promise.resolve(pending)])) === pending) await this.#step();
    return promise;
  }
  async #step(): Promise<void> {
    // Keys are made on other threads, which take real time.
    for (let turn = 0; turn < 20; turn++) await setImmediate();
    this.clock.advance(25);
  }

  /** Asks again and again until it gives something; what is asked for says what for. */
  async until<T>(what: string, look: () => Promise<T>): Promise<Exclude<T, undefined | false>> {
    const endMs = performance.now() + 120_000;
    for (;;) {
      const found = await this.during(look());
      if (found) return found as Exclude<T, undefined | false>;
      if (performance.now() > endMs) throw new Error(`not within two minutes: ${what}\n${JSON.stringify(await this.everything(), undefined, 1)}`);
      await this.#step();
    }
  }

  async apply(yaml: string, namespace = "default"): Promise<void> {
    for (const object of (loadAll(yaml) as (KubeObject | null)[]).filter((document) => document !== null)) {
      const kind = this.#api.registry.byKind(...this.#groupOf(object), object.kind)!;
      if (!kind) throw new Error(`${object.apiVersion} ${object.kind} is not served`);
      await this.during(this.client.patch(kind, kind.scope === "Namespaced" ? (object.metadata.namespace ?? namespace) : undefined, object.metadata.name, object, { type: "apply", force: true, fieldManager: "test" }));
    }
  }
  #groupOf({ apiVersion }: KubeObject): [string, string] {
    return apiVersion.includes("/") ? (apiVersion.split("/") as [string, string]) : ["", apiVersion];
  }

  get = <T = KubeObject>(resource: GroupVersionResource, name: string, namespace: string | undefined = "default"): Promise<T | undefined> =>
    this.client.get<T>(resource, namespace, name).catch((error: unknown) => {
      if (error instanceof StatusError && error.code === 404) return undefined;
      throw error;
    });
  list = async <T = KubeObject>(resource: GroupVersionResource): Promise<T[]> => (await this.client.list<T>(resource)).items;

  /** The certificate of a Secret, once the Certificate is ready with this revision. */
  async issued(name: string, revision = 1, namespace = "default"): Promise<{ certificate: KubeObject; secret: KubeObject; leaf: X509Certificate; field(name: string): string }> {
    const certificate = await this.until(`${name} is ready with revision ${revision}`, async () => {
      const found = await this.get(certManager.certificates, name, namespace);
      return found?.["status"]?.revision === revision && this.conditions(found)["Ready"]?.startsWith("True") && found["status"].nextPrivateKeySecretName === undefined && found;
    });
    const secret = (await this.get(resources.secrets, certificate["spec"].secretName, namespace))!;
    const field = (key: string) => Buffer.from(secret["data"][key] ?? "", "base64").toString("utf8");
    return { certificate, secret, leaf: new X509Certificate(field("tls.crt")), field };
  }

  /** "STATUS REASON: MESSAGE" by type. */
  conditions(object: KubeObject | undefined): Record<string, string> {
    const list: { type: string; status: string; reason: string; message: string }[] = object?.["status"]?.conditions ?? [];
    return Object.fromEntries(list.map(({ type, status, reason, message }) => [type, `${status} ${reason}: ${message}`]));
  }
  /** "TYPE REASON: MESSAGE" of those about an object of this name. */
  events = async (name: string): Promise<string[]> => (await this.list(resources.events)).filter((event) => event["involvedObject"].name === name).map((event) => `${event["type"]} ${event["reason"]}: ${event["message"]}`);
  event = (name: string, text: string): Promise<string> => this.until(`an Event of ${name} with ${text}`, async () => (await this.events(name)).find((event) => event.includes(text)));

  async everything(): Promise<object> {
    const kinds = [...Object.values(certManager), resources.events];
    const all = await Promise.all(kinds.map((kind) => this.list(kind)));
    return all.flat().map(({ kind, metadata, status, reason, message }) => ({ kind, name: metadata.name, status, reason, message }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopControllers();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
