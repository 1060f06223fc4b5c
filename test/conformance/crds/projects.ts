/**
 * Projects whose definitions people install, as they publish them: repository, revision, and the paths in it. A path
 * is a file or a folder. `samples` are objects that the project shows its users, `invalid` are objects that the project
 * itself says must be refused. A new project is a new block.
 */
export interface Project {
  readonly name: string;
  readonly sources: readonly Source[];
}
export interface Source {
  readonly repository: string;
  readonly revision: string;
  readonly definitions?: readonly string[];
  readonly samples?: readonly string[];
  readonly invalid?: readonly string[];
}

export const projects: readonly Project[] = [
  {
    name: "argo-cd",
    sources: [{ repository: "argoproj/argo-cd", revision: "v3.5.1", definitions: ["manifests/crds"], samples: ["docs/operator-manual/application.yaml", "docs/operator-manual/applicationset.yaml", "docs/operator-manual/project.yaml", "applicationset/examples"] }],
  },
  {
    name: "istio",
    sources: [
      { repository: "istio/api", revision: "v1.30.3", definitions: ["kubernetes/customresourcedefinitions.gen.yaml"] },
      { repository: "istio/istio", revision: "1.30.3", samples: ["samples/bookinfo/networking", "samples/bookinfo/policy", "pkg/config/validation/testdata/crds"] },
    ],
  },
  {
    name: "prometheus-operator",
    sources: [{ repository: "prometheus-operator/prometheus-operator", revision: "v0.93.0", definitions: ["example/prometheus-operator-crd-full"], samples: ["example/additional-scrape-configs", "example/admission-webhook", "example/rbac", "example/shards", "example/storage", "example/thanos", "example/user-guides"] }],
  },
  { name: "cloudnative-pg", sources: [{ repository: "cloudnative-pg/cloudnative-pg", revision: "v1.30.0", definitions: ["config/crd/bases"], samples: ["docs/src/samples", "config/olm-samples"] }] },
  {
    name: "knative",
    sources: [
      { repository: "knative/serving", revision: "knative-v1.22.1", definitions: ["config/core/300-resources", "vendor/knative.dev/networking/config", "vendor/knative.dev/caching/config"] },
      { repository: "knative/eventing", revision: "knative-v1.22.1", definitions: ["config/core/resources", "config/channels/in-memory-channel/resources"] },
      { repository: "knative/docs", revision: "main", samples: ["code-samples"] },
    ],
  },
  {
    name: "cert-manager",
    sources: [{ repository: "cert-manager/cert-manager", revision: "v1.21.1", definitions: ["deploy/crds"], samples: ["test/fixtures/cert-manager-resources.yaml"] }],
  },
  {
    name: "gateway-api",
    sources: [{ repository: "kubernetes-sigs/gateway-api", revision: "v1.6.1", definitions: ["config/crd/experimental"], samples: ["examples"], invalid: ["hack/invalid-examples"] }],
  },
  { name: "envoy-gateway", sources: [{ repository: "envoyproxy/gateway", revision: "v1.9.0-rc.1", definitions: ["charts/gateway-helm/charts/crds/crds/generated"], samples: ["examples/kubernetes"] }] },
  { name: "keda", sources: [{ repository: "kedacore/keda", revision: "v2.20.2", definitions: ["config/crd/bases"], samples: ["config/samples"] }] },
  { name: "crossplane", sources: [{ repository: "crossplane/crossplane", revision: "v2.3.4", definitions: ["cluster/crds"], samples: ["test/e2e/manifests"] }] },
];
