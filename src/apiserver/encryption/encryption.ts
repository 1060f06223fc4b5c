import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { encryptedPrefix, isEncrypted, type Transform, type Transformed, type TransformingJournal } from "../../store/transform.ts";
import { followFile } from "../authn/follow-file.ts";
import { parseResource, readEncryptionConfig } from "./config.ts";
import { identity, type Provider, providersOf } from "./providers.ts";

/**
 * What is stored how: the first entry counts that names a resource, its first provider writes, all of them read. Source: k8s.io/apiserver/pkg/server/options/encryptionconfig, k8s.io/apiserver/pkg/storage/value/transformer.go.
 */
export class Encryption implements Transform {
  readonly #rules: { resource: string; group: string; providers: readonly Provider[] }[];
  /** By `/group/resource/` of the key. */
  readonly #known = new Map<string, readonly Provider[]>();

  /** Throws WherryError ACCESS_CONFIG_INVALID. */
  constructor(file: string) {
    const rules = new Map<string, readonly Provider[]>();
    for (const { resources, providers } of readEncryptionConfig(file).resources) {
      const made = providers.flatMap(providersOf);
      for (const text of resources) rules.set(text, [...(rules.get(text) ?? []), ...made]);
    }
    this.#rules = [...rules].map(([text, providers]) => ({ ...parseResource(text), providers }));
  }

  toDisk(key: string, bytes: Buffer): Transformed {
    const [writer] = this.#providersOf(key);
    return { bytes: writer!.encrypt(key, bytes), by: writer!.id };
  }

  fromDisk(key: string, bytes: Buffer): Transformed {
    const providers = this.#providersOf(key);
    if (!isEncrypted(bytes)) {
      if (!providers.some(({ prefix }) => prefix === "")) throw new Error(`no matching prefix found: it is stored as it is, which only the provider "identity" reads`);
      return { bytes, by: "" };
    }
    let failure: Error | undefined;
    for (const { prefix, id, decrypt } of providers) {
      if (prefix === "" || bytes.compare(Buffer.from(prefix), 0, Buffer.byteLength(prefix), 0, Math.min(bytes.length, Buffer.byteLength(prefix))) !== 0) continue;
      try {
        const opened = decrypt(key, bytes.subarray(Buffer.byteLength(prefix)));
        // A provider that proves nothing may have made nonsense of it.
        if (opened[0] !== 0x7b) throw new Error("it was decrypted to something that is no object");
        return { bytes: opened, by: id };
      } catch (error) {
        failure ??= new Error(`${(error as Error).message} (stored with ${prefix})`);
      }
    }
    throw failure ?? new Error(`no matching prefix found: it is stored with ${shownPrefix(bytes)}`);
  }

  writerOf(key: string): string {
    return this.#providersOf(key)[0]!.id;
  }

  canRead(by: string, key: string): boolean {
    return this.#providersOf(key).some(({ id }) => id === by);
  }

  #providersOf(key: string): readonly Provider[] {
    const place = key.slice(0, key.indexOf("/", key.indexOf("/", 1) + 1));
    let providers = this.#known.get(place);
    if (!providers) {
      const [, stored = "", resource = ""] = place.split("/");
      const group = stored === "core" ? "" : stored;
      const rule = this.#rules.find((candidate) => (candidate.group === "*" || candidate.group === group) && (candidate.resource === "*" || candidate.resource === resource));
      this.#known.set(place, (providers = rule?.providers ?? [identity]));
    }
    return providers;
  }
}

/** Of a value that nobody can read, what it names. */
function shownPrefix(bytes: Buffer): string {
  const [type = "", version = "", name = ""] = bytes.toString("latin1", encryptedPrefix.length, 300).split(":");
  return `${encryptedPrefix}${type}:${version}:${name}:`;
}

/** "k8s:enc:aesgcm:v1:key1:0123…" → "aesgcm key1". */
const shown = (by: string): string => (by === "" ? "no encryption" : `${by.split(":")[2]} ${by.split(":").slice(4, -1).join(":")}`);

/** Says what still waits to be written again. */
export function reportStale(journal: TransformingJournal, log: Log): void {
  for (const [by, count] of journal.staleBy()) log.warn("objects are stored otherwise than the first provider would store them: write them again (kubectl get … -A -o json | kubectl replace -f -)", { objects: count, storedWith: shown(by) });
}

/**
 * Looks at the file every minute and goes on with what it says now. What cannot be followed, or could not read what is
 * stored, changes nothing and is logged.
 */
export function followEncryptionFile(options: { file: string; journal: TransformingJournal; clock: Clock; log: Log }): { close(): void } {
  const { file, journal, clock, log } = options;
  return followFile({
    file,
    clock,
    onChange() {
      try {
        const next = new Encryption(file);
        const lost = journal.use(next, (by, key) => next.canRead(by, key));
        if (lost) throw new Error(`${JSON.stringify(lost.key)} and perhaps more is stored with ${shown(lost.by)}, which it does not hold`);
        log.info("the encryption configuration was loaded again", { file });
        reportStale(journal, log);
      } catch (error) {
        log.error("the encryption configuration changed and cannot be followed; the one before stays", { file, error });
      }
    },
  });
}
