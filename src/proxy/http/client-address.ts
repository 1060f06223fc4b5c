import type { ListenerManners } from "../../api/traffic.ts";
import { AddressRanges, parseAddress } from "../../policy/addresses.ts";

/** Who a request's client is, as far as those between are believed. */
export interface ClientFound {
  /** Undefined: it had to be said, and is not. */
  address: string | undefined;
  /** Whether what the connection's peer says of forwarding is believed. */
  trusted: boolean;
}

/**
 * Reads the client's address from a header, from those in front of us alone. An entry that is no address ends what is believed: who
 * writes it might write anything, and whoever stands behind it is unknown.
 *
 * @param header the value of a header by its lower-case name
 */
export function clientReader(config: NonNullable<ListenerManners["client"]>): (peer: string, header: (name: string) => string | undefined) => ClientFound {
  switch (config.type) {
    case "hops":
      return (peer, header) => {
        const entries = entriesOf(header("x-forwarded-for"));
        const entry = entries.length < config.hops ? undefined : addressIn(entries[entries.length - config.hops]!);
        return { address: entry ?? peer, trusted: true };
      };
    case "proxies": {
      const proxies = new AddressRanges(config.ranges, "ranges");
      return (peer, header) => {
        if (!proxies.includes(peer)) return { address: peer, trusted: false };
        let address = peer;
        for (const text of entriesOf(header("x-forwarded-for")).toReversed()) {
          const entry = addressIn(text);
          if (entry === undefined) break;
          address = entry;
          if (!proxies.includes(entry)) break;
        }
        return { address, trusted: true };
      };
    }
    case "header":
      return (peer, header) => {
        const value = header(config.name);
        const address = value === undefined ? undefined : addressIn(value.trim());
        return { address: address ?? (config.required ? undefined : peer), trusted: false };
      };
  }
}

const entriesOf = (list: string | undefined): string[] => (list === undefined ? [] : list.split(",").map((entry) => entry.trim()));

/** "192.0.2.1", "192.0.2.1:1234", "2001:db8::1", "[2001:db8::1]:1234": some proxies write ports. */
function addressIn(text: string): string | undefined {
  const bare = /^\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?$/.exec(text)?.[1] ?? /^([0-9.]+):\d{1,5}$/.exec(text)?.[1] ?? text;
  return !bare.includes("%") && parseAddress(bare) ? bare : undefined;
}
