import type { Client } from "../../api/client.ts";
import type { Informers } from "../../api/informer.ts";
import { resources } from "../../api/resources.ts";
import type { MeshAuthority } from "../../api/x509/mesh-authority.ts";
import type { Controller, Runner } from "../runner.ts";
import { meshTrustBundle } from "./names.ts";
import { podCertificateSigner } from "./pod-certificates.ts";
import { rootCertificateController } from "./root-certificate.ts";
import { meshRequestSigner } from "./signing-requests.ts";
import { trustBundleController } from "./trust-bundle.ts";

export interface MeshIdentityOptions {
  client: Client;
  /** Shared, and started by whoever has them. */
  informers: Informers;
  run: (definition: Controller) => Runner;
  /** Pending while there is none that could sign. */
  authority: Promise<MeshAuthority>;
}

/** Who gives programs of the mesh their identities, as soon as there is an authority. */
export class MeshIdentity {
  readonly #options: MeshIdentityOptions;
  readonly #runners: Runner[];
  readonly #roots: Runner;
  readonly #bundle: Runner;
  #authority: MeshAuthority | undefined;
  #unsubscribe = () => {};
  #stopped = false;

  constructor(options: MeshIdentityOptions) {
    this.#options = options;
    const { client, run } = options;
    const authority = (): MeshAuthority => this.#authority!;
    this.#roots = run(rootCertificateController(() => authority().rootsPem));
    this.#bundle = run(trustBundleController(() => authority().rootsPem));
    this.#runners = [this.#roots, this.#bundle, run(podCertificateSigner(authority, client)), run(meshRequestSigner(authority, client))];
  }

  /** Once the informers have synced. */
  start(): void {
    void this.#options.authority.then(
      (authority) => {
        if (this.#stopped) return;
        this.#authority = authority;
        for (const runner of this.#runners) runner.start();
        this.#bundle.enqueue(meshTrustBundle);
        this.#unsubscribe = authority.onRootsChange(() => {
          this.#bundle.enqueue(meshTrustBundle);
          for (const { metadata } of this.#options.informers.for(resources.namespaces).list()) this.#roots.enqueue(metadata.name);
        });
      },
      () => {}, // said by who opens it
    );
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#unsubscribe();
    await Promise.all(this.#runners.map((runner) => runner.stop()));
  }
}
