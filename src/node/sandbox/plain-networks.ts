import { claimName } from "../../base/claimed-name.ts";
import { WherryError } from "../../base/errors.ts";

/** The two loopback networks of one stack in plain mode: "127.96" for Services, "127.97" for pods. */
export interface PlainNetworks {
  readonly services: string;
  readonly pods: string;
  release(): void;
}

/**
 * Stacks in plain mode share the machine's loopback, and must not answer each other's names: each takes the first pair of
 * networks that nobody has. The claim is a name that is as wide as the loopback is.
 */
export async function claimPlainNetworks(first = 96, last = 126): Promise<PlainNetworks> {
  for (let n = first; n <= last; n += 2) {
    const claim = await claimName(`wherry-plain-network-${n}`);
    if (claim) return { services: `127.${n}`, pods: `127.${n + 1}`, release: () => claim.release() };
  }
  throw new WherryError("TOO_MANY_STACKS", `all loopback networks for plain mode, 127.${first} to 127.${last + 1}, belong to other stacks on this machine`);
}
