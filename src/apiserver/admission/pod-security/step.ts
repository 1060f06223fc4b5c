import { type FieldError, invalid } from "../../../api/field.ts";
import { controllerOf, type KubeObject } from "../../../api/meta.ts";
import { forbiddenError, invalidError } from "../../../api/status.ts";
import type { ApiOptions } from "../../api.ts";
import type { AdmissionRequest, AdmissionStep } from "../../rest/context.ts";
import type { Level, PodSpec, Violation } from "./checks.ts";
import { lazyModule } from "../../../base/lazy.ts";

const checks = lazyModule<typeof import("./checks.ts")>(import.meta.url, "./checks.ts");

/** A level by the standard's version: a minor number, or Infinity for the newest. */
interface LevelVersion {
  level: Level;
  version: number;
}
type Mode = "enforce" | "audit" | "warn";
type Policy = Record<Mode, LevelVersion>;

const prefix = "pod-security.kubernetes.io/";
const levels: readonly Level[] = ["privileged", "baseline", "restricted"];
const text = ({ level, version }: LevelVersion): string => `${level}:${version === Infinity ? "latest" : `v1.${version}`}`;

/** What holds pods, by group and resource. */
const holders = new Set([".pods", ".replicationcontrollers", ".podtemplates", "apps.replicasets", "apps.deployments", "apps.statefulsets", "apps.daemonsets", "batch.jobs", "batch.cronjobs"]);
const unjudged = new Set(["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"]);
/** As upstream: of a namespace with very many pods, the first ones tell enough. */
const podsCheckedMax = 3000;

/**
 * Holds pods to the levels that labels of their namespace name. Pods are refused; what makes pods is warned about,
 * and so is who makes a namespace stricter than its pods. Source: k8s.io/pod-security-admission/admission.
 */
export function podSecurity({ store }: Pick<ApiOptions, "store">): AdmissionStep {
  return {
    name: "PodSecurity",
    validate(request) {
      const { operation, kind, subresource, namespace, object, old } = request;
      if ((operation !== "CREATE" && operation !== "UPDATE") || !object) return;
      if (kind.group === "" && kind.resource === "namespaces") {
        if (subresource === undefined) judgeNamespace(request);
        return;
      }
      if (!holders.has(`${kind.group}.${kind.resource}`) || namespace === undefined) return;
      const isPod = kind.resource === "pods" && kind.group === "";
      if (isPod ? unjudged.has(subresource ?? "") : subresource !== undefined) return;
      const labels = (store.get(`/core/namespaces/${namespace}`)?.object as KubeObject | undefined)?.metadata.labels;
      const policy = policyOf(labels).policy;
      if (policy.warn.level === "privileged" && policy.audit.level === "privileged" && (!isPod || policy.enforce.level === "privileged")) {
        if (isPod && request.annotations) request.annotations[`${prefix}enforce-policy`] = text(policy.enforce);
        return;
      }
      if (isPod && old && !isSignificant(object["spec"] as PodSpec, old["spec"] as PodSpec)) return;
      judge(request, policy, isPod);
    },
  };

  function judge(request: AdmissionRequest, policy: Policy, enforced: boolean): void {
    const { kind, object, name, warnings } = request;
    const subject = checks().subjectOf(kind.kind, object!);
    if (!subject) return;
    const found = (mode: Mode) => checks().violations(policy[mode].level, policy[mode].version, subject);
    const notes = (request.annotations ??= {});
    if (enforced) notes[`${prefix}enforce-policy`] = text(policy.enforce);
    const audited = found("audit");
    if (audited.length > 0) notes[`${prefix}audit-violations`] = `would violate PodSecurity "${text(policy.audit)}": ${details(audited)}`;
    const refused = enforced ? found("enforce") : [];
    if (refused.length > 0) throw forbiddenError(kind, object!.metadata.name || name, `violates PodSecurity "${text(policy.enforce)}": ${details(refused)}`);
    const warned = found("warn");
    if (warned.length > 0) warnings.push(`would violate PodSecurity "${text(policy.warn)}": ${details(warned)}`);
  }

  function judgeNamespace({ kind, operation, object, old, name, warnings }: AdmissionRequest): void {
    const { policy, errors } = policyOf(object!.metadata.labels);
    const before = policyOf(old?.metadata.labels);
    if (errors.length > 0 && (!old || JSON.stringify(errors) !== JSON.stringify(before.errors))) throw invalidError(kind, name, errors);
    if (operation === "CREATE") return;
    const { enforce } = policy;
    const was = before.policy.enforce;
    if (text(enforce) === text(was) || enforce.level === "privileged" || (enforce.version === was.version && levels.indexOf(enforce.level) <= levels.indexOf(was.level))) return;
    warnings.push(...violationsIn(name, enforce));
  }

  function violationsIn(namespace: string, enforce: LevelVersion): string[] {
    const pods = byController(store.range(`/core/pods/${namespace}/`).map((entry) => entry.object as unknown as KubeObject));
    const checked = pods.slice(0, podsCheckedMax);
    const found = new Map<string, { name: string; count: number }>();
    for (const pod of checked) {
      const reasons = checks().violations(enforce.level, enforce.version, checks().subjectOf("Pod", pod)!).map(({ reason }) => reason);
      if (reasons.length === 0) continue;
      const warning = reasons.join(", ");
      const seen = found.get(warning);
      found.set(warning, { name: seen && seen.name < pod.metadata.name ? seen.name : pod.metadata.name, count: (seen?.count ?? 0) + 1 });
    }
    const lines = [...found].map(([warning, { name, count }]) => `${name}${count === 1 ? "" : count === 2 ? " (and 1 other pod)" : ` (and ${count - 1} other pods)`}: ${warning}`).sort();
    return [
      ...(checked.length < pods.length ? [`new PodSecurity enforce level only checked against the first ${checked.length} of ${pods.length} existing pods`] : []),
      ...(lines.length > 0 ? [`existing pods in namespace ${JSON.stringify(namespace)} violate the new PodSecurity enforce level ${JSON.stringify(text(enforce))}`] : []),
      ...lines,
    ];
  }
}

/** One pod of each controller first: where not all are looked at, all kinds of pods are. */
function byController(pods: readonly KubeObject[]): KubeObject[] {
  const seen = new Set<string>();
  const [first, more]: [KubeObject[], KubeObject[]] = [[], []];
  for (const pod of pods) {
    const owner = controllerOf(pod)?.uid;
    if (owner !== undefined && seen.has(owner)) more.push(pod);
    else first.push(pod);
    if (owner !== undefined) seen.add(owner);
  }
  return [...first, ...more];
}

/** "host ports (container "a" uses hostPort 80), privileged" */
const details = (found: readonly Violation[]): string => found.map(({ reason, detail }) => (detail ? `${reason} (${detail})` : reason)).join(", ");

/** An unreadable label counts as the strictest level where it would refuse, and as none where it would only tell. */
function policyOf(labels: Record<string, string> | undefined): { policy: Policy; errors: FieldError[] } {
  const errors: FieldError[] = [];
  const read = (mode: Mode): LevelVersion => {
    const [levelKey, versionKey] = [`${prefix}${mode}`, `${prefix}${mode}-version`];
    const [level, version] = [labels?.[levelKey], labels?.[versionKey]];
    const isLevel = level === undefined || levels.includes(level as Level);
    const minor = version === undefined || version === "latest" ? Infinity : /^v1\.(0|[1-9]\d*)$/.test(version) ? Number(version.slice(3)) : undefined;
    if (!isLevel) errors.push(invalid(`metadata.labels[${levelKey}]`, level, `must be one of ${levels.join(", ")}`));
    if (minor === undefined) errors.push(invalid(`metadata.labels[${versionKey}]`, version, `must be "latest" or "v1.x"`));
    return { level: level === undefined ? "privileged" : isLevel ? (level as Level) : mode === "enforce" ? "restricted" : "privileged", version: minor ?? Infinity };
  };
  const policy: Policy = { enforce: read("enforce"), audit: read("audit"), warn: read("warn") };
  // Who enforces is also warned about what will be refused later.
  const enforces = levels.includes(labels?.[`${prefix}enforce`] as Level);
  if (enforces && labels?.[`${prefix}warn`] === undefined) policy.warn = { level: policy.enforce.level, version: labels?.[`${prefix}warn-version`] === undefined ? policy.enforce.version : policy.warn.version };
  return { policy, errors };
}

/** Of a pod that exists, images change and ephemeral containers come; nothing else that is judged can. */
function isSignificant(spec: PodSpec, old: PodSpec): boolean {
  const images = (of: PodSpec) => [of.containers, of.initContainers, of.ephemeralContainers].map((list) => (list ?? []).map((container) => `${container.name} ${(container as { image?: string }).image}`));
  return JSON.stringify(images(spec)) !== JSON.stringify(images(old));
}
