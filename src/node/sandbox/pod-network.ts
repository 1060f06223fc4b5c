import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import type { NetworkNamespace } from "../../api/network.ts";
import { addresses } from "./addresses.ts";
import { BatchStream } from "./batch-stream.ts";
import { systemPath } from "./command.ts";
import { type ProcessIdentity, identify } from "./processes.ts";
import type { DirectConnection } from "./sandbox.ts";
import type { Tools } from "./tools.ts";

/** Uids of the machine that Wherry uses when it is root: the first for the data plane, the rest for pods. */
export const hostUids = { network: 100_000, firstPod: 100_001, count: 65_536 } as const;

/** Other pods' packets to a port of a pod are dropped; the data plane's are not concerned. */
export const holdRule = (ip: string, port: number): string => `pref 6 from ${addresses.pods} to ${ip} ipproto tcp dport ${port} blackhole`;
/**
 * Other pods are refused at once at any port that a program may listen at: only the data plane, which asks who calls, gets there.
 * What comes to the ports of the pod's own connections passes, but to those at which it is known to listen.
 */
export const guardRules = (ip: string, ports: readonly number[]): string[] => ["1-32767", "61000-65534", ...ports.filter((port) => port > 32_767 && port < 61_000)].map((port) => `pref 7 from ${addresses.pods} to ${ip} ipproto tcp dport ${port} prohibit`);
/**
 * And no other pod begins a connection with it, at whatever port: routing rules know no connections, and must let in what comes
 * to the ports of the pod's own. What only begins one (SYN without ACK) is turned to a device from where nothing leads on, and
 * hears so at once.
 */
export const guardFilter = (link: string): string[] => [
  `qdisc add dev ${link} clsact`,
  // The data plane's and the node's own.
  `filter add dev ${link} egress protocol ip pref 1 u32 match ip src ${addresses.gateway}/32 flowid 1:1`,
  `filter add dev ${link} egress protocol ip pref 2 handle 1: u32 divisor 1`,
  `filter add dev ${link} egress protocol ip pref 2 u32 match ip src ${addresses.pods} match ip protocol 6 0xff match u16 0 0x1fff at 6 offset at 0 mask 0x0f00 shift 6 link 1:`,
  `filter add dev ${link} egress protocol ip pref 2 u32 ht 1: match u8 0x02 0x12 at nexthdr+13 action mirred ingress redirect dev refuse0`,
];
/** Where it is turned to; lines of `ip`. */
export const refusingDevice = ["link add refuse0 type veth peer name refuse1", "link set refuse0 up", "link set refuse1 up", "rule add pref 4 iif refuse0 prohibit"];
/** But those of one connection go on. */
export const passRule = (ip: string, { from, fromPort, port }: DirectConnection): string => `pref 5 from ${from} to ${ip} ipproto tcp sport ${fromPort} dport ${port} lookup 50`;

/**
 * The pod network: a user namespace H with a network namespace in it, kept alive by a process that waits (the holder), and
 * behind its default route a second network namespace for egress listeners.
 *
 *   pod ── veth (/32, reverse-path filter) ── pod network: rules 4 to 7 what is refused, passes and is held, rule 10 pods, rule 100 local (Services) ── veth ── egress: everything is local
 *
 * Addresses of Services are "local" as a range, so a listener for one exact address and port is all it takes to serve it.
 */
export class PodNetworkNamespaces {
  readonly #tools: Tools;
  readonly #env: Record<string, string>;
  readonly #record: (process: ProcessIdentity) => void;
  #holder: ChildProcess | undefined;
  #egress: ChildProcess | undefined;
  #links: BatchStream | undefined;
  #filters: BatchStream | undefined;
  /** The gateway's side of each pod's link, by the pod's address. */
  readonly #linkOf = new Map<string, string>();
  #guarded: ReadonlySet<string> = new Set();
  #netFd = -1;

  constructor(tools: Tools, env: Record<string, string>, record: (process: ProcessIdentity) => void) {
    this.#tools = tools;
    this.#env = env;
    this.#record = record;
  }

  async start(): Promise<void> {
    const { setpriv, unshare, nsenter, isRoot } = this.#tools;
    this.#holder = await this.#startHolder([setpriv, "--pdeathsig", "KILL", unshare, isRoot ? "-Un" : "-Urn"], isRoot ? writeMaps : undefined);
    this.#egress = await this.#startHolder([setpriv, "--pdeathsig", "KILL", ...this.enterAsAdmin, "-n", unshare, "-n"]);
    await this.#setUp([...this.enterAsAdmin, "-n"], gatewaySetup(this.#egress.pid!, this.#tools.tc ? refusingDevice : []));
    await this.#setUp([nsenter, "-t", String(this.#egress.pid), ...this.#userFlags, "-n"], egressSetup);
    this.#netFd = openSync(`/proc/${this.#holder.pid}/ns/net`, "r");
    const stream = (kind: "ip" | "tc", program: string) => new BatchStream(kind, [setpriv, "--pdeathsig", "KILL", ...this.enterAsAdmin, "-n", program, "-force", "-batch", "-"], this.#env, this.#record);
    this.#links = stream("ip", this.#tools.ip);
    this.#filters = this.#tools.tc ? stream("tc", this.#tools.tc) : undefined;
  }
  get #userFlags(): string[] {
    return this.#tools.isRoot ? ["-U"] : ["-U", "--preserve-credentials"];
  }
  /** Into H with all its capabilities; for Wherry's own steps only. */
  get enterAsAdmin(): string[] {
    return [this.#tools.nsenter, "-t", String(this.#holder!.pid), ...this.#userFlags];
  }
  /** An open handle on the pod network; valid until `stop`. */
  get netFd(): number {
    return this.#netFd;
  }
  describe(): NetworkNamespace {
    const { nsenter, setpriv, isRoot } = this.#tools;
    const drop = [setpriv, ...(isRoot ? ["--reuid", String(hostUids.network), "--regid", String(hostUids.network), "--clear-groups"] : []), "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--pdeathsig", "KILL"];
    const enter = (pid: number) => [nsenter, "-t", String(pid), ...this.#userFlags, "-n", ...drop];
    return { mode: "isolated", enter: enter(this.#holder!.pid!), enterEgress: enter(this.#egress!.pid!), gatewayIP: addresses.gateway, dnsIP: addresses.dns, apiServiceIP: addresses.api };
  }

  /** Finishes the gateway's side of a pod's link, which the pod's start sequence has made. */
  async connect(link: string, ip: string): Promise<void> {
    // Before it is up: a pod that is guarded is never open for a moment.
    this.#linkOf.set(ip, link);
    if (this.#guarded.has(ip)) await this.#filters?.send(guardFilter(link));
    await this.#links!.send([`link set ${link} up`, `addr add ${addresses.link}/32 dev ${link}`, `route add ${ip}/32 dev ${link} table 50 src ${addresses.gateway}`]);
  }
  /** The pod is gone, and its link with it. */
  disconnected(ip: string): void {
    this.#linkOf.delete(ip);
  }
  /** With whom no other pod may begin a connection; replaces what was told before. */
  async guard(ips: ReadonlySet<string>): Promise<void> {
    const [before, links] = [this.#guarded, this.#linkOf];
    this.#guarded = ips;
    const begin = [...ips].filter((ip) => !before.has(ip)).flatMap((ip) => (links.has(ip) ? guardFilter(links.get(ip)!) : []));
    const end = [...before].filter((ip) => !ips.has(ip)).flatMap((ip) => (links.has(ip) ? [`qdisc del dev ${links.get(ip)} clsact`] : []));
    if (begin.length + end.length > 0) await this.#filters?.send([...end, ...begin]);
  }
  /** Routing rules that begin and that end, each as `holdRule` and `passRule` write it. */
  rules(begin: readonly string[], end: readonly string[]): Promise<void> {
    return this.#links!.send([...begin.map((rule) => `rule add ${rule}`), ...end.map((rule) => `rule del ${rule}`)]);
  }
  /**
   * Gives a pod's user namespace more than one group: the namespace itself may map only its own, and only who is in H, the
   * one above, may write the rest. What its programs have got is fixed from then on.
   */
  mapGroups(pid: number, groups: readonly { inside: number; host: number }[]): Promise<void> {
    return this.#setUp(this.enterAsAdmin, `echo deny > /proc/${pid}/setgroups && echo '${groups.map(({ inside, host }) => `${inside} ${host} 1`).join("\n")}' > /proc/${pid}/gid_map`, "the pod's groups");
  }
  stop(): void {
    this.#links?.stop();
    this.#filters?.stop();
    if (this.#netFd >= 0) closeSync(this.#netFd);
    this.#netFd = -1;
    for (const child of [this.#egress, this.#holder]) child?.kill("SIGKILL");
  }

  /**
   * Runs `enter` and stays in the namespaces it made until this process ends. A program that is executed once its user
   * namespace has a map gains capabilities by that, and the kernel forgets the parent-death signal of whoever gains any: it
   * is set after `prepare`, by the last program but one. Should we end before that, the end of its input ends it.
   */
  #startHolder(enter: readonly string[], prepare?: (pid: number) => void): Promise<ChildProcess> {
    const { setpriv, sh } = this.#tools;
    const argv = [...enter, sh, "-c", `echo unshared; read -r go || exit 1; exec ${setpriv} --pdeathsig KILL ${sh} -c 'echo holds; read -r end'`];
    return new Promise((resolve, reject) => {
      const child = spawn(argv[0]!, argv.slice(1), { env: this.#env, stdio: ["pipe", "pipe", "pipe"], detached: true });
      let errors = "";
      let said = "";
      child.stderr.on("data", (chunk: Buffer) => void (errors += chunk.toString().slice(0, 2000)));
      child.stdin.on("error", () => {}); // It has ended; the reason comes by "exit".
      child.on("error", reject);
      child.on("exit", (code) => reject(new Error(`the pod network's holder ended (${code}): ${errors.trim()}`)));
      child.stdout.on("data", (chunk: Buffer) => {
        said += chunk.toString();
        if (said === "unshared\n") {
          try {
            this.#record(identify(child.pid!)!);
            prepare?.(child.pid!);
            child.stdin.write("go\n");
          } catch (error) {
            child.kill("SIGKILL");
            reject(error as Error);
          }
          return;
        }
        if (said !== "unshared\nholds\n") return;
        child.stdout.destroy();
        child.stderr.destroy();
        child.unref();
        (child.stdin as Socket).unref();
        resolve(child);
      });
    });
  }
  async #setUp(enter: string[], script: string, what = "the pod network"): Promise<void> {
    const [program, ...rest] = [...enter, this.#tools.sh, "-c", script];
    const child = spawn(program!, rest, { env: { PATH: systemPath, LC_ALL: "C" }, stdio: ["ignore", "ignore", "pipe"] });
    let errors = "";
    child.stderr.on("data", (chunk: Buffer) => void (errors += chunk.toString().slice(0, 4000)));
    const code = await new Promise((resolve) => child.on("close", resolve));
    if (code !== 0) throw new Error(`${what} could not be set up: ${errors.trim()}`);
  }
}

/**
 * Each id of H is the same id of the machine. Ordinary users' ids are among them so that a folder can be bound which lies
 * behind another user's closed home (`sudo wherry up` there): H's uid 0 may pass only where the owner has an id in H. Pods
 * have none of this: each lives in a namespace below H with one id.
 */
function writeMaps(pid: number): void {
  const { network, count } = hostUids;
  for (const kind of ["uid", "gid"]) {
    try {
      writeFileSync(`/proc/${pid}/${kind}_map`, `0 0 ${network + count}\n`);
    } catch {
      // Wherry itself has fewer ids, in a container for instance: those that are needed.
      writeFileSync(`/proc/${pid}/${kind}_map`, `0 0 1\n${network} ${network} ${count}\n`);
    }
  }
}

// IPv6 has no reverse-path filter, so links of the pod network speak IPv4 only.
const noIPv6 = "for name in all default; do [ ! -e /proc/sys/net/ipv6/conf/$name ] || echo 1 > /proc/sys/net/ipv6/conf/$name/disable_ipv6; done";
const sysctl = (name: string, value: number | string) => `echo ${value} > /proc/sys/net/ipv4/${name}`;

// A pod that is refused more than once a second is to hear it each time.
// All connections to pods come from one address: without reuse, 28,000 of them within a minute use up its ports.
const gatewaySetup = (egressPid: number, more: readonly string[]) => `set -e
${noIPv6}
${sysctl("ip_forward", 1)}
${sysctl("icmp_ratelimit", 0)}
${sysctl("tcp_tw_reuse", 1)}
${sysctl("ip_local_port_range", "1024 65535")}
for name in all default; do
  ${sysctl("conf/$name/rp_filter", 1)}
  ${sysctl("conf/$name/accept_redirects", 0)}
  ${sysctl("conf/$name/send_redirects", 0)}
  ${sysctl("conf/$name/accept_source_route", 0)}
done
${sysctl("ip_unprivileged_port_start", 0)}
ip -batch - <<'END'
link set lo up
addr add ${addresses.gateway}/32 dev lo
rule add pref 5 from ${addresses.gateway} lookup 50
rule add pref 10 lookup 50
rule add pref 100 lookup local
rule del pref 0
route add local ${addresses.services} dev lo table local
route add unreachable ${addresses.pods}
link add out0 type veth peer name in0 netns ${egressPid}
addr add 169.254.2.1/32 dev out0
link set out0 up
route add 169.254.2.2 dev out0 scope link
route add default via 169.254.2.2 dev out0 src ${addresses.gateway}
${more.join("\n")}
END
`;

const egressSetup = `set -e
${noIPv6}
for name in all default; do
  ${sysctl("conf/$name/rp_filter", 1)}
  ${sysctl("conf/$name/accept_redirects", 0)}
done
${sysctl("ip_unprivileged_port_start", 0)}
ip -batch - <<'END'
link set lo up
link set in0 up
addr add 169.254.2.2/32 dev in0
rule add pref 10 lookup 50
rule add pref 100 lookup local
rule del pref 0
route add 169.254.2.1 dev in0 scope link table 50
route add ${addresses.pods} via 169.254.2.1 dev in0 table 50
route add local default dev lo table local
END
`;
