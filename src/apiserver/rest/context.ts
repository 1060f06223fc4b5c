import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { Kind } from "../../api/kind.ts";
import type { KindRegistry } from "../../api/registry.ts";
import type { Entry, Store } from "../../store/store.ts";

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
  /** Set by the write: what is stored now. Its bytes are the answer, where that is JSON. */
  entry?: Entry;
  /** What admission leaves for the audit log. */
  annotations?: Record<string, string>;
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
  operation: "CREATE" | "UPDATE" | "DELETE" | "CONNECT";
  kind: Kind;
  subresource: string | undefined;
  /** What `object` is when it is not of `kind`: the Scale, Eviction, Binding or PodExecOptions of a subresource. */
  objectKind?: GroupVersionKind;
  namespace: string | undefined;
  name: string;
  user: Identity;
  dryRun: boolean;
  warnings: string[];
  fieldManager?: string;
  /** CREATE, UPDATE and CONNECT: a private draft that mutating steps may change, in place. */
  object: KubeObject | undefined;
  /** UPDATE and DELETE: shared and frozen. */
  old: KubeObject | undefined;
  /** What steps leave for the audit log. */
  annotations?: Record<string, string>;
  /** Set by a step whose change the steps before it should see: then all mutate once more. */
  reinvoke?: boolean;
  /** 1 in that second round. */
  round?: 0 | 1;
}

export interface GroupVersionKind {
  group: string;
  version: string;
  kind: string;
}

/** A step of admission. Throws StatusError to refuse. */
export interface AdmissionStep {
  readonly name: string;
  /** May come twice for one request: the second time must change nothing that is in order. */
  mutate?(request: AdmissionRequest): void | Promise<void>;
  /** After all have mutated: takes what only one object may have (an address). */
  allocate?(request: AdmissionRequest): void;
  validate?(request: AdmissionRequest): void | Promise<void>;
  /** After a write that was admitted did not happen: gives back what was taken. Must bear being called when nothing was. */
  release?(request: AdmissionRequest): void;
}

/**
 * All steps in their order. Source of the rounds: k8s.io/apiserver/pkg/admission/reinvocation.go.
 */
export class Admission {
  readonly #mutating: readonly AdmissionStep[];
  readonly #allocating: readonly AdmissionStep[];
  readonly #validating: readonly AdmissionStep[];
  readonly #releasing: readonly AdmissionStep[];

  constructor(steps: readonly AdmissionStep[]) {
    this.#mutating = steps.filter((step) => step.mutate);
    this.#allocating = steps.filter((step) => step.allocate);
    this.#validating = steps.filter((step) => step.validate);
    this.#releasing = steps.filter((step) => step.release);
  }
  async mutate(request: AdmissionRequest): Promise<void> {
    for (const round of [0, 1] as const) {
      if (round === 1 && !request.reinvoke) break;
      request.round = round;
      for (const step of this.#mutating) {
        const changing = step.mutate!(request);
        // Most steps have nothing to wait for, and a request nobody waits in is a quicker one.
        if (changing) await changing;
      }
    }
    for (const step of this.#allocating) step.allocate!(request);
  }
  async validate(request: AdmissionRequest): Promise<void> {
    try {
      for (const step of this.#validating) {
        const judging = step.validate!(request);
        if (judging) await judging;
      }
    } catch (error) {
      this.release(request);
      throw error;
    }
  }
  release(request: AdmissionRequest): void {
    for (const step of this.#releasing) step.release!(request);
  }
}
