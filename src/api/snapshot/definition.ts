import type { GroupVersionResource } from "../meta.ts";
import { snapshotGroup } from "./types.ts";

/**
 * The CustomResourceDefinitions of volume snapshots: the same names, fields, rules and columns as those that
 * kubernetes-csi/external-snapshotter publishes, which a user may apply over them.
 */
type Schema = Record<string, unknown>;
const text: Schema = { type: "string" };
const time: Schema = { type: "string", format: "date-time" };
const about = (description: string, schema: Schema): Schema => ({ description, ...schema });
const struct = (properties: Record<string, Schema>, ...required: string[]): Schema => ({ type: "object", properties, ...(required.length > 0 && { required }) });
const rules = (schema: Schema, ...list: [rule: string, message: string][]): Schema => ({ ...schema, "x-kubernetes-validations": list.map(([rule, message]) => ({ rule, message })) });
const fixed = (name: string, schema: Schema): Schema => rules(schema, ["self == oldSelf", `${name} is immutable`]);
const stays = (name: string): [string, string] => [`!has(oldSelf.${name}) || has(self.${name})`, `${name} is required once set`];
const eitherOr = (one: string, other: string): [string, string] => [`(has(self.${one}) && !has(self.${other})) || (!has(self.${one}) && has(self.${other}))`, `exactly one of ${one} and ${other} must be set`];
const object = { apiVersion: text, kind: text, metadata: { type: "object" } };
const error: Schema = about("What went wrong last; gone once it went well.", struct({ time, message: text }));
const policy: Schema = { type: "string", enum: ["Delete", "Retain"] };
const quantity: Schema = {
  type: "string",
  pattern: "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$",
  "x-kubernetes-int-or-string": true,
};

const snapshot = struct(
  {
    ...object,
    spec: struct(
      {
        source: rules(
          struct({
            persistentVolumeClaimName: about("The claim of this namespace that a snapshot is taken of.", fixed("persistentVolumeClaimName", text)),
            volumeSnapshotContentName: about("The content that stands for a snapshot that is there already.", fixed("volumeSnapshotContentName", text)),
          }),
          stays("persistentVolumeClaimName"),
          stays("volumeSnapshotContentName"),
          eitherOr("volumeSnapshotContentName", "persistentVolumeClaimName"),
        ),
        volumeSnapshotClassName: about("Without it, the default class of the volume's driver.", rules(text, ["size(self) > 0", "volumeSnapshotClassName must not be the empty string when set"])),
      },
      "source",
    ),
    status: struct({
      boundVolumeSnapshotContentName: text,
      creationTime: about("The instant that the data are of.", time),
      readyToUse: about("Whether a volume can be made of it.", { type: "boolean" }),
      restoreSize: about("The least size of a volume that is made of it.", quantity),
      error,
      volumeGroupSnapshotName: text,
    }),
  },
  "spec",
);

const reference: Schema = rules(
  { ...struct({ apiVersion: text, fieldPath: text, kind: text, name: text, namespace: text, resourceVersion: text, uid: text }), "x-kubernetes-map-type": "atomic" },
  ["has(self.name) && has(self.__namespace__)", "both spec.volumeSnapshotRef.name and spec.volumeSnapshotRef.namespace must be set"],
);
const content = struct(
  {
    ...object,
    spec: rules(
      struct(
        {
          deletionPolicy: about("Whether what is stored goes with the VolumeSnapshot.", policy),
          driver: text,
          source: rules(struct({ snapshotHandle: fixed("snapshotHandle", text), volumeHandle: fixed("volumeHandle", text) }), stays("volumeHandle"), stays("snapshotHandle"), eitherOr("volumeHandle", "snapshotHandle")),
          sourceVolumeMode: fixed("sourceVolumeMode", text),
          volumeSnapshotClassName: text,
          volumeSnapshotRef: reference,
        },
        "deletionPolicy",
        "driver",
        "source",
        "volumeSnapshotRef",
      ),
      stays("sourceVolumeMode"),
    ),
    status: struct({
      creationTime: about("Nanoseconds since 1970.", { type: "integer", format: "int64" }),
      error,
      readyToUse: { type: "boolean" },
      restoreSize: about("Bytes.", { type: "integer", format: "int64", minimum: 0 }),
      snapshotHandle: text,
      volumeGroupSnapshotHandle: text,
    }),
  },
  "spec",
);

const snapshotClass = struct({ ...object, deletionPolicy: policy, driver: text, parameters: { type: "object", additionalProperties: text } }, "deletionPolicy", "driver");

const column = (name: string, jsonPath: string, type = "string"): object => ({ name, type, jsonPath });
const age = column("Age", ".metadata.creationTimestamp", "date");

interface Definition {
  kind: string;
  plural: string;
  shortNames: string[];
  scope: "Namespaced" | "Cluster";
  approved: number;
  schema: Schema;
  columns: object[];
  hasStatus: boolean;
}
const definition = ({ kind, plural, shortNames, scope, approved, schema, columns, hasStatus }: Definition): object => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `${plural}.${snapshotGroup}`, annotations: { "api-approved.kubernetes.io": `https://github.com/kubernetes-csi/external-snapshotter/pull/${approved}` } },
  spec: {
    group: snapshotGroup,
    scope,
    names: { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase(), shortNames },
    versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema }, subresources: hasStatus ? { status: {} } : {}, additionalPrinterColumns: [...columns, age] }],
  },
});

const customResourceDefinitions: GroupVersionResource = { group: "apiextensions.k8s.io", version: "v1", resource: "customresourcedefinitions" };

export const snapshotDefinitions: readonly { resource: GroupVersionResource; object: object }[] = [
  definition({
    kind: "VolumeSnapshot",
    plural: "volumesnapshots",
    shortNames: ["vs"],
    scope: "Namespaced",
    approved: 814,
    schema: snapshot,
    hasStatus: true,
    columns: [
      column("ReadyToUse", ".status.readyToUse", "boolean"),
      column("SourcePVC", ".spec.source.persistentVolumeClaimName"),
      column("SourceSnapshotContent", ".spec.source.volumeSnapshotContentName"),
      column("RestoreSize", ".status.restoreSize"),
      column("SnapshotClass", ".spec.volumeSnapshotClassName"),
      column("SnapshotContent", ".status.boundVolumeSnapshotContentName"),
      column("CreationTime", ".status.creationTime", "date"),
    ],
  }),
  definition({
    kind: "VolumeSnapshotContent",
    plural: "volumesnapshotcontents",
    shortNames: ["vsc", "vscs"],
    scope: "Cluster",
    approved: 955,
    schema: content,
    hasStatus: true,
    columns: [
      column("ReadyToUse", ".status.readyToUse", "boolean"),
      column("RestoreSize", ".status.restoreSize", "integer"),
      column("DeletionPolicy", ".spec.deletionPolicy"),
      column("Driver", ".spec.driver"),
      column("VolumeSnapshotClass", ".spec.volumeSnapshotClassName"),
      column("VolumeSnapshot", ".spec.volumeSnapshotRef.name"),
      column("VolumeSnapshotNamespace", ".spec.volumeSnapshotRef.namespace"),
    ],
  }),
  definition({
    kind: "VolumeSnapshotClass",
    plural: "volumesnapshotclasses",
    shortNames: ["vsclass", "vsclasses"],
    scope: "Cluster",
    approved: 814,
    schema: snapshotClass,
    hasStatus: false,
    columns: [column("Driver", ".driver"), column("DeletionPolicy", ".deletionPolicy")],
  }),
].map((made) => ({ resource: customResourceDefinitions, object: made }));
