import { Informer, metadataOf } from "../api/informer.ts";
import type { GroupVersionResource, KubeObject } from "../api/meta.ts";
import { resources } from "../api/resources.ts";
import type { Secret } from "../api/types.ts";
import type { CompilerOptions } from "./compiling.ts";
import { NamedSecrets } from "./named-secrets.ts";

/** Without `object`: deleted, `old` is its last state. Without `old`: new. */
export type Changed = (kind: string, key: string, object: KubeObject | undefined, old: KubeObject | undefined) => void;

/** The files of certificates, keys and authorities: by the type kubernetes.io/tls, and by the names that Istio has for them. */
const files = ["tls.crt", "tls.key", "ca.crt", "cert", "key", "cacert"];

/** What a compiler watches: started together, known together, stopped together. */
export class Watches {
  readonly #options: CompilerOptions;
  readonly #changed: Changed;
  readonly #informers: Informer<never>[] = [];
  #named: NamedSecrets | undefined;

  /** `changed` hears of what was watched so far and of what will be. */
  constructor(options: CompilerOptions, changed: Changed) {
    this.#options = options;
    this.#changed = changed;
  }

  of<T extends KubeObject>(kind: string, resource: GroupVersionResource, { indexes, fieldSelector, labelSelector, hold }: { indexes?: Record<string, (object: T) => string[]>; fieldSelector?: string; labelSelector?: string; hold?: (object: T) => T } = {}): Informer<T> {
    const { client, clock, log, random } = this.#options;
    const informer = new Informer<T>({ client, resource, clock, log, ...(random && { random }), ...(indexes && { indexes }), ...(fieldSelector && { fieldSelector }), ...(labelSelector && { labelSelector }), ...(hold && { hold }) });
    informer.onChange((key, object, old) => this.#changed(kind, key, object, old));
    this.#informers.push(informer as unknown as Informer<never>);
    return informer;
  }

  /**
   * Secrets, of which only the files are kept that TLS may need: which Secret is meant is said by objects that come later, but
   * nobody here has a use for passwords and tokens. Helm's releases, a megabyte each, are not even read.
   */
  secrets(): Informer<Secret> {
    return this.of<Secret>("Secret", resources.secrets, { fieldSelector: "type!=helm.sh/release.v1", hold: filesOf });
  }

  /** Those that objects name, whole. */
  namedSecrets(): NamedSecrets {
    return (this.#named ??= new NamedSecrets(this.#options, (key, secret, old) => this.#changed("Secret", key, secret, old)));
  }

  start(): void {
    for (const informer of this.#informers) informer.start();
  }
  /** Resolves when everything that is watched holds its first list. */
  async synced(): Promise<void> {
    await Promise.all(this.#informers.map((informer) => informer.synced));
    // Who names them is known by now.
    await this.#named?.synced();
  }
  async stop(): Promise<void> {
    await Promise.all([...this.#informers.map((informer) => informer.stop()), this.#named?.stop()]);
  }
}

/** An annotation of kubectl's repeats all data. */
function filesOf(secret: Secret): Secret {
  const { type, data = {} } = secret;
  return { ...metadataOf(secret), ...(type !== undefined && { type }), data: Object.fromEntries(files.flatMap((name) => (data[name] === undefined ? [] : [[name, data[name]]]))) };
}
