import type { Informers } from "../../api/informer.ts";
import { resources } from "../../api/resources.ts";
import type { MeshAuthority } from "../../api/x509/mesh-authority.ts";
import type { Controller, Runner } from "../runner.ts";
import { rootCertificateController } from "./root-certificate.ts";

export interface MeshIdentityOptions {
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
  #authority: MeshAuthority | undefined;
  #unsubscribe = () => {};
  #stopped = false;

  constructor(options: MeshIdentityOptions) {
    this.#options = options;
    this.#roots = options.run(rootCertificateController(() => this.#authority!.rootsPem));
    this.#runners = [this.#roots];
  }

  /** Once the informers have synced. */
  start(): void {
    void this.#options.authority.then(
      (authority) => {
        if (this.#stopped) return;
        this.#authority = authority;
        for (const runner of this.#runners) runner.start();
        this.#unsubscribe = authority.onRootsChange(() => {
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
