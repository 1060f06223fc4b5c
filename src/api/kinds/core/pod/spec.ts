import { duplicate, type FieldError, forbidden, invalid, required, tooLong } from "../../../field.ts";
import { validateIP } from "../../../validation/address.ts";
import { checked, each, oneOf, oneOfOptional } from "../../../validation/checks.ts";
import { validateAnnotations, validateLabels } from "../../../validation/metadata.ts";
import { dns1123Label, dns1123Subdomain, nameIsDnsSubdomain, qualifiedName, rangeError } from "../../../validation/names.ts";
import { validateContainers, validateEphemeralContainers, validateInitContainers } from "./containers.ts";
import { validatePodResourceName, validateResources } from "./resources.ts";
import { validateAffinity, validateSpread, validateTolerations } from "./scheduling.ts";
import { validateOs, validatePodSecurity } from "./security.ts";
import { validateVolumes } from "./volumes.ts";
import { validateForLinux, validateHostProcess } from "./windows.ts";

// Shapes were proved by the schema; `any` stands for "as the schema says".
type Draft = any;

const int32Max = 2 ** 31 - 1;
const restartPolicies = ["Always", "OnFailure", "Never"];

const hostnameBytesMax = 64;

function validateHostnameOverride(path: string, spec: Draft): FieldError[] {
  const errors = [spec.setHostnameAsFQDN && "may not be specified when setHostnameAsFQDN is true", spec.hostNetwork && "may not be specified when hostNetwork is true"].filter(Boolean).map((text) => forbidden(path, text as string));
  if (Buffer.byteLength(spec.hostnameOverride) > hostnameBytesMax) errors.push(tooLong(path, hostnameBytesMax));
  return [...errors, ...checked(path, spec.hostnameOverride, dns1123Subdomain)];
}

/**
 * What is wrong with the spec of a pod or of a template, in upstream's order and words.
 * Source: ValidatePodSpec in k8s.io/kubernetes/pkg/apis/core/validation/validation.go.
 */
export function validatePodSpec(path: string, spec: Draft, options: { isPod: boolean }): FieldError[] {
  const { errors, sources } = validateVolumes(`${path}.volumes`, spec.volumes);
  const claims = new Set<string>((spec.resourceClaims ?? []).map((claim: Draft) => claim.name).filter(Boolean));
  const context = { volumes: sources, gracePeriodSeconds: spec.terminationGracePeriodSeconds, claims, restartPolicy: spec.restartPolicy };
  if (spec.terminationGracePeriodSeconds === undefined) errors.unshift(required(`${path}.terminationGracePeriodSeconds`));
  errors.push(...validateResourceClaims(`${path}.resourceClaims`, spec.resourceClaims));
  errors.push(...validateContainers(`${path}.containers`, spec.containers, context));
  errors.push(...validateInitContainers(`${path}.initContainers`, spec.initContainers, spec.containers, context));
  errors.push(...validateEphemeralContainers(`${path}.ephemeralContainers`, spec.ephemeralContainers, [...(spec.containers ?? []), ...(spec.initContainers ?? [])], context));
  if (spec.resources?.claims) errors.push(forbidden(`${path}.resources.claims`, "claims may not be set for Resources at pod-level"));
  errors.push(...validateResources(`${path}.resources`, spec.resources, claims, validatePodResourceName));
  errors.push(...validateHostPorts(`${path}.containers`, spec, options.isPod));
  errors.push(...oneOf(`${path}.restartPolicy`, spec.restartPolicy, restartPolicies));
  errors.push(...oneOf(`${path}.dnsPolicy`, spec.dnsPolicy, ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]));
  errors.push(...validateLabels(spec.nodeSelector, `${path}.nodeSelector`));
  errors.push(...validatePodSecurity(`${path}.securityContext`, spec.securityContext, spec));
  errors.push(...validateAffinity(`${path}.affinity`, spec.affinity));
  errors.push(...validateDnsConfig(`${path}.dnsConfig`, spec));
  errors.push(...each(`${path}.readinessGates`, spec.readinessGates, (gate, at) => checked(`${at}.conditionType`, gate.conditionType ?? "", qualifiedName)));
  errors.push(...validateSchedulingGates(`${path}.schedulingGates`, spec.schedulingGates));
  errors.push(...validateSpread(`${path}.topologySpreadConstraints`, spec.topologySpreadConstraints));
  errors.push(...validateHostProcess(path, spec));
  if (spec.hostUsers === false) {
    const refused = "when `hostUsers` is false";
    errors.push(...["hostNetwork", "hostPID", "hostIPC"].filter((field) => spec[field]).map((field) => forbidden(`${path}.${field.replace("hostP", "HostP").replace("hostI", "HostI")}`, refused)));
    for (const list of ["initContainers", "containers", "ephemeralContainers"]) errors.push(...each(`${path}.${list}`, spec[list], (container, at) => ((container.volumeDevices ?? []).length > 0 ? [forbidden(`${at}.volumeDevices`, refused)] : [])));
  }
  for (const field of ["serviceAccountName", "nodeName"]) if (spec[field]) errors.push(...nameIsDnsSubdomain(spec[field], false).map((text) => invalid(`${path}.${field}`, spec[field], text)));
  const deadline = spec.activeDeadlineSeconds;
  if (deadline !== undefined && (deadline < 1 || deadline > int32Max)) errors.push(invalid(`${path}.activeDeadlineSeconds`, deadline, rangeError(1, int32Max)));
  for (const field of ["hostname", "subdomain"]) if (spec[field]) errors.push(...checked(`${path}.${field}`, spec[field], dns1123Label));
  if (spec.hostnameOverride !== undefined) errors.push(...validateHostnameOverride(`${path}.hostnameOverride`, spec));
  errors.push(...validateTolerations(`${path}.tolerations`, spec.tolerations));
  errors.push(
    ...each(`${path}.hostAliases`, spec.hostAliases, (alias, at) => [
      ...validateIP(`${at}.ip`, alias.ip ?? ""),
      ...each(`${at}.hostnames`, alias.hostnames, (hostname: string, nameAt) => checked(nameAt, hostname, dns1123Subdomain)),
    ]),
  );
  for (const field of ["priorityClassName", "runtimeClassName"]) if (spec[field]) errors.push(...nameIsDnsSubdomain(spec[field], false).map((text) => invalid(`${path}.${field}`, spec[field], text)));
  errors.push(...oneOfOptional(`${path}.preemptionPolicy`, spec.preemptionPolicy, ["PreemptLowerPriority", "Never"]));
  if (spec.overhead) errors.push(...validateResources(`${path}.overhead`, { limits: spec.overhead }));
  return [...errors, ...validateOs(`${path}.os`, spec.os), ...validateForLinux(path, spec)];
}

function validateResourceClaims(path: string, claims: Draft[] | undefined): FieldError[] {
  const names = new Set<string>();
  return each(path, claims, (claim, at) => {
    const errors: FieldError[] = [];
    if (!claim.name) errors.push(required(`${at}.name`));
    else if (names.has(claim.name)) errors.push(duplicate(`${at}.name`, claim.name));
    else errors.push(...checked(`${at}.name`, claim.name, dns1123Label));
    names.add(claim.name);
    const given = ["resourceClaimName", "resourceClaimTemplateName"].filter((field) => claim[field] !== undefined);
    if (given.length === 2) errors.push(invalid(at, claim, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"));
    if (given.length === 0) errors.push(invalid(at, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"));
    return [...errors, ...given.flatMap((field) => nameIsDnsSubdomain(claim[field], false).map((text) => invalid(`${at}.${field}`, claim[field], text)))];
  });
}

function validateHostPorts(path: string, spec: Draft, isPod: boolean): FieldError[] {
  if (spec.hostNetwork !== true) return [];
  return each(path, spec.containers, (container, at) =>
    each(`${at}.ports`, container.ports, (port, portAt) => {
      const host = port.hostPort ?? 0;
      return (isPod || host !== 0) && host !== port.containerPort ? [invalid(`${portAt}.hostPort`, host, "must match `containerPort` when `hostNetwork` is true")] : [];
    }),
  );
}

function validateDnsConfig(path: string, spec: Draft): FieldError[] {
  const config = spec.dnsConfig;
  if (spec.dnsPolicy === "None") {
    if (!config) return [required(path, "must provide `dnsConfig` when `dnsPolicy` is None")];
    if ((config.nameservers ?? []).length === 0) return [required(`${path}.nameservers`, "must provide at least one DNS nameserver when `dnsPolicy` is None")];
  }
  if (!config) return [];
  const errors: FieldError[] = [];
  const { nameservers = [], searches = [] } = config as { nameservers?: string[]; searches?: string[] };
  if (nameservers.length > 3) errors.push(invalid(`${path}.nameservers`, nameservers, "must not have more than 3 nameservers"));
  errors.push(...each(`${path}.nameservers`, nameservers, (address, at) => validateIP(at, address)));
  if (searches.length > 32) errors.push(invalid(`${path}.searches`, searches, "must not have more than 32 search paths"));
  if (searches.join(" ").length > 2048) errors.push(invalid(`${path}.searches`, searches, "must not have more than 2048 characters (including spaces) in the search list"));
  errors.push(...each(`${path}.searches`, searches, (search, at) => (search === "." ? [] : checked(at, search.replace(/\.$/, "").replaceAll("_", "a"), dns1123Subdomain).map((error) => invalidSearch(at, search, error)))));
  return [...errors, ...each(`${path}.options`, config.options, (option, at) => (option.name ? [] : [required(at, "must not be empty")]))];
}
/** Search paths may hold underscores, which the name check was spared; the message shows what was written. */
const invalidSearch = (path: string, search: string, error: FieldError): FieldError => invalid(path, search.replace(/\.$/, ""), error.body.slice(error.body.indexOf(": ", "Invalid value: ".length) + 2));

function validateSchedulingGates(path: string, gates: Draft[] | undefined): FieldError[] {
  const seen = new Set<string>();
  return each(path, gates, (gate, at) => {
    const errors = checked(at, gate.name ?? "", qualifiedName);
    if (seen.has(gate.name)) errors.push(duplicate(at, gate.name));
    seen.add(gate.name);
    return errors;
  });
}

/** A workload's template: labels, annotations and spec; what only pods may have is refused. */
export function validatePodTemplate(path: string, template: Draft): FieldError[] {
  if (!template) return [required(path)];
  const errors = [...validateLabels(template.metadata?.labels, `${path}.labels`), ...validateAnnotations(template.metadata?.annotations, `${path}.annotations`)];
  errors.push(...validatePodAnnotations(`${path}.annotations`, template.metadata?.annotations));
  errors.push(...validatePodSpec(`${path}.spec`, template.spec ?? {}, { isPod: false }));
  if ((template.spec?.ephemeralContainers ?? []).length > 0) errors.push(forbidden(`${path}.spec.ephemeralContainers`, "ephemeral containers not allowed in pod template"));
  return errors;
}

const deletionCost = "controller.kubernetes.io/pod-deletion-cost";

export function validatePodAnnotations(path: string, annotations: Record<string, string> | undefined): FieldError[] {
  const cost = annotations?.[deletionCost];
  if (cost === undefined || (/^(0|-?[1-9]\d*)$/.test(cost) && Math.abs(Number(cost)) <= int32Max)) return [];
  return [invalid(`${path}[${deletionCost}]`, cost, "must be a 32bit integer")];
}
