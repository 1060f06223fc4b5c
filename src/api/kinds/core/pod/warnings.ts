// Shapes were proved by the schema; `any` stands for "as the schema says".
type Draft = any;

/**
 * `Warning:` lines about a pod's spec: what works, but not as its author may think. On an update only what is new
 * is told. Source: k8s.io/kubernetes/pkg/api/pod/warnings.go.
 */
export function podSpecWarnings(path: string, spec: Draft, labels: Record<string, string> | undefined, oldSpec?: Draft): string[] {
  const warnings: string[] = [];
  for (const key of Object.keys(spec?.nodeSelector ?? {})) {
    const better = deprecatedNodeLabels[key];
    if (better !== undefined && oldSpec?.nodeSelector?.[key] === undefined) warnings.push(`${path}.nodeSelector[${key}]: ${better}`);
  }
  if (spec?.topologySpreadConstraints && oldSpec === undefined) {
    for (const [index, constraint] of spec.topologySpreadConstraints.entries()) {
      if (!constraint.labelSelector && (constraint.matchLabelKeys ?? []).length === 0 && labels) warnings.push(`${path}.topologySpreadConstraints[${index}].labelSelector: a null labelSelector results in matching no pod`);
    }
  }
  for (const [list, old] of [["containers", oldSpec?.containers], ["initContainers", oldSpec?.initContainers]] as const) {
    for (const [index, container] of ((spec?.[list] ?? []) as Draft[]).entries()) {
      const before = (old as Draft[] | undefined)?.[index];
      warnings.push(...duplicateEnv(`${path}.${list}[${index}]`, container, before), ...duplicatePorts(`${path}.${list}[${index}]`, container, before));
    }
  }
  if (spec?.hostAliases && oldSpec === undefined) {
    const seen = new Set<string>();
    for (const [index, alias] of spec.hostAliases.entries()) {
      if (seen.has(alias.ip)) warnings.push(`${path}.hostAliases[${index}].ip: duplicate ip ${JSON.stringify(alias.ip)}`);
      seen.add(alias.ip);
    }
  }
  const grace = spec?.terminationGracePeriodSeconds;
  if (grace < 0 && !(oldSpec?.terminationGracePeriodSeconds < 0)) warnings.push(`${path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1`);
  return warnings;
}

const deprecatedNodeLabels: Record<string, string> = {
  "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
  "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
  "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
  "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
};

/** A variable set twice hides the first, unless the second builds on it. */
function duplicateEnv(path: string, container: Draft, old: Draft): string[] {
  if (old && JSON.stringify(old.env) === JSON.stringify(container.env)) return [];
  const env: Draft[] = container.env ?? [];
  const seen = new Set<string>();
  const told = new Set<string>();
  return env.flatMap((variable, index) => {
    const hides = seen.has(variable.name) && !told.has(variable.name) && !(variable.value ?? "").includes(`$(${variable.name})`);
    seen.add(variable.name);
    if (!hides) return [];
    told.add(variable.name);
    return [`${path}.env[${index}]: hides previous definition of ${JSON.stringify(variable.name)}, which may be dropped when using apply`];
  });
}

function duplicatePorts(path: string, container: Draft, old: Draft): string[] {
  if (old && JSON.stringify(old.ports) === JSON.stringify(container.ports)) return [];
  const seen = new Map<string, number>();
  return ((container.ports ?? []) as Draft[]).flatMap((port, index) => {
    const key = `${port.containerPort}/${port.protocol}`;
    const first = seen.get(key);
    if (first === undefined) {
      seen.set(key, index);
      return [];
    }
    return [`${path}.ports[${index}]: duplicate port definition with ${path}.ports[${first}]`];
  });
}
