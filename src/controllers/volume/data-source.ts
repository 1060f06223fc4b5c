import { compareQuantity, parseQuantity } from "../../api/quantity.ts";
import { resources } from "../../api/resources.ts";
import { snapshotGroup, type VolumeSnapshot, type VolumeSnapshotContent, volumeSnapshotContents, volumeSnapshots } from "../../api/snapshot/types.ts";
import type { PersistentVolume, PersistentVolumeClaim } from "../../api/types.ts";
import type { Cache } from "../cache.ts";
import { driverName, provisionedByAnnotation } from "./names.ts";
import type { VolumeData } from "./storage.ts";

/** What a new volume is filled with; why not yet; or, where nobody here knows, that it is somebody else's to fill. */
export type DataSource = { from: VolumeData; claim?: { namespace: string; name: string } } | { wait: string } | { foreign: string };

interface Reference {
  apiGroup?: string;
  kind: string;
  name: string;
  namespace?: string;
}
export const referenceOf = (claim: PersistentVolumeClaim): Reference | undefined => (claim.spec?.dataSourceRef ?? claim.spec?.dataSource) as Reference | undefined;
export const isOfSnapshot = (claim: PersistentVolumeClaim): boolean => {
  const reference = referenceOf(claim);
  return reference?.kind === "VolumeSnapshot" && reference.apiGroup === snapshotGroup;
};

const sizeOf = (claim: PersistentVolumeClaim): string => String(claim.spec?.resources?.requests?.["storage"] ?? "0");
const bytes = (text: string): string => parseQuantity(text).amount.toString();
const isSmaller = (one: string, other: string): boolean => compareQuantity(parseQuantity(one), parseQuantity(other)) < 0;

/** Source of the rules: kubernetes-csi/external-provisioner/pkg/controller/controller.go. Undefined: the volume begins empty. */
export function dataSourceOf(claim: PersistentVolumeClaim, cache: Cache): DataSource | undefined {
  const reference = referenceOf(claim);
  if (!reference) return undefined;
  const own = claim.metadata.namespace!;
  if (reference.namespace && reference.namespace !== own) return { wait: `accessing ${own}/${reference.name} of another namespace (${reference.namespace}) is not supported: dataSourceRef.namespace needs ReferenceGrants` };
  if (isOfSnapshot(claim)) return snapshotSource(claim, reference, cache);
  if (reference.kind === "PersistentVolumeClaim" && !reference.apiGroup) return claimSource(claim, reference, cache);
  return { foreign: "The datasource for this PVC does not match any registered VolumePopulator" };
}

function snapshotSource(claim: PersistentVolumeClaim, { name }: Reference, cache: Cache): DataSource {
  const fail = (why: string): DataSource => ({ wait: `error getting handle for DataSource Type VolumeSnapshot by Name ${name}: ${why}` });
  const key = `${claim.metadata.namespace}/${name}`;
  const snapshot = cache.get<VolumeSnapshot>(volumeSnapshots, key);
  if (!snapshot) return fail(`error getting snapshot ${name} from api server: volumesnapshots.snapshot.storage.k8s.io "${name}" not found`);
  if (snapshot.metadata.deletionTimestamp) return fail(`snapshot ${name} is currently being deleted`);
  if (snapshot.status?.readyToUse !== true) return fail(`snapshot ${name} is not Ready`);
  const content = cache.get<VolumeSnapshotContent>(volumeSnapshotContents, snapshot.status.boundVolumeSnapshotContentName ?? "");
  if (!content) return fail(`error getting snapshotcontent for snapshot ${name} from api server: not found`);
  if (content.spec.volumeSnapshotRef.uid !== snapshot.metadata.uid) return fail(`snapshotcontent ${content.metadata.name} for snapshot ${name} is not bound`);
  if (content.spec.driver !== driverName) return fail(`the PVC source has driver ${content.spec.driver}, the storage class ${driverName}`);
  const handle = content.status?.snapshotHandle;
  if (!handle) return fail(`snapshot handle ${content.metadata.name} is not available`);
  const least = snapshot.status.restoreSize;
  if (least !== undefined && isSmaller(sizeOf(claim), least)) return { wait: `requested volume size ${bytes(sizeOf(claim))} is less than the size ${bytes(least)} for the source snapshot ${name}` };
  return { from: { snapshot: handle } };
}

function claimSource(claim: PersistentVolumeClaim, { name }: Reference, cache: Cache): DataSource {
  const namespace = claim.metadata.namespace!;
  const fail = (why: string): DataSource => ({ wait: `error getting handle for DataSource Type PersistentVolumeClaim by Name ${name}: ${why}` });
  const source = cache.get<PersistentVolumeClaim>(resources.persistentVolumeClaims, `${namespace}/${name}`);
  if (!source) return fail(`error getting PVC ${name} (namespace "${namespace}") from api server: persistentvolumeclaims "${name}" not found`);
  if (source.metadata.deletionTimestamp) return fail("the PVC DataSource is being deleted");
  if (source.status?.phase !== "Bound") return fail(`the PVC DataSource ${name} must have a status of Bound.  Got ${source.status?.phase ?? "Pending"}`);
  const volume = cache.get<PersistentVolume>(resources.persistentVolumes, source.spec?.volumeName ?? "");
  if (volume?.metadata.annotations?.[provisionedByAnnotation] !== driverName) return fail(`the source PV ${source.spec?.volumeName} was not provisioned by ${driverName}`);
  const capacity = String(source.status.capacity?.["storage"] ?? "0");
  if (isSmaller(sizeOf(claim), capacity)) return fail(`new PVC request must be greater than or equal in size to the specified PVC data source, requested ${bytes(sizeOf(claim))} but source is ${bytes(capacity)}`);
  return { from: { volume: volume.metadata.name }, claim: { namespace, name } };
}
