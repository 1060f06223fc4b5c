import { duplicate, type FieldError, forbidden, invalid, notFound, notSupported, required } from "../../../field.ts";
import { checked, each, notNegative, oneOf } from "../../../validation/checks.ts";
import { configMapKey, dns1123Label, envVarName, httpHeaderName, nameIsDnsSubdomain, portName, portNumber } from "../../../validation/names.ts";
import { envFields, validateFieldRef, validateResourceFieldRef } from "./downward.ts";
import { validateResources } from "./resources.ts";
import { validateContainerSecurity } from "./security.ts";
import { backsteps, localPath, type VolumeSources } from "./volumes.ts";

// Shapes were proved by the schema; `any` stands for "as the schema says".
type Draft = any;

/**
 * Containers of all three sorts. Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go.
 */
interface ContainerContext {
  volumes: VolumeSources;
  /** spec.terminationGracePeriodSeconds: a hook may not sleep longer. */
  gracePeriodSeconds: number | undefined;
  /** Names of spec.resourceClaims. */
  claims: ReadonlySet<string>;
  restartPolicy: string | undefined;
}

export function validateContainers(path: string, containers: Draft[] | undefined, context: ContainerContext): FieldError[] {
  if ((containers ?? []).length === 0) return [required(path)];
  const names = new Set<string>();
  const errors = each(path, containers, (container, at) => {
    const found = validateContainer(at, container, context);
    if (names.has(container.name ?? "")) found.push(duplicate(`${at}.name`, container.name ?? ""));
    names.add(container.name ?? "");
    found.push(...validateLifecycleAndProbes(at, container, context));
    if (container.restartPolicy !== undefined && !["Always", "Never", "OnFailure"].includes(container.restartPolicy)) found.push(notSupported(`${at}.restartPolicy`, container.restartPolicy, ["Always", "Never", "OnFailure"]));
    else if (container.restartPolicy !== undefined) found.push(forbidden(`${at}.restartPolicy`, "may not be set for non-init containers"));
    found.push(...validateRestartRules(at, container));
    return found;
  });
  return [...errors, ...hostPortConflicts(path, containers!)];
}

function validateRestartRules(path: string, { restartPolicy, restartPolicyRules }: Draft): FieldError[] {
  if ((restartPolicyRules ?? []).length === 0) return [];
  return [
    ...(restartPolicy === undefined ? [required(`${path}.restartPolicy`, "must specify restartPolicy when restart rules are used")] : []),
    ...each(`${path}.restartPolicyRules`, restartPolicyRules, ({ action, exitCodes }, at) => [
      ...(action === "Restart" ? [] : [notSupported(`${at}.action`, action ?? "", ["Restart"])]),
      ...(!exitCodes ? [required(`${at}.exitCodes`, "must be specified")] : ["In", "NotIn"].includes(exitCodes.operator) ? [] : [notSupported(`${at}.exitCodes.operator`, exitCodes.operator ?? "", ["In", "NotIn"])]),
    ]),
  ];
}

export function validateInitContainers(path: string, containers: Draft[] | undefined, regular: Draft[] | undefined, context: ContainerContext): FieldError[] {
  const names = new Set<string>((regular ?? []).map((container) => container.name ?? ""));
  return each(path, containers, (container, at) => {
    const errors = validateContainer(at, container, context);
    // What upstream takes besides is refused with our own list: nothing acts on it.
    if (container.restartPolicy !== undefined && container.restartPolicy !== "Always") errors.push(notSupported(`${at}.restartPolicy`, container.restartPolicy, ["Never", "OnFailure"].includes(container.restartPolicy) ? ["Always"] : ["Always", "Never", "OnFailure"]));
    if (names.has(container.name ?? "")) errors.push(duplicate(`${at}.name`, container.name ?? ""));
    else if (container.name) names.add(container.name);
    // One runs at a time, so only a container's own ports can clash.
    errors.push(...hostPortConflicts(path, [container]));
    if (container.restartPolicy === "Always") errors.push(...validateLifecycleAndProbes(at, container, context));
    else {
      for (const field of ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"]) {
        if (container[field]) errors.push(forbidden(`${at}.${field}`, "may not be set for init containers without restartPolicy=Always"));
      }
    }
    return errors;
  });
}

const ephemeralForbidden = ["ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"];

export function validateEphemeralContainers(path: string, containers: Draft[] | undefined, others: Draft[], context: ContainerContext): FieldError[] {
  const targets = new Set<string>(others.map((container) => container.name));
  const names = new Set(targets);
  return each(path, containers, (container, at) => {
    const errors = validateContainer(at, container, context);
    errors.push(...validateImageSpaces(at, container));
    if (names.has(container.name)) errors.push(duplicate(`${at}.name`, container.name));
    names.add(container.name);
    if (container.targetContainerName && !targets.has(container.targetContainerName)) errors.push(notFound(`${at}.targetContainerName`, container.targetContainerName));
    const text = "cannot be set for an Ephemeral Container";
    const isSet = (field: string) => container[field] !== undefined && (field !== "resources" || Object.keys(container[field]).length > 0);
    for (const field of ephemeralForbidden) if (isSet(field)) errors.push(forbidden(`${at}.${field}`, text));
    return [
      ...errors,
      ...each(`${at}.volumeMounts`, container.volumeMounts, (mount, mountAt) => ["subPath", "subPathExpr"].filter((field) => mount[field]).map((field) => forbidden(`${mountAt}.${field}`, text))),
    ];
  });
}

/** Only pods insist on it; old templates may hold such images. */
export const validateImageSpaces = (path: string, container: Draft): FieldError[] =>
  (container.image ?? "") === (container.image ?? "").trim() ? [] : [invalid(`${path}.image`, container.image, "must not have leading or trailing whitespace")];

function validateContainer(path: string, container: Draft, context: ContainerContext): FieldError[] {
  const errors: FieldError[] = [];
  if (!container.name) errors.push(required(`${path}.name`));
  else errors.push(...checked(`${path}.name`, container.name, dns1123Label));
  if (!container.image) errors.push(required(`${path}.image`));
  errors.push(...oneOf(`${path}.terminationMessagePolicy`, container.terminationMessagePolicy, ["File", "FallbackToLogsOnError"]));
  errors.push(...validatePorts(`${path}.ports`, container.ports));
  errors.push(...each(`${path}.env`, container.env, (variable, at) => validateEnv(at, variable)));
  errors.push(...each(`${path}.envFrom`, container.envFrom, (source, at) => validateEnvFrom(at, `${path}.envFrom`, source)));
  errors.push(...validateVolumeMounts(`${path}.volumeMounts`, container, context.volumes));
  errors.push(...validateVolumeDevices(`${path}.volumeDevices`, container, context.volumes));
  errors.push(...oneOf(`${path}.imagePullPolicy`, container.imagePullPolicy, ["Always", "IfNotPresent", "Never"]));
  errors.push(...validateResources(`${path}.resources`, container.resources, context.claims));
  errors.push(...validateResizePolicy(`${path}.resizePolicy`, container.resizePolicy, context.restartPolicy));
  errors.push(...validateContainerSecurity(`${path}.securityContext`, container.securityContext));
  return errors;
}

function validatePorts(path: string, ports: Draft[] | undefined): FieldError[] {
  const names = new Set<string>();
  return each(path, ports, (port, at) => {
    const errors: FieldError[] = [];
    if (port.name) {
      const wrong = checked(`${at}.name`, port.name, portName);
      if (wrong.length > 0) errors.push(...wrong);
      else if (names.has(port.name)) errors.push(duplicate(`${at}.name`, port.name));
      else names.add(port.name);
    }
    if (!port.containerPort) errors.push(required(`${at}.containerPort`));
    else errors.push(...portNumber(port.containerPort).map((text) => invalid(`${at}.containerPort`, port.containerPort, text)));
    if (port.hostPort) errors.push(...portNumber(port.hostPort).map((text) => invalid(`${at}.hostPort`, port.hostPort, text)));
    return [...errors, ...oneOf(`${at}.protocol`, port.protocol, ["SCTP", "TCP", "UDP"])];
  });
}

function hostPortConflicts(path: string, containers: Draft[]): FieldError[] {
  const taken = new Set<string>();
  return each(path, containers, (container, at) =>
    each(`${at}.ports`, container.ports, (port, portAt) => {
      if (!port.hostPort) return [];
      const key = `${port.protocol}/${port.hostIP ?? ""}/${port.hostPort}`;
      if (taken.has(key)) return [duplicate(`${portAt}.hostPort`, key)];
      taken.add(key);
      return [];
    }),
  );
}

function validateEnv(path: string, variable: Draft): FieldError[] {
  const errors = variable.name ? checked(`${path}.name`, variable.name, envVarName) : [required(`${path}.name`)];
  const from = variable.valueFrom;
  if (!from) return errors;
  const at = `${path}.valueFrom`;
  let sources = 0;
  if (from.fieldRef) {
    sources++;
    errors.push(...validateFieldRef(`${at}.fieldRef`, from.fieldRef, envFields));
  }
  if (from.resourceFieldRef) {
    sources++;
    errors.push(...validateResourceFieldRef(`${at}.resourceFieldRef`, from.resourceFieldRef, false));
  }
  for (const field of ["configMapKeyRef", "secretKeyRef"]) {
    const reference = from[field];
    if (!reference) continue;
    sources++;
    errors.push(...nameIsDnsSubdomain(reference.name ?? "", false).map((text) => invalid(`${at}.${field}.name`, reference.name ?? "", text)));
    errors.push(...(reference.key ? checked(`${at}.${field}.key`, reference.key, configMapKey) : [required(`${at}.${field}.key`)]));
  }
  if (sources === 0) errors.push(invalid(at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"));
  else if (variable.value) errors.push(invalid(at, "", "may not be specified when `value` is not empty"));
  else if (sources > 1) errors.push(invalid(at, "", "may not have more than one field specified at a time"));
  return errors;
}

function validateEnvFrom(path: string, listPath: string, source: Draft): FieldError[] {
  const errors = source.prefix ? checked(`${path}.prefix`, source.prefix, envVarName) : [];
  const references = ["configMapRef", "secretRef"].filter((field) => source[field]);
  for (const field of references) {
    const name = source[field].name;
    if (!name) errors.push(required(`${path}.${field}.name`));
    else errors.push(...nameIsDnsSubdomain(name, true).map((text) => invalid(`${path}.${field}.name`, name, text)));
  }
  // Upstream names the list here, not the entry.
  if (references.length === 0) errors.push(invalid(listPath, "", "must specify one of: `configMapRef` or `secretRef`"));
  else if (references.length > 1) errors.push(invalid(listPath, "", "may not have more than one field specified at a time"));
  return errors;
}

function validateVolumeMounts(path: string, container: Draft, volumes: VolumeSources): FieldError[] {
  const paths = new Set<string>();
  const devices: Draft[] = container.volumeDevices ?? [];
  return each(path, container.volumeMounts, (mount, at) => {
    const errors: FieldError[] = [];
    if (!mount.name) errors.push(required(`${at}.name`));
    if (!volumes.has(mount.name ?? "")) errors.push(notFound(`${at}.name`, mount.name ?? ""));
    if (!mount.mountPath) errors.push(required(`${at}.mountPath`));
    if (paths.has(mount.mountPath)) errors.push(invalid(`${at}.mountPath`, mount.mountPath, "must be unique"));
    paths.add(mount.mountPath);
    if (devices.some((device) => device.name === mount.name)) errors.push(invalid(`${at}.name`, mount.name, "must not already exist in volumeDevices"));
    if (devices.some((device) => device.devicePath === mount.mountPath)) errors.push(invalid(`${at}.mountPath`, mount.mountPath, "must not already exist as a path in volumeDevices"));
    if (volumes.get(mount.name)?.image) {
      for (const field of ["subPath", "subPathExpr"]) if (mount[field]) errors.push(invalid(`${at}.${field}`, mount[field], "not allowed in image volume sources"));
    }
    // The paths below are the list's, as upstream has it.
    if (mount.subPath) errors.push(...localPath(`${path}.subPath`, mount.subPath));
    if (mount.subPathExpr) {
      if (mount.subPath) errors.push(invalid(`${at}.subPathExpr`, mount.subPathExpr, "subPathExpr and subPath are mutually exclusive"));
      errors.push(...localPath(`${path}.subPathExpr`, mount.subPathExpr));
    }
    if (mount.mountPropagation !== undefined) {
      if (mount.mountPropagation === "Bidirectional" && container.securityContext?.privileged !== true) errors.push(forbidden(`${path}.mountPropagation`, "Bidirectional mount propagation is available only to privileged containers"));
      errors.push(...oneOf(`${path}.mountPropagation`, mount.mountPropagation, ["Bidirectional", "HostToContainer", "None"]));
    }
    if (mount.recursiveReadOnly !== undefined && mount.recursiveReadOnly !== "Disabled") {
      const readOnlyPath = `${path}.recursiveReadOnly`;
      if (!["Enabled", "IfPossible"].includes(mount.recursiveReadOnly)) errors.push(notSupported(readOnlyPath, mount.recursiveReadOnly, ["Disabled", "Enabled", "IfPossible"]));
      else if (mount.readOnly !== true) errors.push(forbidden(readOnlyPath, "may only be specified when readOnly is true"));
      else if (mount.mountPropagation !== undefined && mount.mountPropagation !== "None") errors.push(forbidden(readOnlyPath, "may only be specified when mountPropagation is None or not specified"));
    }
    return errors;
  });
}

function validateVolumeDevices(path: string, container: Draft, volumes: VolumeSources): FieldError[] {
  const names = new Set<string>();
  const paths = new Set<string>();
  const mounts: Draft[] = container.volumeMounts ?? [];
  return each(path, container.volumeDevices, (device, at) => {
    const errors: FieldError[] = [];
    const volume = volumes.get(device.name);
    if (!device.name) errors.push(required(`${at}.name`));
    if (names.has(device.name)) errors.push(invalid(`${at}.name`, device.name, "must be unique"));
    if (!volume) errors.push(notFound(`${at}.name`, device.name ?? ""));
    else if (!volume.persistentVolumeClaim && !volume.ephemeral) errors.push(invalid(`${at}.name`, device.name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"));
    if (!device.devicePath) errors.push(required(`${at}.devicePath`));
    if (paths.has(device.devicePath)) errors.push(invalid(`${at}.devicePath`, device.devicePath, "must be unique"));
    if (device.devicePath && backsteps(device.devicePath)) errors.push(invalid(`${at}.devicePath`, device.devicePath, "can not contain backsteps ('..')"));
    else paths.add(device.devicePath);
    if (mounts.some((mount) => mount.name === device.name)) errors.push(invalid(`${at}.name`, device.name, "must not already exist in volumeMounts"));
    if (mounts.some((mount) => mount.mountPath === device.devicePath)) errors.push(invalid(`${at}.devicePath`, device.devicePath, "must not already exist as a path in volumeMounts"));
    if (device.name) names.add(device.name);
    return errors;
  });
}

function validateResizePolicy(path: string, policies: Draft[] | undefined, restartPolicy: string | undefined): FieldError[] {
  const seen = new Set<string>();
  return each(path, policies, (policy, at) => {
    const errors: FieldError[] = [];
    if (seen.has(policy.resourceName)) errors.push(duplicate(at, policy.resourceName));
    seen.add(policy.resourceName);
    errors.push(...oneOf(path, policy.resourceName, ["cpu", "memory"]), ...oneOf(path, policy.restartPolicy, ["NotRequired", "RestartContainer"]));
    if (restartPolicy === "Never" && policy.restartPolicy !== "NotRequired") errors.push(invalid(path, policy.restartPolicy, "must be 'NotRequired' when `restartPolicy` is 'Never'"));
    return errors;
  });
}

function validateLifecycleAndProbes(path: string, container: Draft, context: ContainerContext): FieldError[] {
  const errors: FieldError[] = [];
  for (const hook of ["postStart", "preStop"]) if (container.lifecycle?.[hook]) errors.push(...validateHandler(`${path}.lifecycle.${hook}`, container.lifecycle[hook], context));
  const { livenessProbe, readinessProbe, startupProbe } = container;
  if (livenessProbe) {
    errors.push(...validateProbe(`${path}.livenessProbe`, livenessProbe, context));
    if (livenessProbe.successThreshold !== 1) errors.push(invalid(`${path}.livenessProbe.successThreshold`, livenessProbe.successThreshold, "must be 1"));
  }
  if (readinessProbe) {
    errors.push(...validateProbe(`${path}.readinessProbe`, readinessProbe, context));
    const grace = readinessProbe.terminationGracePeriodSeconds;
    if (grace !== undefined) errors.push(invalid(`${path}.readinessProbe.terminationGracePeriodSeconds`, grace, "must not be set for readinessProbes"));
  }
  if (startupProbe) {
    errors.push(...validateProbe(`${path}.startupProbe`, startupProbe, context));
    if (startupProbe.successThreshold !== 1) errors.push(invalid(`${path}.startupProbe.successThreshold`, startupProbe.successThreshold, "must be 1"));
  }
  return errors;
}

function validateProbe(path: string, probe: Draft, context: ContainerContext): FieldError[] {
  const errors = validateHandler(path, probe, context);
  for (const field of ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]) errors.push(...notNegative(`${path}.${field}`, probe[field]));
  const grace = probe.terminationGracePeriodSeconds;
  if (grace !== undefined && grace <= 0) errors.push(invalid(`${path}.terminationGracePeriodSeconds`, grace, "must be greater than 0"));
  return errors;
}

/** The action of a probe or hook: exactly one. */
function validateHandler(path: string, handler: Draft, context: ContainerContext): FieldError[] {
  const given = (["exec", "httpGet", "tcpSocket", "grpc", "sleep"] as const).filter((field) => handler[field]);
  if (given.length === 0) return [required(path, "must specify a handler type")];
  const [first, ...rest] = given as [(typeof given)[number], ...typeof given];
  const at = `${path}.${first}`;
  const action = handler[first];
  const errors: FieldError[] = [];
  if (first === "exec") {
    if ((action.command ?? []).length === 0) errors.push(required(`${at}.command`));
  } else if (first === "httpGet") {
    if (!action.path) errors.push(required(`${at}.path`));
    errors.push(...validatePortNumberOrName(`${at}.port`, action.port));
    if (!["HTTP", "HTTPS"].includes(action.scheme)) errors.push(notSupported(`${at}.scheme`, action.scheme, ["HTTP", "HTTPS"]));
    for (const header of action.httpHeaders ?? []) errors.push(...checked(`${at}.httpHeaders`, header.name ?? "", httpHeaderName));
  } else if (first === "sleep") {
    const grace = context.gracePeriodSeconds;
    if (grace !== undefined && (action.seconds < 0 || action.seconds > grace)) errors.push(invalid(at, action.seconds, `must be non-negative and less than terminationGracePeriodSeconds (${grace})`));
  } else errors.push(...validatePortNumberOrName(`${at}.port`, action.port));
  return [...errors, ...rest.map((field) => forbidden(`${path}.${field}`, "may not specify more than 1 handler type"))];
}

export const validatePortNumberOrName = (path: string, port: number | string | undefined): FieldError[] =>
  typeof port === "string" ? checked(path, port, portName) : portNumber(port ?? 0).map((text) => invalid(path, port ?? 0, text));
