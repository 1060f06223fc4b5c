import type { KubeObject } from "../../../api/meta.ts";

/**
 * The Pod Security Standards: what each level forbids, from which minor version on, in upstream's words.
 * Source: k8s.io/pod-security-admission/policy.
 */
export type Level = "privileged" | "baseline" | "restricted";

/** What is looked at of a pod or of a template. */
export interface Subject {
  annotations: Readonly<Record<string, string>>;
  spec: PodSpec;
}
interface SecurityContext {
  allowPrivilegeEscalation?: boolean;
  privileged?: boolean;
  procMount?: string;
  runAsNonRoot?: boolean;
  runAsUser?: number;
  capabilities?: { add?: string[]; drop?: string[] };
  appArmorProfile?: { type?: string };
  seccompProfile?: { type?: string };
  seLinuxOptions?: { type?: string; user?: string; role?: string };
  windowsOptions?: { hostProcess?: boolean };
}
interface Handler {
  httpGet?: { host?: string };
  tcpSocket?: { host?: string };
}
interface Container {
  name: string;
  securityContext?: SecurityContext;
  ports?: { hostPort?: number }[];
  livenessProbe?: Handler;
  readinessProbe?: Handler;
  startupProbe?: Handler;
  lifecycle?: { postStart?: Handler; preStop?: Handler };
}
export interface PodSpec {
  containers?: Container[];
  initContainers?: Container[];
  ephemeralContainers?: Container[];
  volumes?: ({ name: string } & Record<string, unknown>)[];
  securityContext?: SecurityContext & { sysctls?: { name: string }[] };
  hostNetwork?: boolean;
  hostPID?: boolean;
  hostIPC?: boolean;
  hostUsers?: boolean;
  os?: { name: string };
}

/** What a check found wrong. */
export interface Violation {
  reason: string;
  detail: string;
}
type Check = (subject: Subject) => Violation | undefined;

interface Row {
  level: "baseline" | "restricted";
  /** Minor versions of the standard: from this one on, up to before that one. */
  from: number;
  until?: number;
  /** Is part of "baseline" alone from this version on: "restricted" has a stricter row. */
  overriddenFrom?: number;
  check: Check;
}

// — helpers —

const quoted = (items: Iterable<string>): string => [...items].map((item) => `"${item}"`).join(", ");
const sorted = (items: Iterable<string>): string[] => [...new Set(items)].sort();
const plural = (one: string, more: string, count: number): string => (count === 1 ? one : more);
const containersOf = (spec: PodSpec): Container[] => [...(spec.initContainers ?? []), ...(spec.containers ?? []), ...(spec.ephemeralContainers ?? [])];
/** `container "a"`, `containers "a", "b"` */
const named = (containers: readonly Container[]): string => `${plural("container", "containers", containers.length)} ${quoted(containers.map(({ name }) => name))}`;
const isWindows = (spec: PodSpec): boolean => spec.os?.name === "windows";

/** Who sets something bad: `pod and containers "a", "b"`. Undefined: nobody. */
function setters(spec: PodSpec, isBad: (context: SecurityContext) => boolean): string | undefined {
  const containers = containersOf(spec).filter(({ securityContext }) => securityContext && isBad(securityContext));
  const who = [...(spec.securityContext && isBad(spec.securityContext) ? ["pod"] : []), ...(containers.length > 0 ? [named(containers)] : [])];
  return who.length > 0 ? who.join(" and ") : undefined;
}
const contextsOf = (spec: PodSpec): SecurityContext[] => [spec.securityContext, ...containersOf(spec).map(({ securityContext }) => securityContext)].filter((context) => context !== undefined);
/** The same check, but not of pods with users of their own. */
const unlessOwnUsers =
  (check: Check): Check =>
  (subject) => (subject.spec.hostUsers === false ? undefined : check(subject));
const unlessWindows =
  (check: Check): Check =>
  (subject) => (isWindows(subject.spec) ? undefined : check(subject));

// — checks —

const goodAppArmor = ["RuntimeDefault", "Localhost"];
const appArmor: Check = ({ spec, annotations }) => {
  const isBad = ({ appArmorProfile }: SecurityContext) => appArmorProfile !== undefined && !goodAppArmor.includes(appArmorProfile.type ?? "");
  const who = setters(spec, isBad);
  const values = sorted(contextsOf(spec).filter(isBad).map(({ appArmorProfile }) => appArmorProfile!.type ?? ""));
  const bad = Object.entries(annotations)
    .filter(([key, value]) => key.startsWith("container.apparmor.security.beta.kubernetes.io/") && value !== "" && value !== "runtime/default" && !value.startsWith("localhost/"))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .sort();
  const all = [...(who ? [who] : []), ...(bad.length > 0 ? [plural("annotation", "annotations", bad.length)] : [])];
  if (all.length === 0) return undefined;
  return { reason: plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.length + bad.length), detail: `${all.join(" and ")} must not set AppArmor profile type to ${quoted([...values, ...bad])}` };
};

const defaultCapabilities = new Set(["AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"]);
function addedBeyond(spec: PodSpec, allowed: ReadonlySet<string>): string | undefined {
  const beyond = ({ securityContext }: Container) => (securityContext?.capabilities?.add ?? []).filter((capability) => !allowed.has(capability));
  const bad = containersOf(spec).filter((container) => beyond(container).length > 0);
  return bad.length > 0 ? `${named(bad)} must not include ${quoted(sorted(bad.flatMap(beyond)))} in securityContext.capabilities.add` : undefined;
}
const capabilities: Check = ({ spec }) => {
  const detail = addedBeyond(spec, defaultCapabilities);
  return detail ? { reason: "non-default capabilities", detail } : undefined;
};
const fewCapabilities: Check = ({ spec }) => {
  const keeping = containersOf(spec).filter(({ securityContext }) => !securityContext?.capabilities?.drop?.includes("ALL"));
  const added = addedBeyond(spec, new Set(["NET_BIND_SERVICE"]));
  const details = [...(keeping.length > 0 ? [`${named(keeping)} must set securityContext.capabilities.drop=["ALL"]`] : []), ...(added ? [added] : [])];
  return details.length > 0 ? { reason: "unrestricted capabilities", detail: details.join("; ") } : undefined;
};

const hostNamespaces: Check = ({ spec }) => {
  const set = (["hostNetwork", "hostPID", "hostIPC"] as const).filter((field) => spec[field]).map((field) => `${field}=true`);
  return set.length > 0 ? { reason: "host namespaces", detail: set.join(", ") } : undefined;
};

const hostPathVolumes: Check = ({ spec }) => {
  const bad = (spec.volumes ?? []).filter(({ hostPath }) => hostPath !== undefined).map(({ name }) => name);
  return bad.length > 0 ? { reason: "hostPath volumes", detail: `${plural("volume", "volumes", bad.length)} ${quoted(bad)}` } : undefined;
};

const hostPorts: Check = ({ spec }) => {
  const portsOf = ({ ports }: Container) => (ports ?? []).flatMap(({ hostPort }) => (hostPort ? [String(hostPort)] : []));
  const bad = containersOf(spec).filter((container) => portsOf(container).length > 0);
  const ports = sorted(bad.flatMap(portsOf));
  return bad.length > 0 ? { reason: "hostPort", detail: `${named(bad)} ${plural("uses", "use", bad.length)} ${plural("hostPort", "hostPorts", ports.length)} ${ports.join(", ")}` } : undefined;
};

const hostProbes: Check = ({ spec }) => {
  const hostsOf = ({ livenessProbe, readinessProbe, startupProbe, lifecycle }: Container) =>
    [livenessProbe, readinessProbe, startupProbe, lifecycle?.postStart, lifecycle?.preStop].flatMap((handler) => [handler?.httpGet?.host, handler?.tcpSocket?.host]).filter((host) => host !== undefined && host !== "") as string[];
  const bad = containersOf(spec).filter((container) => hostsOf(container).length > 0);
  const hosts = sorted(bad.flatMap(hostsOf));
  const names = sorted(bad.map(({ name }) => name)).map((name) => ({ name }));
  return bad.length > 0 ? { reason: "probe or lifecycle host", detail: `${named(names)} ${plural("uses", "use", bad.length)} ${plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.length)} ${quoted(hosts)}` } : undefined;
};

const privileged: Check = ({ spec }) => {
  const bad = containersOf(spec).filter(({ securityContext }) => securityContext?.privileged);
  return bad.length > 0 ? { reason: "privileged", detail: `${named(bad)} must not set securityContext.privileged=true` } : undefined;
};

const procMount: Check = ({ spec }) => {
  const bad = containersOf(spec).filter(({ securityContext }) => securityContext?.procMount !== undefined && securityContext.procMount !== "Default");
  return bad.length > 0 ? { reason: "procMount", detail: `${named(bad)} must not set securityContext.procMount to ${quoted(sorted(bad.map(({ securityContext }) => securityContext!.procMount!)))}` } : undefined;
};

const seLinuxTypes = ["", "container_t", "container_init_t", "container_kvm_t"];
const seLinux =
  (types: readonly string[]): Check =>
  ({ spec }) => {
    const badType = ({ seLinuxOptions }: SecurityContext) => seLinuxOptions !== undefined && !types.includes(seLinuxOptions.type ?? "");
    const who = setters(spec, (context) => badType(context) || Boolean(context.seLinuxOptions?.user) || Boolean(context.seLinuxOptions?.role));
    if (!who) return undefined;
    const contexts = contextsOf(spec);
    const bad = sorted(contexts.filter(badType).map(({ seLinuxOptions }) => seLinuxOptions!.type!));
    const data = [
      ...(bad.length > 0 ? [`${plural("type", "types", bad.length)} ${quoted(bad)}`] : []),
      ...(contexts.some(({ seLinuxOptions }) => seLinuxOptions?.user) ? ["user may not be set"] : []),
      ...(contexts.some(({ seLinuxOptions }) => seLinuxOptions?.role) ? ["role may not be set"] : []),
    ];
    return { reason: "seLinuxOptions", detail: `${who} set forbidden securityContext.seLinuxOptions: ${data.join("; ")}` };
  };

const goodSeccomp = ["RuntimeDefault", "Localhost"];
const isBadSeccomp = ({ seccompProfile }: SecurityContext) => seccompProfile !== undefined && !goodSeccomp.includes(seccompProfile.type ?? "");
const seccompAnnotations: Check = ({ spec, annotations }) => {
  const keys = ["seccomp.security.alpha.kubernetes.io/pod", ...containersOf(spec).map(({ name }) => `container.seccomp.security.alpha.kubernetes.io/${name}`)];
  const bad = sorted(keys.filter((key) => annotations[key] !== undefined && !/^(runtime\/default|docker\/default|localhost\/.*)$/.test(annotations[key])).map((key) => `${key}=${JSON.stringify(annotations[key])}`));
  return bad.length > 0 ? { reason: "seccompProfile", detail: `forbidden ${plural("annotation", "annotations", bad.length)} ${bad.join(", ")}` } : undefined;
};
const seccomp: Check = ({ spec }) => {
  const who = setters(spec, isBadSeccomp);
  return who ? { reason: "seccompProfile", detail: `${who} must not set securityContext.seccompProfile.type to ${quoted(sorted(contextsOf(spec).filter(isBadSeccomp).map(({ seccompProfile }) => seccompProfile!.type ?? "")))}` } : undefined;
};
const seccompRequired: Check = (subject) => {
  const { spec } = subject;
  const isSet = spec.securityContext?.seccompProfile !== undefined && !isBadSeccomp(spec.securityContext);
  const without = isSet ? [] : containersOf(spec).filter(({ securityContext }) => securityContext?.seccompProfile === undefined);
  return seccomp(subject) ?? (without.length > 0 ? { reason: "seccompProfile", detail: `pod or ${named(without)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"` } : undefined);
};

const sysctlsAllowed = [
  { from: 0, names: ["kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start"] },
  { from: 27, names: ["net.ipv4.ip_local_reserved_ports"] },
  { from: 29, names: ["net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes"] },
  { from: 32, names: ["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"] },
];
const sysctls = (version: number): Check => {
  const allowed = new Set(sysctlsAllowed.filter(({ from }) => from <= version).flatMap(({ names }) => names));
  return ({ spec }) => {
    const bad = (spec.securityContext?.sysctls ?? []).map(({ name }) => name).filter((name) => !allowed.has(name));
    return bad.length > 0 ? { reason: "forbidden sysctls", detail: bad.join(", ") } : undefined;
  };
};

const hostProcess: Check = ({ spec }) => {
  const who = setters(spec, ({ windowsOptions }) => windowsOptions?.hostProcess === true);
  return who ? { reason: "hostProcess", detail: `${who} must not set securityContext.windowsOptions.hostProcess=true` } : undefined;
};

const escalation: Check = ({ spec }) => {
  const bad = containersOf(spec).filter(({ securityContext }) => securityContext?.allowPrivilegeEscalation !== false);
  return bad.length > 0 ? { reason: "allowPrivilegeEscalation != false", detail: `${named(bad)} must set securityContext.allowPrivilegeEscalation=false` } : undefined;
};

const freeVolumes = ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"];
const volumes: Check = ({ spec }) => {
  const bad = (spec.volumes ?? []).filter((volume) => !freeVolumes.some((type) => volume[type] !== undefined));
  const types = sorted(bad.map((volume) => Object.keys(volume).find((key) => key !== "name") ?? "unknown"));
  return bad.length > 0 ? { reason: "restricted volume types", detail: `${plural("volume", "volumes", bad.length)} ${quoted(bad.map(({ name }) => name))} ${plural("uses", "use", bad.length)} ${plural("restricted volume type", "restricted volume types", types.length)} ${quoted(types)}` } : undefined;
};

const runAsNonRoot: Check = ({ spec }) => {
  const reason = "runAsNonRoot != true";
  const who = setters(spec, (context) => context.runAsNonRoot === false);
  if (who) return { reason, detail: `${who} must not set securityContext.runAsNonRoot=false` };
  const silent = spec.securityContext?.runAsNonRoot ? [] : containersOf(spec).filter(({ securityContext }) => securityContext?.runAsNonRoot === undefined);
  return silent.length > 0 ? { reason, detail: `pod or ${named(silent)} must set securityContext.runAsNonRoot=true` } : undefined;
};
const runAsUser: Check = ({ spec }) => {
  const who = setters(spec, (context) => context.runAsUser === 0);
  return who ? { reason: "runAsUser=0", detail: `${who} must not set runAsUser=0` } : undefined;
};

/** In the order in which violations are told. */
const rows: readonly Row[] = [
  { level: "baseline", from: 0, check: appArmor },
  { level: "baseline", from: 0, overriddenFrom: 22, check: capabilities },
  { level: "baseline", from: 0, check: hostNamespaces },
  { level: "baseline", from: 0, overriddenFrom: 0, check: hostPathVolumes },
  { level: "baseline", from: 0, check: hostPorts },
  { level: "baseline", from: 34, check: hostProbes },
  { level: "baseline", from: 0, check: privileged },
  { level: "baseline", from: 0, until: 35, check: procMount },
  { level: "baseline", from: 35, overriddenFrom: 35, check: unlessOwnUsers(procMount) },
  { level: "baseline", from: 0, until: 31, check: seLinux(seLinuxTypes) },
  { level: "baseline", from: 31, check: seLinux([...seLinuxTypes, "container_engine_t"]) },
  { level: "baseline", from: 0, until: 19, check: seccompAnnotations },
  { level: "baseline", from: 19, overriddenFrom: 19, check: seccomp },
  { level: "baseline", from: 0, until: 27, check: sysctls(0) },
  { level: "baseline", from: 27, until: 29, check: sysctls(27) },
  { level: "baseline", from: 29, until: 32, check: sysctls(29) },
  { level: "baseline", from: 32, check: sysctls(32) },
  { level: "baseline", from: 0, check: hostProcess },
  { level: "restricted", from: 8, until: 25, check: escalation },
  { level: "restricted", from: 25, check: unlessWindows(escalation) },
  { level: "restricted", from: 22, until: 25, check: fewCapabilities },
  { level: "restricted", from: 25, check: unlessWindows(fewCapabilities) },
  { level: "restricted", from: 35, check: procMount },
  { level: "restricted", from: 0, check: volumes },
  { level: "restricted", from: 0, until: 35, check: runAsNonRoot },
  { level: "restricted", from: 35, check: unlessOwnUsers(runAsNonRoot) },
  { level: "restricted", from: 23, until: 35, check: runAsUser },
  { level: "restricted", from: 35, check: unlessOwnUsers(runAsUser) },
  { level: "restricted", from: 19, until: 25, check: seccompRequired },
  { level: "restricted", from: 25, check: unlessWindows(seccompRequired) },
];

/** What the level forbids of the subject, by the standard's version of this minor number (Infinity: the newest). */
export function violations(level: Level, version: number, subject: Subject): Violation[] {
  if (level === "privileged") return [];
  return rows.flatMap((row) => {
    if (version < row.from || (row.until !== undefined && version >= row.until)) return [];
    const applies = row.level === "restricted" ? level === "restricted" : level === "baseline" || row.overriddenFrom === undefined || version < row.overriddenFrom;
    return applies ? (row.check(subject) ?? []) : [];
  });
}

/** What is looked at of an object: a pod, or what makes pods. Undefined: it holds no pod. */
export function subjectOf(kind: string, object: KubeObject): Subject | undefined {
  type Template = { metadata?: { annotations?: Record<string, string> }; spec?: PodSpec };
  const spec = object["spec"] as { template?: Template; jobTemplate?: { spec?: { template?: Template } } } | undefined;
  const template: Template | undefined = kind === "Pod" ? (object as unknown as Template) : kind === "PodTemplate" ? (object["template"] as Template | undefined) : kind === "CronJob" ? spec?.jobTemplate?.spec?.template : spec?.template;
  return template?.spec && { annotations: template.metadata?.annotations ?? {}, spec: template.spec };
}
