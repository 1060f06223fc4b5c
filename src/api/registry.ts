import type { Kind } from "./kind.ts";
import type { KindCode } from "./kinds/code.ts";
import { builtinResources, type ResourceTable } from "./kinds/table.ts";

/**
 * The kinds that the API server serves at this moment: built-in ones from their tables and code, and those that
 * CustomResourceDefinitions add and take away. Each change bumps `generation`, by which discovery and OpenAPI
 * documents are cached.
 */
export class KindRegistry {
  readonly #byResource = new Map<string, Kind>();
  readonly #byKind = new Map<string, Kind>();
  readonly #listeners = new Set<(change: KindChange) => void>();
  #generation = 1;

  /** In discovery order: first come, first listed. */
  constructor(kinds: Iterable<Kind> = []) {
    for (const kind of kinds) this.#put(kind);
  }

  get generation(): number {
    return this.#generation;
  }

  /** `resource` is the plural: "deployments". */
  byResource(group: string, version: string, resource: string): Kind | undefined {
    return this.#byResource.get(`${group}/${version}/${resource}`);
  }

  byKind(group: string, version: string, kind: string): Kind | undefined {
    return this.#byKind.get(`${group}/${version}/${kind}`);
  }

  all(): Kind[] {
    return [...this.#byResource.values()];
  }

  /** Every version of a resource, preferred first. */
  versionsOf(group: string, resource: string): Kind[] {
    return this.all().filter((kind) => kind.group === group && kind.resource === resource);
  }

  /** Adds a kind, or replaces the one that is served at its place. */
  add(kind: Kind): void {
    this.#put(kind);
    this.#changed({ type: "added", kind });
  }

  remove(group: string, version: string, resource: string): Kind | undefined {
    const kind = this.byResource(group, version, resource);
    if (!kind) return undefined;
    this.#byResource.delete(`${group}/${version}/${resource}`);
    this.#byKind.delete(`${group}/${version}/${kind.kind}`);
    this.#changed({ type: "removed", kind });
    return kind;
  }

  /** Calls `listener` after every change, until the function that it returns is called. */
  onChange(listener: (change: KindChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #put(kind: Kind): void {
    const replaced = this.byResource(kind.group, kind.version, kind.resource);
    if (replaced) this.#byKind.delete(`${kind.group}/${kind.version}/${replaced.kind}`);
    this.#byResource.set(`${kind.group}/${kind.version}/${kind.resource}`, kind);
    this.#byKind.set(`${kind.group}/${kind.version}/${kind.kind}`, kind);
  }

  #changed(change: KindChange): void {
    this.#generation++;
    for (const listener of this.#listeners) listener(change);
  }
}

export interface KindChange {
  readonly type: "added" | "removed";
  readonly kind: Kind;
}

/** The built-in kinds: tables joined with the code that `kinds/index.ts` lists. */
export function createBuiltinRegistry(codes: readonly KindCode[], tables: readonly ResourceTable[] = builtinResources()): KindRegistry {
  const used = new Set<KindCode>();
  const kinds = tables.map((table) => {
    const fitting = codes.filter((code) => code.group === table.group && code.resource === table.resource && (code.version === undefined || code.version === table.version));
    for (const code of fitting) used.add(code);
    return kindOf(table, fitting);
  });
  // Code without a table would never run: a misspelt resource must not pass unseen.
  const unused = codes.filter((code) => !used.has(code));
  if (unused.length > 0) throw new Error(`no table for the code of ${unused.map((code) => `${code.resource}${code.group && `.${code.group}`}${code.version ? ` ${code.version}` : ""}`).join(", ")}`);
  return new KindRegistry(kinds);
}

function kindOf(table: ResourceTable, codes: readonly KindCode[]): Kind {
  const kind = { hasStatus: table.subresources.some((sub) => sub.name === "status") } as Kind;
  for (const { strategy, storedAs } of codes) Object.assign(kind, strategy, storedAs && { storedAs });
  // Last, so that code cannot contradict the table; by descriptor, so that the schema stays unread until it is walked.
  return Object.defineProperties(kind, Object.getOwnPropertyDescriptors(table)) as Kind;
}
