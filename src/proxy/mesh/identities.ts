import { accountKey, type MeshAccount, type MeshIdentity } from "../../api/mesh-identity.ts";
import { ListenerCertificates } from "../http/tls.ts";
import { renewAt } from "./renewal.ts";

/** Asks whoever can sign. Rejects where nobody can. */
export type AskIdentity = (account: MeshAccount) => Promise<MeshIdentity>;

interface Known {
  identity: MeshIdentity;
  certificates: ListenerCertificates;
}

/**
 * As whom this worker's listeners speak: one certificate a service account, from the first connection on that asks for it. It is
 * renewed when half its time is over, for the connections that come then; until the new one is there the old one goes on, up to
 * its end. Nothing of it is on a disk.
 */
export class Identities {
  readonly #ask: AskIdentity;
  readonly #now: () => number;
  readonly #known = new Map<string, Known>();
  readonly #asking = new Map<string, Promise<ListenerCertificates>>();

  /** `now`: milliseconds since the epoch. */
  constructor(ask: AskIdentity, now: () => number) {
    this.#ask = ask;
    this.#now = now;
  }

  /** What an earlier worker had. One that cannot be used is asked for anew. */
  put(identities: readonly MeshIdentity[]): void {
    for (const identity of identities) {
      try {
        this.#take(identity);
      } catch {
        this.#known.delete(accountKey(identity));
      }
    }
  }
  /** Others are trusted now: nobody is let in, and nothing is shown, by what was known before. */
  forget(): void {
    this.#known.clear();
    this.#asking.clear();
  }

  /** At once when it is known. Rejects when there is none to be had. */
  of(account: MeshAccount): ListenerCertificates | Promise<ListenerCertificates> {
    const key = accountKey(account);
    const known = this.#known.get(key);
    const now = this.#now();
    if (!known || known.identity.notAfter <= now) return this.#fetch(key, account);
    // Whoever comes now need not wait for it, nor hear that it failed.
    if (now >= renewAt(known.identity)) this.#fetch(key, account).catch(() => {});
    return known.certificates;
  }

  #fetch(key: string, account: MeshAccount): Promise<ListenerCertificates> {
    const asking = this.#asking.get(key);
    if (asking) return asking;
    const asked: Promise<ListenerCertificates> = this.#ask(account).then(
      (identity) => {
        // What was asked before roots changed is no answer.
        if (this.#asking.get(key) !== asked) return this.of(account);
        this.#asking.delete(key);
        return this.#take(identity);
      },
      (error: unknown) => {
        if (this.#asking.get(key) === asked) this.#asking.delete(key);
        throw error;
      },
    );
    this.#asking.set(key, asked);
    return asked;
  }
  #take(identity: MeshIdentity): ListenerCertificates {
    const certificates = new ListenerCertificates({ mode: "terminate", certificates: [{ certificate: identity.certificate, key: identity.key }], clientValidation: { authorities: identity.roots, optional: true } }, { resumes: false });
    this.#known.set(accountKey(identity), { identity, certificates });
    return certificates;
  }
}
