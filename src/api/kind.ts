import type { Conversions } from "./crd/conversion.ts";
import type { FieldError } from "./field.ts";
import type { KubeObject } from "./meta.ts";
import type { Schema } from "./schema.ts";

/**
 * A kind: everything the API server must know to serve it. Kinds are data; a built-in kind is a CRD that came
 * with the box plus an optional {@link Strategy} of code. There is one code path for both.
 */
export interface Kind extends Strategy {
  /** "" for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** Plural, as in URLs: "deployments". */
  readonly resource: string;
  /** Absent: the kind's name with "List". */
  readonly listKind?: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly scope: "Namespaced" | "Cluster";
  readonly verbs: readonly Verb[];
  /** "status", "scale", "log", "exec", "eviction", …: as listed in discovery, with their own kind and verbs. */
  readonly subresources: readonly Subresource[];
  /** DELETE answers with the object (pods, claims, …) instead of a Status, also when it is gone at once. */
  readonly returnsDeleted?: boolean;
  /** Of the view that writes one of `parts`: its name. */
  readonly part?: string;
  readonly schema: Schema;
  /**
   * Where objects live when this version is a view of another (autoscaling/v1 of autoscaling/v2,
   * events.k8s.io/v1 of v1 Event): the resource they are stored as, and the way there and back.
   */
  readonly storedAs?: { group: string; version: string; resource: string; toStored(object: KubeObject): KubeObject; fromStored(object: KubeObject): KubeObject };
  /** Set for the kinds of CustomResourceDefinitions. */
  readonly custom?: CustomKind;
  /** Set for kinds that are not stored: their objects are made when somebody asks (metrics.k8s.io). Only get and list. */
  readonly computed?: ComputedKind;
}

export interface ComputedKind {
  /** Those of one namespace, or all; of one name, if given. Selectors are applied to what it gives. */
  list(namespace: string | undefined, name: string | undefined): Promise<KubeObject[]>;
}

/** What differs for a custom kind: its objects have no Go type, so their own schema shapes them. */
export interface CustomKind {
  /** The definition is being deleted: nothing is created any more. */
  readonly terminating: boolean;
  /** Another text whenever the definition is another. */
  readonly identity: string;
  /** Name of the version that is stored. */
  readonly storageVersion: string;
  /** Fields that lists can be selected by: "spec.color". */
  readonly selectable: readonly string[];
  /** The schema as the definition states it (JSONSchemaProps), with its prose. */
  document(): object;
  /** In place of the walk over a built-in schema: prunes, names unknown fields, fills in defaults. The input stays as it is. Throws DecodeError. */
  walk(object: Record<string, unknown>, options: { partial?: boolean; declared?: boolean }): { value: Record<string, unknown>; unknownFields: string[] };
  /** A stored object (of any version) as this version shows it: converted, pruned, with defaults; the very object when nothing changes. Throws ConversionPending. */
  fromStored(stored: KubeObject): KubeObject;
  /** An object of this version as it is stored. */
  toStored(object: KubeObject): KubeObject;
  /** As {@link fromStored}, but what a webhook would convert keeps its fields: for who must not wait. */
  renamed(object: KubeObject): KubeObject;
  /** Set where a webhook converts. */
  readonly conversions?: Conversions;
  /** Set where this version is not the stored one and a webhook converts: to be awaited before {@link toStored}. */
  readonly beforeStore?: (object: KubeObject) => Promise<void>;
}

export type Verb = "create" | "delete" | "deletecollection" | "get" | "list" | "patch" | "update" | "watch";

export interface Subresource {
  readonly name: string;
  readonly kind: string;
  /** When it differs from the parent's: autoscaling/v1 for Scale, policy/v1 for Eviction. */
  readonly group?: string;
  readonly version?: string;
  readonly verbs: readonly Verb[];
  /** Query parameters of connect verbs and of log: name → type. */
  readonly parameters?: Readonly<Record<string, "string" | "boolean" | "integer">>;
}

/**
 * What a kind does at each step of a request, in this order. All optional. `object` is a private draft that may
 * be changed in place; `old` is shared and frozen.
 * Source of the order: k8s.io/apiserver/pkg/registry/rest/{create,update}.go.
 */
export interface Strategy {
  /** 1. Defaults, as upstream's Go code sets them (schema defaults were set before). Must be idempotent. */
  readonly defaults?: (object: KubeObject) => void;
  /**
   * 2. Clears what a client may not set (status), sets what the server owns. `generation` is done for it; uid and
   * creationTimestamp must be there before, since a Job's selector is made of its uid.
   */
  readonly prepareForCreate?: (object: KubeObject) => void;
  readonly prepareForUpdate?: (object: KubeObject, old: KubeObject) => void;
  /** Of a write to /status, after everything but status and metadata was put back. */
  readonly prepareForStatusUpdate?: (object: KubeObject, old: KubeObject, nowMs: number) => void;
  /** On the way to deletion, also when it was asked for before: what must happen first, as finalizers. */
  readonly prepareForDelete?: (object: KubeObject, nowMs: number) => void;
  /**
   * 3. Upstream's validation with upstream's texts; metadata was validated before. `validate` runs on every write
   * of the main resource (an object that exists has a resourceVersion), `validateUpdate` adds what only a change
   * can do wrong.
   */
  readonly validate?: (object: KubeObject, old?: KubeObject, ofMetadata?: readonly FieldError[]) => FieldError[];
  readonly validateUpdate?: (object: KubeObject, old: KubeObject, ofMetadata?: readonly FieldError[]) => FieldError[];
  readonly validateStatusUpdate?: (object: KubeObject, old: KubeObject, ofMetadata?: readonly FieldError[], nowMs?: number) => FieldError[];
  /** Of an update, what may not change is told before what is wrong. */
  readonly judgesChangeFirst?: boolean;
  /** Its own rules come first and its metadata is looked at only when they find nothing. */
  readonly validatesBeforeMetadata?: boolean;
  /** `Warning:` headers, such as those for deprecated fields. */
  readonly warnings?: (object: KubeObject, old?: KubeObject) => string[];
  /** True when spec and status are separate worlds: main writes keep the old status, /status writes the old rest. */
  readonly hasStatus?: boolean;
  /** An object may bring its status with it when it is created, as a node does that registers itself. */
  readonly bringsStatus?: boolean;
  /** How names of this kind are checked. Default: DNS-1123 subdomain. */
  readonly validateName?: (name: string, prefix: boolean) => string[];
  /** A PUT to a name that is not there makes the object, as upstream allows for a few kinds. */
  readonly createOnUpdate?: boolean;
  /** A PUT must name the resourceVersion that it replaces. */
  readonly conditionalUpdate?: boolean;
  /** What a deletion without a policy does with dependents: the first versions of these kinds orphaned them. Default: Background. */
  readonly defaultPropagation?: "Orphan";
  /** Told at every request to this version. */
  readonly deprecation?: string;
  /** Graceful deletion: seconds to wait by default, or 0 (delete at once). Only pods differ. */
  readonly gracePeriodSeconds?: (object: KubeObject) => number;
  /** Table columns; metadata.name and age are written by hand like any other. Default: Name, Age. */
  readonly columns?: readonly Column[];
  readonly rowConditions?: (object: KubeObject) => { type: string; status: string; reason: string; message: string }[] | undefined;
  /** Field selectors beyond metadata.name and metadata.namespace: label → value. */
  readonly selectableFields?: (object: KubeObject) => Record<string, string>;
  /**
   * Subresources that write one part of the object, such as pods/ephemeralcontainers: what is otherwise than with the
   * main resource. `prepareForUpdate` puts everything else back as it was.
   */
  readonly parts?: Readonly<Record<string, Pick<Strategy, "prepareForUpdate" | "validateUpdate" | "hasStatus">>>;
  /** Where /scale reads and writes. */
  readonly scale?: { specReplicasPath: string; statusReplicasPath: string; labelSelector(object: KubeObject): string };
}

/** A cell is what printers.go puts there: a string, an integer (type "integer"), a boolean. */
export type Cell = string | number | boolean | null;
export interface Column {
  readonly name: string;
  readonly type: "string" | "integer" | "number" | "boolean" | "date";
  /** "name" for the Name column. */
  readonly format?: string;
  readonly description?: string;
  /** 0: always; 1: only with -o wide. */
  readonly priority?: 0 | 1;
  readonly cell: (object: KubeObject, nowMs: number) => Cell;
}
