import type { KubeObject } from "../meta.ts";

/** Gives objects in another version. Slow: somebody else's program does it. */
export type ConvertObjects = (objects: readonly KubeObject[], apiVersion: string) => Promise<KubeObject[]>;

/**
 * What a stored object is in another version, of a definition whose versions differ in more than their name.
 * Reading stays synchronous: what is not known yet is thrown as {@link ConversionPending}, and whoever answers waits
 * for it and reads again. An object that does not change is converted once.
 */
export class Conversions {
  readonly #convert: ConvertObjects;
  readonly #known = new WeakMap<KubeObject, Map<string, KubeObject>>();

  constructor(convert: ConvertObjects) {
    this.#convert = convert;
  }

  /** Throws ConversionPending. */
  get(object: KubeObject, apiVersion: string): KubeObject {
    const known = this.#known.get(object)?.get(apiVersion);
    if (!known) throw new ConversionPending(this, object, apiVersion);
    return known;
  }

  has(object: KubeObject, apiVersion: string): boolean {
    return object.apiVersion === apiVersion || (this.#known.get(object)?.has(apiVersion) ?? false);
  }

  set(object: KubeObject, converted: KubeObject): void {
    let versions = this.#known.get(object);
    if (!versions) this.#known.set(object, (versions = new Map()));
    versions.set(converted.apiVersion, converted);
  }

  /** Those that are not known yet, in one go. */
  async settle(objects: readonly KubeObject[], apiVersion: string): Promise<void> {
    const wanted = objects.filter((object) => !this.has(object, apiVersion));
    // One review speaks of objects of one version.
    for (const [, group] of Map.groupBy(wanted, (object) => object.apiVersion)) {
      const converted = await this.#convert(group, apiVersion);
      for (const [index, object] of group.entries()) this.set(object, converted[index]!);
    }
  }
}

export class ConversionPending extends Error {
  readonly conversions: Conversions;
  readonly object: KubeObject;
  readonly apiVersion: string;
  constructor(conversions: Conversions, object: KubeObject, apiVersion: string) {
    super(`${object.kind} ${object.metadata.name} is not converted to ${apiVersion} yet`);
    this.name = "ConversionPending";
    this.conversions = conversions;
    this.object = object;
    this.apiVersion = apiVersion;
  }
}
