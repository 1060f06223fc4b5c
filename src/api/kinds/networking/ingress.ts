import { isIP } from "node:net";
import { type FieldError, forbidden, invalid, notSupported, required, tooLong } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { validateIP } from "../../validation/address.ts";
import { checked, domainPrefixedPath, each, immutable } from "../../validation/checks.ts";
import { dns1035Label, dns1123Label, dns1123Subdomain, nameIsDnsSubdomain, nameIsPathSegment, portName, portNumber, wildcardDns1123Subdomain } from "../../validation/names.ts";
import { ageOf, loadBalancerText, name, text } from "../columns.ts";

const classAnnotation = "kubernetes.io/ingress.class";

/** An object of whatever kind, whose kind and name may stand in a URL. */
function validateReference(path: string, reference: any): FieldError[] {
  const { apiGroup } = reference;
  const errors = apiGroup === undefined || apiGroup === null ? [] : checked(`${path}.apiGroup`, apiGroup, dns1123Subdomain);
  for (const field of ["kind", "name"]) errors.push(...(reference[field] ? nameIsPathSegment(reference[field], false).map((text) => invalid(`${path}.${field}`, reference[field], text)) : [required(`${path}.${field}`)]));
  return errors;
}

function validateBackend(path: string, backend: any): FieldError[] {
  const { service, resource } = backend;
  if (service && resource) return [invalid(path, "", "cannot set both resource and service backends")];
  if (resource) return validateReference(`${path}.resource`, resource);
  if (!service) return [invalid(path, "", "resource or service backend is required")];
  const errors: FieldError[] = service.name ? checked(`${path}.service.name`, service.name, dns1035Label) : [required(`${path}.service.name`)];
  const { name: portOf, number } = service.port ?? {};
  if (portOf && number) errors.push(invalid(path, "", "cannot set both port name & port number"));
  else if (portOf) errors.push(...checked(`${path}.service.port.name`, portOf, portName));
  else if (number) errors.push(...portNumber(number).map((text) => invalid(`${path}.service.port.number`, number, text)));
  else errors.push(required(path, "port name or number is required"));
  return errors;
}

const pathTypes = ["Exact", "ImplementationSpecific", "Prefix"];
const badSequences = ["//", "/./", "/../", "%2f", "%2F"];
const badSuffixes = ["/..", "/."];

function validatePath(at: string, entry: any): FieldError[] {
  const { path = "", pathType } = entry;
  if (pathType === undefined || pathType === null) return [required(`${at}.pathType`, "pathType must be specified")];
  const errors: FieldError[] = [];
  if (pathType === "Exact" || pathType === "Prefix") {
    if (!path.startsWith("/")) errors.push(invalid(`${at}.path`, path, "must be an absolute path"));
    for (const bad of badSequences) if (path.includes(bad)) errors.push(invalid(`${at}.path`, path, `must not contain '${bad}'`));
    for (const bad of badSuffixes) if (path.endsWith(bad)) errors.push(invalid(`${at}.path`, path, `cannot end with '${bad}'`));
  } else if (pathType === "ImplementationSpecific") {
    if (path !== "" && !path.startsWith("/")) errors.push(invalid(`${at}.path`, path, "must be an absolute path"));
  } else errors.push(notSupported(`${at}.pathType`, pathType, pathTypes));
  return [...errors, ...validateBackend(`${at}.backend`, entry.backend ?? {})];
}

const validateHost = (path: string, host: string): FieldError[] => checked(path, host, host.includes("*") ? wildcardDns1123Subdomain : dns1123Subdomain);

function validate({ spec }: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  if ((spec.rules ?? []).length === 0 && !spec.defaultBackend) errors.push(invalid("spec", spec.rules, "either `defaultBackend` or `rules` must be specified"));
  if (spec.defaultBackend) errors.push(...validateBackend("spec.defaultBackend", spec.defaultBackend));
  errors.push(
    ...each("spec.rules", spec.rules, (rule, at) => {
      const found: FieldError[] = [];
      if (rule.host) found.push(...(isIP(rule.host) === 0 ? [] : [invalid(`${at}.host`, rule.host, "must be a DNS name, not an IP address")]), ...validateHost(`${at}.host`, rule.host));
      if (!rule.http) return found;
      if ((rule.http.paths ?? []).length === 0) found.push(required(`${at}.http.paths`));
      return [...found, ...each(`${at}.http.paths`, rule.http.paths, (entry, pathAt) => validatePath(pathAt, entry))];
    }),
  );
  errors.push(
    ...each("spec.tls", spec.tls, (tls, at) => [
      ...each(`${at}.hosts`, tls.hosts, (host: string, hostAt) => validateHost(hostAt, host)),
      ...(tls.secretName ? nameIsDnsSubdomain(tls.secretName, false).map((text) => invalid(`${at}.secretName`, tls.secretName, text)) : []),
    ]),
  );
  if (spec.ingressClassName !== undefined) errors.push(...nameIsDnsSubdomain(spec.ingressClassName, false).map((text) => invalid("spec.ingressClassName", spec.ingressClassName, text)));
  return errors;
}

function hosts({ spec }: KubeObject): string {
  const rules: { host?: string }[] = spec?.rules ?? [];
  const shown: string[] = [];
  let more = false;
  for (const rule of rules) {
    if (shown.length === 3) more = true;
    if (!more && rule.host) shown.push(rule.host);
  }
  if (shown.length === 0) return "*";
  return more ? `${shown.join(",")} + ${rules.length - 3} more...` : shown.join(",");
}

/** Source: k8s.io/kubernetes/pkg/apis/networking/validation/validation.go. */
export const ingress: Strategy = {
  hasStatus: true,
  defaults(object) {
    object.spec ??= {};
  },
  prepareForCreate(object) {
    object.status = { loadBalancer: {} };
  },
  validate(object) {
    const annotated = object.metadata.annotations?.[classAnnotation];
    const named = object.spec.ingressClassName;
    return [...validate(object), ...(annotated !== undefined && named !== undefined && annotated !== named ? [invalid(`annotations.${classAnnotation}`, annotated, "must match `ingressClassName` when both are specified")] : [])];
  },
  validateStatusUpdate: ({ status }) =>
    each("status.loadBalancer.ingress", status?.loadBalancer?.ingress, ({ ip, hostname }, at) => [
      ...(ip ? validateIP(`${at}.ip`, ip) : []),
      ...(hostname ? checked(`${at}.hostname`, hostname, dns1123Subdomain) : []),
      ...(hostname && isIP(hostname) !== 0 ? [invalid(`${at}.hostname`, hostname, "must be a DNS name, not an IP address")] : []),
    ]),
  warnings: ({ metadata, spec }, old) => {
    const annotated = metadata.annotations?.[classAnnotation] !== undefined && old?.metadata.annotations?.[classAnnotation] === undefined && !spec.ingressClassName;
    return annotated ? [`annotation ${JSON.stringify(classAnnotation)} is deprecated, please use 'spec.ingressClassName' instead`] : [];
  },
  columns: [
    name,
    text("Class", ({ spec }) => spec?.ingressClassName, "<none>"),
    text("Hosts", hosts),
    text("Address", ({ status }) => loadBalancerText(status)),
    text("Ports", ({ spec }) => ((spec?.tls ?? []).length > 0 ? "80, 443" : "80")),
    ageOf,
  ],
};

const controllerBytesMax = 250;

function validateClass({ spec }: KubeObject): FieldError[] {
  const { controller = "", parameters } = spec ?? {};
  const errors = Buffer.byteLength(controller) > controllerBytesMax ? [tooLong("spec.controller", controllerBytesMax)] : [];
  errors.push(...domainPrefixedPath("spec.controller", controller));
  if (!parameters) return errors;
  errors.push(...validateReference("spec.parameters", parameters));
  if (!["Cluster", "Namespace"].includes(parameters.scope)) errors.push(notSupported("spec.parameters.scope", parameters.scope ?? "", ["Cluster", "Namespace"]));
  if (parameters.scope === "Namespace") errors.push(...(parameters.namespace === undefined ? [required("spec.parameters.namespace", "`parameters.scope` is set to 'Namespace'")] : checked("spec.parameters.namespace", parameters.namespace, dns1123Label)));
  if (parameters.scope === "Cluster" && parameters.namespace !== undefined) errors.push(forbidden("spec.parameters.namespace", "`parameters.scope` is set to 'Cluster'"));
  return errors;
}

export const ingressClass: Strategy = {
  defaults(object) {
    object.spec ??= {};
    if (object.spec.parameters) object.spec.parameters.scope ??= "Cluster";
  },
  validate: validateClass,
  judgesChangeFirst: true,
  validateUpdate: (object, old) => immutable("spec.controller", object.spec?.controller ?? "", old.spec?.controller ?? ""),
  columns: [
    name,
    text("Controller", ({ spec }) => spec?.controller),
    text("Parameters", ({ spec }) => (spec?.parameters ? `${spec.parameters.kind}${spec.parameters.apiGroup === undefined ? "" : `.${spec.parameters.apiGroup}`}/${spec.parameters.name}` : ""), "<none>"),
    ageOf,
  ],
};
