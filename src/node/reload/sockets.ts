import { readFile } from "node:fs/promises";
import type { DirectConnection } from "../sandbox/sandbox.ts";

/** What a pod's sockets say: which ports it listens on, and which connections to them are open. */
export interface Sockets {
  listening: ReadonlySet<number>;
  /** The port of each open connection to one of them. */
  established: readonly number[];
  /** Those of them that other pods have made, by this pod's own address: the data plane's come from the gateway's. */
  direct: readonly DirectConnection[];
}

/** The sockets of the network that a process is in, as far as they are the pod's; undefined when the kernel does not say. */
export async function socketsOf(pid: number, ip: string, gatewayIP = "0.0.0.0"): Promise<Sockets | undefined> {
  const tables = await Promise.all(["tcp", "tcp6"].map((table) => readFile(`/proc/${pid}/net/${table}`, "latin1").catch(() => undefined)));
  return tables.every((table) => table === undefined) ? undefined : parseSockets(tables.join("\n"), ip, gatewayIP);
}

/** ESTABLISHED; SYN_RECV, about to be; CLOSE_WAIT: the client has ended its half and waits for the answer. */
const connected = new Set(["01", "03", "08"]);
const any = /^0+$/;

/** The last word of an address, which is all of an IPv4 one, inside IPv6 too. */
const read = (address: string) => (address.slice(-8).match(/../g) ?? []).toReversed().map((byte) => parseInt(byte, 16)).join(".");
const written = (ip: string) => ip.split(".").map((part) => Number(part).toString(16).padStart(2, "0")).toReversed().join("").toUpperCase();

/** Source of the format: proc(5), /proc/net/tcp. An address is written in the machine's byte order, IPv4 inside IPv6 in its last word. */
export function parseSockets(tables: string, ip: string, gatewayIP: string): Sockets {
  const address = written(ip);
  // On the machine's own network, where plain pods are, a listener on every address may be anybody's.
  const own = ip.startsWith("127.");
  const listening = new Set<number>();
  const established: DirectConnection[] = [];
  for (const line of tables.split("\n")) {
    const [, local, remote, state] = line.trim().split(/\s+/);
    const [where, port] = local?.split(":") ?? [];
    if (where === undefined || port === undefined) continue;
    const number = parseInt(port, 16);
    const isHere = where.endsWith(address);
    if (state === "0A" && (isHere || (!own && any.test(where)))) listening.add(number);
    else if (connected.has(state!) && isHere) {
      const [from = "", fromPort = ""] = remote!.split(":");
      established.push({ from: read(from), fromPort: parseInt(fromPort, 16), port: number });
    }
  }
  const open = established.filter(({ port }) => listening.has(port));
  return { listening, established: open.map(({ port }) => port), direct: open.filter(({ from }) => from !== gatewayIP) };
}
