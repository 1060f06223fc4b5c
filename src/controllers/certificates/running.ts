import type { Client } from "../../api/client.ts";
import { certManager } from "../../api/cert-manager/types.ts";
import { Informer, type Informers } from "../../api/informer.ts";
import type { GroupVersionResource } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import type { Secret } from "../../api/types.ts";
import type { LocalAuthority } from "../../api/x509/local-authority.ts";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import { Runner } from "../runner.ts";
import { type AcmeIssuers, ServedAcme, withoutAcme } from "./acme/issuers.ts";
import type { ChallengeSolver } from "./acme/order.ts";
import { certificateController } from "./certificate.ts";
import { issuerController } from "./issuer.ts";
import { requestController } from "./request.ts";
import { fieldManager } from "./secret.ts";
import { type Asking, shimController } from "./shim.ts";

export interface CertificateOptions {
  client: Client;
  /** Shared; of Secrets it holds no data. */
  informers: Informers;
  clock: Clock;
  random: Random;
  log: Log;
  /** The authority of this stack; made at first need. */
  authority: () => LocalAuthority;
  /** Has the gateway answer ACME servers; without it they are not spoken to. */
  solver?: ChallengeSolver;
}

/** The controllers of cert-manager's kinds, while there is something for them to do. */
export class RunningCertificates {
  readonly #options: CertificateOptions;
  readonly #secrets: Informer<Secret>;
  readonly #runners: Runner[];
  readonly #acme: AcmeIssuers;
  readonly #kinds: readonly GroupVersionResource[];
  #stopped = false;

  constructor(options: CertificateOptions, asking: readonly Asking[]) {
    const { client, informers, clock, random, log } = options;
    this.#options = options;
    this.#secrets = new Informer<Secret>({ client, resource: resources.secrets, clock, random, log, metadataOnly: isForeign });
    const { solver } = options;
    const wake = (resource: GroupVersionResource, key: string) => this.#runners[order.indexOf(resource)]?.enqueue(key);
    const acme = (this.#acme = solver ? new ServedAcme({ client, clock, solver, wake }) : withoutAcme);
    let opened: LocalAuthority | undefined;
    const authority = () => (opened ??= options.authority());
    // One that ended meanwhile made it, and the name is fixed.
    const createSecret = (secret: object) =>
      client.create(resources.secrets, (secret as Secret).metadata.namespace, secret, { fieldManager }).catch((error: unknown) => {
        if (!(error instanceof StatusError && error.reason === "AlreadyExists")) throw error;
      });
    const found = { for: (resource: GroupVersionResource) => (resource === resources.secrets ? this.#secrets : informers.for(resource)) } as Pick<Informers, "for">;
    const order = [certManager.certificateRequests, certManager.issuers, certManager.clusterIssuers];
    const controllers = [requestController(authority, acme), issuerController(certManager.issuers, acme), issuerController(certManager.clusterIssuers, acme), certificateController(createSecret), ...asking.map(shimController)];
    this.#kinds = [...Object.values(certManager), ...asking.map(({ resource }) => resource)];
    this.#runners = controllers.map((definition) => new Runner(definition, { client, informers: found, clock, random, log, fieldManager }));
  }

  start(): void {
    this.#secrets.start();
    // Who does not see every Secret and request yet would make them again.
    const seen = [this.#secrets.synced, ...this.#kinds.map((kind) => this.#options.informers.for(kind).synced)];
    Promise.all(seen).then(
      () => {
        if (!this.#stopped) for (const runner of this.#runners) runner.start();
      },
      () => {},
    );
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#acme.stop();
    await Promise.all(this.#runners.map((runner) => runner.stop()));
    await this.#secrets.stop();
  }
}

/** Of no use to certificates: its data is not held. */
const isForeign = ({ data = {} }: Secret): boolean => Object.keys(data).length > 0 && !("tls.crt" in data) && !("tls.key" in data);
