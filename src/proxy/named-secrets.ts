import { Informer, metadataOf } from "../api/informer.ts";
import type { KubeObject } from "../api/meta.ts";
import { resources } from "../api/resources.ts";
import type { Secret } from "../api/types.ts";
import type { CompilerOptions } from "./compiling.ts";

interface Named {
  informer: Informer<Secret>;
  /** So many objects name it. */
  users: number;
}

/**
 * Secrets whole, of which each is watched by its name alone, as long as an object names it: nobody else's passwords are read, nor kept.
 * The keys are "NAMESPACE/NAME".
 */
export class NamedSecrets {
  readonly #options: Pick<CompilerOptions, "client" | "clock" | "log" | "random">;
  readonly #changed: (key: string, secret: Secret | undefined, old: Secret | undefined) => void;
  readonly #named = new Map<string, Named>();
  #isStopped = false;

  /** `changed` hears of each when it is known, there or not, and when it is otherwise. */
  constructor(options: Pick<CompilerOptions, "client" | "clock" | "log" | "random">, changed: (key: string, secret: Secret | undefined, old: Secret | undefined) => void) {
    this.#options = options;
    this.#changed = changed;
  }

  /** An object names these now, and named those before. */
  move(now: readonly string[], before: readonly string[]): void {
    for (const key of now) this.#want(key);
    for (const key of before) this.#release(key);
  }
  /** Undefined: it is not there; "unknown": it is not read yet, or nobody said that it is named. */
  get(key: string): Secret | undefined | "unknown" {
    const named = this.#named.get(key);
    return named?.informer.hasSynced ? named.informer.get(key) : "unknown";
  }
  /** Of all that are named now it is known whether they are there. */
  async synced(): Promise<void> {
    await Promise.allSettled([...this.#named.values()].map(({ informer }) => informer.synced));
  }
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all([...this.#named.values()].map(({ informer }) => informer.stop()));
    this.#named.clear();
  }

  #want(key: string): void {
    const known = this.#named.get(key);
    if (known) return void known.users++;
    if (this.#isStopped) return;
    const [namespace, name] = key.split("/") as [string, string];
    const { client, clock, log, random } = this.#options;
    const informer = new Informer<Secret>({ client, resource: resources.secrets, clock, log, ...(random && { random }), namespace, fieldSelector: `metadata.name=${name}`, hold: withoutNotes });
    this.#named.set(key, { informer, users: 1 });
    informer.onChange((_, secret, old) => informer.hasSynced && this.#changed(key, secret, old));
    informer.synced.then(() => this.#changed(key, informer.get(key), undefined), () => {});
    informer.start();
  }
  #release(key: string): void {
    const named = this.#named.get(key);
    if (!named || --named.users > 0) return;
    this.#named.delete(key);
    void named.informer.stop();
  }
}

/** An annotation of kubectl's repeats all data. */
function withoutNotes(secret: Secret): Secret {
  const { type, data } = secret;
  return { ...metadataOf(secret), ...(type !== undefined && { type }), ...(data && { data }) };
}

/** Fields of Envoy Gateway's policies, and of APIs, that name Secrets without saying so. */
const fields = new Set(["credentialRefs", "users", "clientSecret", "clientIDRef", "hmacSecret", "secretRef", "caCertificateRefs", "refs"]);

/** "NAMESPACE/NAME" of the Secrets that an object's spec names, there or not. */
export function secretsNamed(object: KubeObject | undefined): string[] {
  const found = new Set<string>();
  const look = (value: unknown, field: string): void => {
    if (Array.isArray(value)) return value.forEach((item) => look(item, field));
    if (typeof value !== "object" || value === null) return;
    const { kind, name, namespace } = value as { kind?: unknown; name?: unknown; namespace?: unknown };
    const isNamed = kind === "Secret" || (fields.has(field) && kind === undefined);
    if (isNamed && typeof name === "string" && name !== "") found.add(`${typeof namespace === "string" ? namespace : object!.metadata.namespace}/${name}`);
    for (const [inner, of] of Object.entries(value)) look(of, inner);
  };
  look(object?.["spec"], "");
  return [...found];
}
