import { duplicate, type FieldError, invalid, notSupported, required } from "../../../field.ts";
import { each, oneOf, oneOfOptional } from "../../../validation/checks.ts";
import { rangeError } from "../../../validation/names.ts";
import { validateWindowsOptions } from "./windows.ts";

// Shapes were proved by the schema; `any` stands for "as the schema says".
type Draft = any;

/**
 * Security contexts: whether they make sense. Whether they are allowed here is admission's matter.
 * Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go.
 */
const idMax = 2 ** 31 - 1;
const validateId = (path: string, id: number | undefined): FieldError[] => (id === undefined || (id >= 0 && id <= idMax) ? [] : [invalid(path, id, rangeError(0, idMax))]);

export function validatePodSecurity(path: string, context: Draft, spec: Draft): FieldError[] {
  if (!context) return [];
  const errors: FieldError[] = [];
  for (const field of ["fsGroup", "runAsUser", "runAsGroup"]) errors.push(...validateId(`${path}.${field}`, context[field]));
  errors.push(...each(`${path}.supplementalGroups`, context.supplementalGroups, (group: number, at) => validateId(at, group)));
  if (spec.shareProcessNamespace === true && spec.hostPID === true) errors.push(invalid(`${path}.shareProcessNamespace`, true, "ShareProcessNamespace and HostPID cannot both be enabled"));
  const names = new Set<string>();
  errors.push(
    ...each(`${path}.sysctls`, context.sysctls, (sysctl, at) => {
      const name: string = sysctl.name ?? "";
      if (name === "") return [required(`${at}.name`)];
      if (name.length > 253 || !sysctlPattern.test(name)) return [invalid(`${at}.name`, name, `must have at most 253 characters and match regex ${sysctlPattern.source}`)];
      if (names.has(name)) return [duplicate(`${at}.name`, name)];
      names.add(name);
      return [];
    }),
  );
  errors.push(...oneOfOptional(`${path}.fsGroupChangePolicy`, context.fsGroupChangePolicy, ["Always", "OnRootMismatch"]));
  errors.push(...validateProfile(`${path}.seccompProfile`, context.seccompProfile, "seccomp"), ...validateWindowsOptions(`${path}.windowsOptions`, context.windowsOptions), ...validateProfile(`${path}.appArmorProfile`, context.appArmorProfile, "AppArmor"));
  return [...errors, ...oneOfOptional(`${path}.supplementalGroupsPolicy`, context.supplementalGroupsPolicy, ["Merge", "Strict"])];
}
const sysctlPattern = new RegExp("^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");

export function validateContainerSecurity(path: string, context: Draft): FieldError[] {
  if (!context) return [];
  const errors = [...validateId(`${path}.runAsUser`, context.runAsUser), ...validateId(`${path}.runAsGroup`, context.runAsGroup)];
  errors.push(...oneOfOptional(`${path}.procMount`, context.procMount, ["Default", "Unmasked"]));
  errors.push(...validateProfile(`${path}.seccompProfile`, context.seccompProfile, "seccomp"));
  if (context.allowPrivilegeEscalation === false) {
    if (context.privileged === true) errors.push(invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
    if ((context.capabilities?.add ?? []).includes("CAP_SYS_ADMIN")) errors.push(invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"));
  }
  return [...errors, ...validateWindowsOptions(`${path}.windowsOptions`, context.windowsOptions), ...validateProfile(`${path}.appArmorProfile`, context.appArmorProfile, "AppArmor")];
}

function validateProfile(path: string, profile: Draft, what: "seccomp" | "AppArmor"): FieldError[] {
  if (!profile) return [];
  const errors: FieldError[] = [];
  const local = profile.localhostProfile;
  const localPath = `${path}.localhostProfile`;
  if (profile.type === "Localhost") {
    if (!local) errors.push(required(localPath, `must be set when ${what} type is Localhost${what === "seccomp" ? " " : ""}`));
    else if (what === "AppArmor" && local !== local.trim()) errors.push(invalid(localPath, local, "must not be padded with whitespace"));
    else if (what === "seccomp" && local.startsWith("/")) errors.push(invalid(localPath, local, "must be a relative path"));
    else if (what === "seccomp" && local.split("/").includes("..")) errors.push(invalid(localPath, local, "must not contain '..'"));
  } else if (local !== undefined) errors.push(invalid(localPath, local, `can only be set when ${what} type is Localhost`));
  const types = ["Localhost", "RuntimeDefault", "Unconfined"];
  if (!profile.type) return [required(`${path}.type`, `type is required when ${what === "seccomp" ? "seccompProfile" : "appArmorProfile"} is set`), ...errors];
  return types.includes(profile.type) ? errors : [notSupported(`${path}.type`, profile.type, types), ...errors];
}

/** Whether a Windows pod is asked for is for the scheduler; its name must be known. */
export const validateOs = (path: string, os: Draft): FieldError[] => (os ? oneOf(os.name ? path : `${path}.name`, os.name, ["linux", "windows"]) : []);
