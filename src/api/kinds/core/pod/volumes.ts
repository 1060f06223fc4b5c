import { duplicate, type FieldError, forbidden, invalid, notSupported, required } from "../../../field.ts";
import { parseQuantity } from "../../../quantity.ts";
import { checked, each } from "../../../validation/checks.ts";
import { configMapKey, dns1123Label, rangeError } from "../../../validation/names.ts";
import { type LabelSelector, validateLabelSelector } from "../../../validation/selector.ts";
import { isKubernetesSigner, signerOfTrustBundle, trustBundleNameErrors, validateSignerName, validateUserAnnotations } from "../../../validation/signer-name.ts";
import { validateClaimSpec } from "../claim-spec.ts";
import { validateFieldRef, validateResourceFieldRef } from "./downward.ts";

// Shapes were proved by the schema; `any` stands for "as the schema says".
type Draft = any;

/** The volumes that containers may mount, by name. */
export type VolumeSources = ReadonlyMap<string, Draft>;

/**
 * Volumes of a pod. A volume with an error is not in `sources`, so that mounts of it are reported as well, as
 * upstream does. Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go.
 */
export function validateVolumes(path: string, volumes: Draft[] | undefined): { errors: FieldError[]; sources: VolumeSources } {
  const sources = new Map<string, Draft>();
  const errors = each(path, volumes, (volume, at) => {
    const found = validateVolumeSource(at, volume);
    if (!volume.name) found.push(required(`${at}.name`));
    else found.push(...checked(`${at}.name`, volume.name, dns1123Label));
    if (sources.has(volume.name)) found.push(duplicate(`${at}.name`, volume.name));
    if (found.length === 0) sources.set(volume.name, volume);
    return found;
  });
  return { errors, sources };
}

const fileModeText = "must be a number between 0 and 0777 (octal), both inclusive";
const validateMode = (path: string, mode: number | undefined): FieldError[] => (mode === undefined || (mode >= 0 && mode <= 0o777) ? [] : [invalid(path, mode, fileModeText)]);

export const backsteps = (path: string): boolean => path.split("/").includes("..");

/** A path below a volume. */
export function localPath(path: string, value: string): FieldError[] {
  const errors: FieldError[] = [];
  if (value.startsWith("/")) errors.push(invalid(path, value, "must be a relative path"));
  if (backsteps(value)) errors.push(invalid(path, value, "must not contain '..'"));
  return errors;
}

/** As {@link localPath}; names that start with ".." are the node's own (they switch versions atomically). */
function projectedPath(path: string, value: string): FieldError[] {
  const errors = localPath(path, value);
  if (value.startsWith("..") && !value.startsWith("../")) errors.push(invalid(path, value, "must not start with '..'"));
  return errors;
}

/** In which upstream looks at them: the first one counts. (One of its paths has a slip.) */
const sourceOrder = "emptyDir hostPath gitRepo gcePersistentDisk awsElasticBlockStore secret nfs iscsi glusterfs flocker persistentVolumeClaim rbd cinder cephfs quobyte downwardAPI fc flexVolume configMap azureFile vsphereVolume photonPersistentDisk portworxVolume azureDisk storageos projected scaleIO csi ephemeral image".split(" ");

function validateVolumeSource(path: string, volume: Draft): FieldError[] {
  const given = sourceOrder.filter((field) => volume[field] !== undefined && volume[field] !== null);
  if (given.length === 0) return [required(path, "must specify a volume type")];
  const [first, ...rest] = given as [string, ...string[]];
  const check = volumeChecks[first] ?? persistentSourceChecks[first];
  return [...(check?.(`${path}.${first}`, volume[first]) ?? []), ...rest.map((field) => forbidden(`${path}.${misspelt[field] ?? field}`, "may not specify more than 1 volume type"))];
}

/** As upstream names them in this one text. */
const misspelt: Readonly<Record<string, string>> = { downwardAPI: "downwarAPI", cephfs: "cephFS" };

type SourceCheck = (path: string, source: Draft) => FieldError[];

const validateItems = (path: string, items: Draft[] | undefined): FieldError[] =>
  each(path, items, (item, at) => {
    const errors: FieldError[] = item.key ? checked(`${at}.key`, item.key, configMapKey) : [required(`${at}.key`)];
    errors.push(...(item.path ? projectedPath(`${at}.path`, item.path) : [required(`${at}.path`)]));
    return [...errors, ...validateMode(`${at}.mode`, item.mode)];
  });

const downwardFields = ["metadata.name", "metadata.namespace", "metadata.uid", "metadata.annotations", "metadata.labels"];

const validateDownwardItem = (at: string, item: Draft): FieldError[] => {
  const errors: FieldError[] = item.path ? projectedPath(`${at}.path`, item.path) : [required(`${at}.path`)];
  if (item.fieldRef) {
    errors.push(...validateFieldRef(`${at}.fieldRef`, item.fieldRef, downwardFields));
    if (item.resourceFieldRef) errors.push(invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"));
  } else if (item.resourceFieldRef) errors.push(...validateResourceFieldRef(`${at}.resourceFieldRef`, item.resourceFieldRef, true));
  else errors.push(required(at, "one of fieldRef and resourceFieldRef is required"));
  return [...errors, ...validateMode(`${at}.mode`, item.mode)];
};

const needs =
  (...fields: string[]): SourceCheck =>
  (path, source) =>
    fields.filter((field) => !source[field]).map((field) => required(`${path}.${field}`));

const hostPathTypes = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/** Names of the three sorts that iSCSI knows. */
const targetForms: Readonly<Record<string, RegExp>> = { iqn: /iqn\.\d{4}-\d{2}\.([A-Za-z0-9.-]+)(:[^,;*&$|\s]+)$/, eui: /^eui.[A-Za-z0-9]{16}$/, naa: /^naa.[A-Za-z0-9]{32}$/ };
function qualifiedTarget(path: string, name: string): FieldError[] {
  const form = targetForms[name.slice(0, 3)];
  if (!form) return [invalid(path, name, "must be valid format starting with iqn, eui, or naa")];
  return form.test(name) ? [] : [invalid(path, name, "must be valid format")];
}

/** Sources that PersistentVolumes can have too. */
export const persistentSourceChecks: Record<string, SourceCheck> = {
  hostPath: (path, source) => {
    if (!source.path) return [required(`${path}.path`)];
    const errors = backsteps(source.path) ? [invalid(`${path}.path`, source.path, "must not contain '..'")] : [];
    return source.type === undefined || hostPathTypes.includes(source.type) ? errors : [...errors, notSupported(`${path}.type`, source.type, hostPathTypes)];
  },
  nfs: (path, source) => [...needs("server", "path")(path, source), ...(source.path && !source.path.startsWith("/") ? [invalid(`${path}.path`, source.path, "must be an absolute path")] : [])],
  local: (path, source) => (!source.path ? [required(`${path}.path`)] : backsteps(source.path) ? [invalid(`${path}.path`, source.path, "must not contain '..'")] : []),
  csi: needs("driver"),
  flocker: (path, { datasetName = "", datasetUUID = "" }) => [
    ...(datasetName === "" && datasetUUID === "" ? [required(path, "one of datasetName and datasetUUID is required")] : []),
    ...(datasetName !== "" && datasetUUID !== "" ? [invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously")] : []),
    ...(datasetName.includes("/") ? [invalid(`${path}.datasetName`, datasetName, "must not contain '/'")] : []),
  ],
  iscsi: (path, source) => [
    ...needs("targetPortal", "iqn")(path, source),
    ...(source.iqn ? qualifiedTarget(`${path}.iqn`, source.iqn) : []),
    ...(source.lun < 0 || source.lun > 255 ? [invalid(`${path}.lun`, source.lun, rangeError(0, 255))] : []),
    ...((source.chapAuthDiscovery || source.chapAuthSession) && !source.secretRef ? [required(`${path}.secretRef`)] : []),
    ...(source.initiatorName === undefined ? [] : qualifiedTarget(`${path}.initiatorname`, source.initiatorName)),
  ],
  cephfs: needs("monitors"),
  rbd: needs("monitors", "image"),
  glusterfs: needs("endpoints", "path"),
  flexVolume: needs("driver"),
  awsElasticBlockStore: needs("volumeID"),
  gcePersistentDisk: needs("pdName"),
  azureDisk: needs("diskName", "diskURI"),
  azureFile: needs("secretName", "shareName"),
  vsphereVolume: needs("volumePath"),
  cinder: needs("volumeID"),
  portworxVolume: needs("volumeID"),
  quobyte: (path, source) => [...quobyteRegistry(path, source), ...needs("volume")(path, source)],
  storageos: needs("volumeName"),
  scaleIO: needs("gateway", "system", "volumeName"),
};

/** What Go splits into a host and a port, of which either may be empty. */
const hostPort = /^([^:[\]]*|\[[^[\]]*\]):[^:[\]]*$/;
function quobyteRegistry(path: string, { registry = "", tenant = "" }: Draft): FieldError[] {
  const text = "must be a host:port pair or multiple pairs separated by commas";
  if (registry === "") return [required(`${path}.registry`, text)];
  if (tenant.length > 64) return [required(`${path}.tenant`, "must be a UUID and may not exceed a length of 64 characters")];
  return registry.split(",").filter((pair: string) => !hostPort.test(pair)).map(() => invalid(`${path}.registry`, registry, text));
}

const volumeChecks: Record<string, SourceCheck> = {
  emptyDir: (path, source) => (source.sizeLimit !== undefined && parseQuantity(String(source.sizeLimit)).amount < 0n ? [forbidden(`${path}.sizeLimit`, "SizeLimit field must be a valid resource quantity")] : []),
  secret: (path, source) => [...needs("secretName")(path, source), ...validateMode(`${path}.defaultMode`, source.defaultMode), ...validateItems(`${path}.items`, source.items)],
  configMap: (path, source) => [...needs("name")(path, source), ...validateMode(`${path}.defaultMode`, source.defaultMode), ...validateItems(`${path}.items`, source.items)],
  downwardAPI: (path, source) => [...validateMode(`${path}.defaultMode`, source.defaultMode), ...each(`${path}.items`, source.items, (item, at) => validateDownwardItem(at, item))],
  persistentVolumeClaim: needs("claimName"),
  projected: (path, source) => [...validateMode(`${path}.defaultMode`, source.defaultMode), ...validateProjections(path, source.sources)],
  gitRepo: (path, source) => [...needs("repository")(path, source), ...projectedPath(`${path}.directory`, source.directory ?? "")],
  ephemeral: (path, source) => {
    if (!source.volumeClaimTemplate) return [required(`${path}.volumeClaimTemplate`)];
    return validateClaimSpec(`${path}.volumeClaimTemplate.spec`, source.volumeClaimTemplate.spec ?? {});
  },
  image: (path, source) => {
    const errors = needs("reference")(path, source);
    const policies = ["Always", "IfNotPresent", "Never"];
    return policies.includes(source.pullPolicy) ? errors : [...errors, notSupported(`${path}.pullPolicy`, source.pullPolicy, policies)];
  },
};

function validateProjections(path: string, sources: Draft[] | undefined): FieldError[] {
  const taken = new Set<string>();
  /** Two projections may not write one file. */
  const claim = (sourcePath: string, files: Draft[] | undefined): FieldError[] =>
    (files ?? []).flatMap(({ path: file }) => {
      if (!file) return [];
      if (taken.has(file)) return [invalid(sourcePath, file, "conflicting duplicate paths")];
      taken.add(file);
      return [];
    });
  return each(`${path}.sources`, sources, (source, at) => {
    const given = Object.keys(source).filter((field) => source[field]);
    const errors: FieldError[] = given.slice(1).map((field) => forbidden(`${at}.${field}`, "may not specify more than 1 volume type"));
    if (given.length === 0) return [required(at, "must specify one of: `configMap`, `secret`, `downwardAPI`, `serviceAccountToken`, `clusterTrustBundle`")];
    const { secret, configMap, downwardAPI, serviceAccountToken, clusterTrustBundle, podCertificate } = source;
    for (const [field, projection] of [["secret", secret], ["configMap", configMap]] as const) {
      if (!projection) continue;
      if (!projection.name) errors.push(required(`${at}.${field}.name`));
      errors.push(...validateItems(`${at}.${field}.items`, projection.items), ...claim(at, projection.items));
    }
    if (downwardAPI) errors.push(...each(`${at}.downwardAPI.items`, downwardAPI.items, (item, itemAt) => validateDownwardItem(itemAt, item)), ...claim(at, downwardAPI.items));
    if (serviceAccountToken) {
      const tokenPath = `${at}.serviceAccountToken`;
      const seconds = serviceAccountToken.expirationSeconds;
      if (seconds < 600) errors.push(invalid(`${tokenPath}.expirationSeconds`, seconds, "may not specify a duration less than 10 minutes"));
      if (seconds > 2 ** 32) errors.push(invalid(`${tokenPath}.expirationSeconds`, seconds, "may not specify a duration larger than 2^32 seconds"));
      if (!serviceAccountToken.path) errors.push(required(`${tokenPath}.path`));
      else errors.push(...projectedPath(`${tokenPath}.path`, serviceAccountToken.path));
      errors.push(...claim(at, [serviceAccountToken]));
    }
    if (clusterTrustBundle) errors.push(...validateTrustBundle(`${at}.clusterTrustBundle`, clusterTrustBundle), ...claim(path, [clusterTrustBundle]));
    if (podCertificate) {
      errors.push(...validatePodCertificate(`${at}.podCertificate`, podCertificate));
      errors.push(...claim(path, certificateFiles.map((field) => ({ path: podCertificate[field] as string }))));
    }
    return errors;
  });
}

function validateTrustBundle(path: string, source: Draft): FieldError[] {
  const { name, signerName, labelSelector, path: file = "" } = source as { name?: string; signerName?: string; labelSelector?: LabelSelector; path?: string };
  const errors: FieldError[] = [];
  if (name !== undefined && signerName !== undefined) errors.push(invalid(path, source, "only one of name and signerName may be used"));
  else if (name !== undefined) {
    if (name === "") errors.push(required(`${path}.name`, "must be a valid object name"));
    errors.push(...trustBundleNameErrors(signerOfTrustBundle(name), name, false).map((why) => invalid(`${path}.name`, name, `not a valid clustertrustbundlename: ${why}`)));
    if (labelSelector) errors.push(invalid(`${path}.labelSelector`, labelSelector, "labelSelector must be unset if name is specified"));
  } else if (signerName !== undefined) {
    if (signerName === "") errors.push(required(`${path}.signerName`, "must be a valid signer name"));
    errors.push(...validateSignerName(`${path}.signerName`, signerName), ...validateLabelSelector(labelSelector, `${path}.labelSelector`));
  } else errors.push(required(path, "either name or signerName must be specified"));
  if (file === "") errors.push(required(`${path}.path`));
  return [...errors, ...projectedPath(`${path}.path`, file)];
}

const certificateFiles = ["credentialBundlePath", "keyPath", "certificateChainPath"] as const;
const keyTypes = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];

function validatePodCertificate(path: string, source: Draft): FieldError[] {
  const { signerName = "", keyType = "", maxExpirationSeconds: seconds, userAnnotations } = source as { signerName?: string; keyType?: string; maxExpirationSeconds?: number; userAnnotations?: Record<string, string> };
  const errors = [...validateSignerName(`${path}.signerName`, signerName), ...validateUserAnnotations(`${path}.userAnnotations`, userAnnotations)];
  if (!keyTypes.includes(keyType)) errors.push(notSupported(`${path}.keyType`, keyType, keyTypes));
  const most = isKubernetesSigner(signerName) ? 86_400 : 91 * 86_400;
  if (seconds !== undefined && seconds < 3600) errors.push(invalid(`${path}.maxExpirationSeconds`, seconds, "if provided, maxExpirationSeconds must be >= 3600"));
  if (seconds !== undefined && seconds > most) errors.push(invalid(`${path}.maxExpirationSeconds`, seconds, `if provided, maxExpirationSeconds must be <= ${most}`));
  const files = certificateFiles.filter((field) => source[field]);
  errors.push(...files.flatMap((field) => projectedPath(`${path}.${field}`, source[field] as string)));
  return files.length > 0 ? errors : [...errors, required(path, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath")];
}
