import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { Kind } from "../../api/kind.ts";
import type { KindRegistry } from "../../api/registry.ts";
import type { Store } from "../../store/store.ts";

/** Who asks: proved by authentication, judged by authorization. */
export interface Identity {
  name: string;
  uid?: string;
  groups: readonly string[];
  extra?: Readonly<Record<string, readonly string[]>>;
}

/** The parts of Wherry itself, in-process or on the unix socket. */
export const systemIdentity = (name: string): Identity => ({ name: `system:wherry:${name}`, groups: ["system:masters", "system:authenticated"] });

/** How one write is meant. */
export interface WriteContext {
  user: Identity;
  fieldManager: string;
  fieldValidation: "Strict" | "Warn" | "Ignore";
  dryRun: boolean;
  /** What the client shall be told in `Warning:` headers. */
  warnings: string[];
  /** Duplicate fields that the scanner found in the body's text. */
  duplicates?: readonly string[];
  /** Of an apply: take fields from other managers. */
  force?: boolean;
  /** Of an apply, before it creates: throws the StatusError that a create by this user would get. */
  authorizeCreate?: () => void;
  /** Set by an apply that created the object. */
  created?: boolean;
}

/** What every verb works with. */
export interface RestDependencies {
  store: Store;
  registry: KindRegistry;
  clock: Clock;
  random: Random;
  log: Log;
  admission: Admission;
}

export interface AdmissionRequest {
  operation: "CREATE" | "UPDATE" | "DELETE";
  kind: Kind;
  subresource: string | undefined;
  namespace: string | undefined;
  name: string;
  user: Identity;
  dryRun: boolean;
  warnings: string[];
  /** CREATE and UPDATE: a private draft that mutating steps may change. */
  object: KubeObject | undefined;
  /** UPDATE and DELETE: shared and frozen. */
  old: KubeObject | undefined;
}

/** A step of admission. Throws StatusError to refuse. */
export interface AdmissionStep {
  readonly name: string;
  mutate?(request: AdmissionRequest): void | Promise<void>;
  validate?(request: AdmissionRequest): void | Promise<void>;
  /** After a write that was admitted did not happen: gives back what mutate took (an address). */
  release?(request: AdmissionRequest): void;
}

export class Admission {
  readonly #steps: readonly AdmissionStep[];
  constructor(steps: readonly AdmissionStep[]) {
    this.#steps = steps;
  }
  async mutate(request: AdmissionRequest): Promise<void> {
    for (const step of this.#steps) await step.mutate?.(request);
  }
  async validate(request: AdmissionRequest): Promise<void> {
    for (const step of this.#steps) await step.validate?.(request);
  }
  release(request: AdmissionRequest): void {
    for (const step of this.#steps) step.release?.(request);
  }
}
