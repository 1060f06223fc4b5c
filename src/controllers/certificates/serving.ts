import { certManager } from "../../api/cert-manager/types.ts";
import type { GroupVersionResource, KubeObject } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import { lazyModule } from "../../base/lazy.ts";
import type { CertificateOptions, RunningCertificates } from "./running.ts";
import type { Asking } from "./shim.ts";

const running = lazyModule<typeof import("./running.ts")>(import.meta.url, "./running.ts");

const gatewayApi = (resource: string): GroupVersionResource => ({ group: "gateway.networking.k8s.io", version: "v1", resource });
const asking: readonly Asking[] = [
  { apiVersion: "networking.k8s.io/v1", kind: "Ingress", resource: resources.ingresses },
  { apiVersion: "gateway.networking.k8s.io/v1", kind: "Gateway", resource: gatewayApi("gateways") },
  { apiVersion: "gateway.networking.k8s.io/v1", kind: "ListenerSet", resource: gatewayApi("listenersets") },
];
const nameOf = ({ group, version, resource }: GroupVersionResource): string => `${group}/${version}/${resource}`;
const isAsking = ({ metadata: { annotations = {} } }: KubeObject): boolean => "cert-manager.io/issuer" in annotations || "cert-manager.io/cluster-issuer" in annotations || "kubernetes.io/tls-acme" in annotations;

/**
 * Certificates as cert-manager issues them, while its definitions are there: who owns the stack may take them away, and bring
 * others. Nothing is loaded until there is an object of its kinds, or an Ingress or Gateway that asks for a certificate.
 */
export class Certificates {
  readonly #options: CertificateOptions;
  #served = "";
  #running: RunningCertificates | undefined;
  #unsubscribe: (() => void)[] = [];

  constructor(options: CertificateOptions) {
    this.#options = options;
  }

  /** `has` says whether a kind ("group/version/resource") is served. */
  served(has: (kind: string) => boolean): void {
    const doors = asking.filter(({ resource }) => has(nameOf(resource)));
    const isWhole = Object.values(certManager).every((kind) => has(nameOf(kind)));
    const served = isWhole ? doors.map(({ kind }) => kind).join() : "";
    if (served === this.#served) return;
    this.#served = served;
    // A kind that came back has another informer.
    void this.stop();
    if (!isWhole) return;
    const { informers } = this.#options;
    const start = () => {
      if (this.#running) return;
      this.#running = new (running().RunningCertificates)(this.#options, doors);
      this.#running.start();
    };
    this.#unsubscribe = [
      ...Object.values(certManager).map((kind) => informers.for(kind).onChange((_, object) => object && start())),
      ...doors.map(({ resource }) => informers.for<KubeObject>(resource).onChange((_, object) => object && isAsking(object) && start())),
    ];
  }

  async stop(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe();
    const before = this.#running;
    this.#running = undefined;
    await before?.stop();
  }
}
