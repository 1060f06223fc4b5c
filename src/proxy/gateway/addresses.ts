import { isIPv4 } from "node:net";
import type { EdgeBinding } from "../../api/network.ts";
import type { EdgeListener } from "../../api/traffic.ts";
import type { AddressBook, GatewayAddress } from "./gateways.ts";
import type { Gateway } from "./kinds.ts";
import { hash } from "../../policy/hash.ts";

const net = "127.99";

/**
 * Each Gateway gets a loopback address of its own, so that several may have port 80: the one it asks for, else the one its
 * status names, else one that follows from its name, so that a bookmark stays true.
 */
export class LoopbackAddresses implements AddressBook {
  readonly #of = new Map<string, string>();
  readonly #owner = new Map<string, string>();
  /** Gateways that name their address. */
  readonly #asked = new Set<string>();
  readonly #taken = new Set<string>();
  #bindings = new Map<string, EdgeBinding>();

  /** What the addresses came to; told anew whenever it changes. */
  set bindings(bindings: readonly EdgeBinding[]) {
    // Another stack on this machine, or any program, is there already: one that we chose can be another.
    for (const { address, code } of bindings) {
      const key = code === "EADDRINUSE" && address.startsWith(`${net}.`) ? this.#owner.get(address) : undefined;
      if (key === undefined || this.#asked.has(key)) continue;
      this.#taken.add(address);
      this.release(key);
    }
    this.#bindings = new Map(bindings.map((binding) => [`${binding.protocol}/${binding.address}:${binding.port}`, binding]));
  }

  bindingOf({ address, port, protocol }: EdgeListener): EdgeBinding | undefined {
    return this.#bindings.get(`${protocol === "UDP" ? "UDP" : "TCP"}/${address}:${port}`);
  }

  addressOf(gateway: Gateway): GatewayAddress {
    const key = `${gateway.metadata.namespace}/${gateway.metadata.name}`;
    const wanted = gateway.spec.addresses ?? [];
    const odd = wanted.find(({ type = "IPAddress" }) => type !== "IPAddress");
    if (odd) return { reason: "UnsupportedAddress", message: `addresses: type ${odd.type} is not supported; IPAddress is` };
    const asked = wanted.filter(({ value }) => value);
    const fit = asked.find(({ value }) => isLoopback(value!));
    const unusable = asked.filter(({ value }) => !isLoopback(value!));
    // It is served where it can be, and says that this is not all that was asked for.
    const told = unusable.length > 0 && { reason: "AddressNotUsable" as const, message: `addresses: ${unusable.map(({ value }) => value).join(", ")} is not an address that can be listened on; any of 127.0.0.0/8 can, and none at all lets Wherry choose` };
    if (told && !fit) return told;
    if (fit) this.#asked.add(key);
    else this.#asked.delete(key);
    return { ...told, value: fit ? this.#take(key, fit.value!) : (this.#of.get(key) ?? this.#choose(key, gateway.status?.addresses?.[0]?.value)) };
  }

  /** Its address may go to another. */
  release(key: string): void {
    const address = this.#of.get(key);
    if (address !== undefined && this.#owner.get(address) === key) this.#owner.delete(address);
    this.#of.delete(key);
  }

  /** An address that is asked for may be shared: ports decide then. */
  #take(key: string, address: string): string {
    this.#of.set(key, address);
    if (!this.#owner.has(address)) this.#owner.set(address, key);
    return address;
  }

  #choose(key: string, before: string | undefined): string {
    if (before?.startsWith(`${net}.`) && !this.#taken.has(before) && (this.#owner.get(before) ?? key) === key) return this.#take(key, before);
    for (let number = hash(key) % 65_024; ; number = (number + 1) % 65_024) {
      const address = `${net}.${Math.floor(number / 254)}.${(number % 254) + 1}`;
      if (!this.#owner.has(address) && !this.#taken.has(address)) return this.#take(key, address);
    }
  }
}

const isLoopback = (address: string): boolean => isIPv4(address) && address.startsWith("127.") && address !== "127.0.0.0" && address !== "127.255.255.255";
