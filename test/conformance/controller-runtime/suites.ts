/**
 * controller-runtime's packages whose tests start an API server, run as they are published. What does not pass is
 * here by name with its reason, and a miss that passes is as much a failure as one that is not listed.
 */
export const module = { path: "sigs.k8s.io/controller-runtime", version: "v0.23.3", kubernetes: "1.35" };

export interface Suite {
  /** Below pkg/. */
  readonly package: string;
  /** Names of specs and tests → why not. */
  readonly misses?: Readonly<Record<string, string>>;
  /** Not run at all: a pattern of names, and why. */
  readonly skipped?: { readonly pattern: string; readonly count: number; readonly why: string };
}

export const suites: readonly Suite[] = [
  { package: "builder" },
  { package: "cache" },
  { package: "client" },
  {
    package: "client/apiutil",
    skipped: { pattern: "/aggregatedDiscovery=false", count: 2, why: "downloads kube-apiserver 1.28 and asks that, whatever else is there" },
  },
  { package: "cluster" },
  { package: "controller" },
  { package: "controller/controllerutil" },
  { package: "envtest" },
  { package: "handler" },
  { package: "internal/controller" },
  { package: "internal/recorder" },
  { package: "internal/testing/controlplane" },
  { package: "manager" },
  { package: "manager/internal/integration" },
  { package: "metrics/filters" },
  { package: "reconcile" },
  { package: "source" },
  { package: "webhook" },
];
