import { networkInterfaces } from "node:os";
import type { TcpHandle } from "../base/handles.ts";
import type { Log } from "../base/log.ts";
import { dial, dialErrorText } from "./dial.ts";
import type { OutsideAnswer } from "./dns/server.ts";
import { NotOutsideError } from "./egress.ts";

/**
 * The way out for pods, in `wherry`, which alone lives outside the pod network: it dials and looks up for the
 * workers, and hands over connections that it has not read from.
 */
export interface Outside {
  /** Rejects with the reason, {@link NotOutsideError} among them; the worker resets the pod's connection. */
  dial(ip: string, port: number): Promise<TcpHandle>;
  resolve(name: string, type: string): Promise<OutsideAnswer>;
}

export interface OutsideOptions {
  log: Log;
  /** Whether pods may reach this address. Default: {@link isOutside}. */
  allows?: (ip: string) => boolean;
  /** Default: the machine's resolvers, by c-ares, which needs no thread. */
  resolve?: (name: string, type: string) => Promise<OutsideAnswer>;
}

const dialTimeoutMs = 10_000;
/** Connections being made for pods at one time; beyond, they are reset. */
const diallingMax = 256;
const resolvingMax = 256;

/**
 * Networks that are never outside: this machine, the pod network and plain mode's addresses, link-local (cloud
 * machines keep their credentials at 169.254.169.254), multicast and reserved.
 */
const inside: readonly (readonly [network: number, bits: number])[] = [
  ["0.0.0.0", 8],
  ["10.96.0.0", 12],
  ["10.244.0.0", 16],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["224.0.0.0", 3],
].map(([network, bits]) => [numberOf(network as string)! >>> (32 - (bits as number)), bits as number]);

export function createOutside({ log, allows = isOutside, resolve = resolveByHost }: OutsideOptions): Outside {
  let dialling = 0;
  let resolving = 0;
  return {
    dial(ip, port) {
      if (!allows(ip)) return Promise.reject(new NotOutsideError(ip, port));
      if (dialling >= diallingMax) return Promise.reject(new Error("too many connections are being made"));
      dialling++;
      return new Promise((done, fail) => {
        dial(ip, port, dialTimeoutMs, (status, handle) => {
          dialling--;
          if (handle) done(handle);
          else fail(new Error(dialErrorText(ip, port, status)));
        });
      });
    },
    async resolve(name, type) {
      // Only what a host name may consist of reaches the machine's resolver.
      if (name.length > 253 || !/^(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})+$/.test(name)) return { rcode: 3, records: [] };
      if (resolving >= resolvingMax) return { rcode: 2, records: [] };
      resolving++;
      try {
        return await resolve(name, type);
      } catch (error) {
        log.debug("a name was not resolved outside", { name, type, error: (error as Error).message });
        return { rcode: 2, records: [] };
      } finally {
        resolving--;
      }
    },
  };
}

/** Whether an IPv4 address belongs to neither this machine nor the pod network. Anything else: false. */
export function isOutside(ip: string): boolean {
  const address = numberOf(ip);
  if (address === undefined || inside.some(([network, bits]) => address >>> (32 - bits) === network)) return false;
  return !Object.values(networkInterfaces()).some((list) => list?.some((own) => own.address === ip));
}

function numberOf(ip: string): number | undefined {
  const parts = ip.split(".");
  if (parts.length !== 4 || parts.some((part) => !/^\d{1,3}$/.test(part) || Number(part) > 255)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** By the machine's resolvers, as CoreDNS forwards to its node's; /etc/hosts of the machine is not the pods' business. */
async function resolveByHost(name: string, type: string): Promise<OutsideAnswer> {
  const { Resolver } = await import("node:dns/promises");
  const resolver = new Resolver({ timeout: 2_000, tries: 2 });
  try {
    return { rcode: 0, records: await lookUp(resolver, name, type) };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENODATA") return { rcode: 0, records: [] };
    return { rcode: code === "ENOTFOUND" ? 3 : 2, records: [] };
  }
}

/** Seconds for records whose own time the resolver does not tell. */
const ttl = 30;

async function lookUp(resolver: import("node:dns").promises.Resolver, name: string, type: string): Promise<OutsideAnswer["records"]> {
  switch (type) {
    case "A":
      return (await resolver.resolve4(name, { ttl: true })).map((record) => ({ name, ttl: record.ttl, type: "A", ip: record.address }));
    case "CNAME":
    case "NS":
      return ((await resolver.resolve(name, type)) as string[]).map((target) => ({ name, ttl, type, target }));
    case "MX":
      return (await resolver.resolveMx(name)).map(({ priority, exchange }) => ({ name, ttl, type: "MX", priority, target: exchange }));
    case "TXT":
      return (await resolver.resolveTxt(name)).map((texts) => ({ name, ttl, type: "TXT", texts }));
    case "SRV":
      return (await resolver.resolveSrv(name)).map(({ priority, weight, port, name: target }) => ({ name, ttl, type: "SRV", priority, weight, port, target }));
    default:
      return [];
  }
}
