import { type FieldError, forbidden, invalid } from "../../../field.ts";
import { checked, each } from "../../../validation/checks.ts";
import { dns1123Subdomain } from "../../../validation/names.ts";

// Shapes were proved by the schema; `any` stands for "as the schema says".
type Draft = any;

/**
 * What is said to Windows, which does not run here: it is checked as upstream checks it, so that a manifest is as good here
 * as there. Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go.
 */
const specKiBMax = 64;
const domainLengthMax = 256;
const userLengthMax = 104;
const controls = /\p{Cc}/u;
const netBios = /^[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}$/;
const dnsLabel = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";
const dnsName = new RegExp(`^${dnsLabel}(?:\\.${dnsLabel})*$`);

/** Of one container, or of the pod. */
export function validateWindowsOptions(path: string, options: Draft): FieldError[] {
  if (!options) return [];
  const { gmsaCredentialSpecName: name, gmsaCredentialSpec: spec, runAsUserName: user } = options as Record<string, string | undefined>;
  const errors = name === undefined ? [] : checked(`${path}.gmsaCredentialSpecName`, name, dns1123Subdomain);
  if (spec === "") errors.push(invalid(`${path}.gmsaCredentialSpec`, spec, "gmsaCredentialSpec cannot be an empty string"));
  else if (spec !== undefined && Buffer.byteLength(spec) > specKiBMax * 1024) errors.push(invalid(`${path}.gmsaCredentialSpec`, spec, `gmsaCredentialSpec size must be under ${specKiBMax} KiB`));
  return user === undefined ? errors : [...errors, ...userMistakes(user).map((text) => invalid(`${path}.runAsUserName`, user, text))];
}

/** "user" or "domain\user". */
function userMistakes(name: string): string[] {
  if (name === "") return ["runAsUserName cannot be an empty string"];
  if (controls.test(name)) return ["runAsUserName cannot contain control characters"];
  const parts = name.split("\\");
  if (parts.length > 2) return ["runAsUserName cannot contain more than one backslash"];
  const [user, domain] = parts.toReversed() as [string, string?];
  const mistakes: string[] = [];
  if (domain !== undefined && Buffer.byteLength(domain) >= domainLengthMax) mistakes.push(`runAsUserName's Domain length must be under ${domainLengthMax} characters`);
  if (domain !== undefined && !netBios.test(domain) && !dnsName.test(domain)) mistakes.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
  if (user === "") mistakes.push("runAsUserName's User cannot be empty");
  else if (Buffer.byteLength(user) > userLengthMax) mistakes.push(`runAsUserName's User length must not be longer than ${userLengthMax} characters`);
  if (/^[. ]+$/.test(user)) mistakes.push("runAsUserName's User cannot contain only periods or spaces");
  if (/["/\\:;|=,+*?<>@[\]]/.test(user)) mistakes.push(`runAsUserName's User cannot contain the following characters: "/\\:;|=,+*?<>@[]`);
  return mistakes;
}

/** Containers that are processes of their host: all of a pod or none, and in the host's network. */
export function validateHostProcess(path: string, spec: Draft): FieldError[] {
  const ofPod: boolean | undefined = spec.securityContext?.windowsOptions?.hostProcess;
  const errors: FieldError[] = [];
  let all = 0;
  let processes = 0;
  for (const list of ["initContainers", "containers", "ephemeralContainers"]) {
    for (const [index, container] of ((spec[list] ?? []) as Draft[]).entries()) {
      all++;
      const own: boolean | undefined = container.securityContext?.windowsOptions?.hostProcess;
      if (own ?? ofPod) processes++;
      if (ofPod !== undefined && own !== undefined && own !== ofPod) errors.push(invalid(`${path}.${list}[${index}].securityContext.windowsOptions.hostProcess`, own, `pod hostProcess value must be identical if both are specified, was ${ofPod}`));
    }
  }
  if (processes === 0) return errors;
  if (processes !== all) errors.push(invalid(path, "", "If pod contains any hostProcess containers then all containers must be HostProcess containers"));
  if (!spec.hostNetwork) errors.push(invalid(`${path}.hostNetwork`, false, "hostNetwork must be true if pod contains any hostProcess containers"));
  return errors;
}

/** A pod that says it is for Linux has nothing to say to Windows. */
export function validateForLinux(path: string, spec: Draft): FieldError[] {
  if (spec.os?.name !== "linux") return [];
  const text = "windows options cannot be set for a linux pod";
  const errors = spec.securityContext?.windowsOptions ? [forbidden(`${path}.securityContext.windowsOptions`, text)] : [];
  for (const list of ["initContainers", "containers", "ephemeralContainers"]) errors.push(...each(`${path}.${list}`, spec[list], (container: Draft, at) => (container.securityContext?.windowsOptions ? [forbidden(`${at}.securityContext.windowsOptions`, text)] : [])));
  return errors;
}
