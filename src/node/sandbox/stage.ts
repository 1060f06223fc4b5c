import { quote } from "./command.ts";
import type { Tools } from "./tools.ts";

/**
 * The start sequence of a container, as shell text. It runs as the future PID 1, in the pod network's user namespace H,
 * and becomes the program:
 *
 *   network (first container only) → mounts → [Wherry checks them] → pivot → leave H's uid 0 → namespace N of one id →
 *   no further namespaces → no capabilities → init → program
 *
 * Every mount comes before N, because N owns nothing that it could change; the bounding set goes last, because making
 * N would fill it again. Descriptors: 0, 1 the program's; 2 a socket to Wherry for words and errors until the program
 * starts; 3 the program's stderr; 9 the pod network.
 */
export interface StageOptions {
  tools: Tools;
  root: string;
  fstab: string;
  lateFstab: string | undefined;
  lateFiles: readonly string[];
  workingDir: string;
  /** Set for the container that makes the pod's shared namespaces. */
  network: { link: string; ip: string; gateway: string; hostname: string } | undefined;
  /** Descriptors that must not reach the program. */
  closeFds: readonly number[];
  hostUid: number;
  hostGid: number;
  /** The machine's groups that it has besides. They have a number inside once Wherry has mapped them: the namespace itself may map one only. */
  hostGroups: readonly number[];
  uid: number;
  gid: number;
  processesMax: number | undefined;
  /** It is not the first in its process namespace: Wherry must be told which one it is. */
  isGuest: boolean;
}

export function stageScript(options: StageOptions): string {
  const { tools, network } = options;
  const lines = ['fail() { echo "fail $1" >&2; exit 125; }'];
  if (network) {
    lines.push(
      "[ ! -e /proc/sys/net/ipv6/conf/default ] || echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6",
      `${tools.ip} -batch - <<'END' || fail network`,
      `link add eth0 type veth peer name ${network.link} netns /proc/self/fd/9`,
      "link set lo up",
      `addr add ${network.ip}/32 dev eth0`,
      "link set eth0 up",
      `route add ${network.gateway} dev eth0 scope link`,
      `route add default via ${network.gateway} dev eth0`,
      "END",
      "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start || fail network",
    );
    if (tools.hostname) lines.push(`${tools.hostname} ${quote(network.hostname)} || fail hostname`);
  }
  lines.push(`exec ${options.closeFds.map((fd) => `${fd}<&-`).join(" ") || ":"}`, ...(options.isGuest ? ['echo "pid $$" >&2'] : []), "echo namespaces >&2");
  lines.push(`${tools.mount} -n -i -T ${quote(options.fstab)} -a || fail mounts`);
  if (options.lateFstab) {
    const folders = [...new Set(options.lateFiles.map((path) => path.slice(0, path.lastIndexOf("/"))))];
    lines.push(`/bin/mkdir -p ${folders.map(quote).join(" ")} || fail mounts`, ...options.lateFiles.map((path) => `: > ${quote(path)} || fail mounts`), `${tools.mount} -n -i -T ${quote(options.lateFstab)} -a || fail mounts`);
  }
  // Nothing but words of the shell may run until Wherry has seen that each mount lies where it should.
  lines.push("echo mounted >&2", "read -r answer <&2", '[ "$answer" = go ] || exit 125');
  lines.push(`cd ${quote(options.root)} && ${tools.pivotRoot} . .old && cd / && ${tools.umount} -l /.old || fail pivot`);
  lines.push(`cd ${quote(options.workingDir)} || fail workingDir`);
  const become = tools.isRoot ? `${tools.setpriv} --reuid=${options.hostUid} --regid=${options.hostGid} ${options.hostGroups.length > 0 ? `--groups=${options.hostGroups.join(",")}` : "--clear-groups"} ` : "";
  const isMapped = options.hostGroups.length > 0;
  lines.push(`exec ${become}${tools.unshare} -U --map-user=${options.uid} ${isMapped ? "" : `--map-group=${options.gid} `}--keep-caps ${tools.sh} -c ${quote(dropScript(tools, options.processesMax, isMapped))} sh "$@"`);
  return lines.join("\n");
}

/** Limits how many processes the namespace may have; dash and bash disagree on the letter. */
export const limitProcesses = (max: number | undefined) => (max === undefined ? ":" : `ulimit -p ${max} 2>/dev/null || ulimit -u ${max}`);

/** `$1` is the pod's PATH, `$2` the program, then what becomes PID 1. */
function dropScript(tools: Tools, processesMax: number | undefined, waitsForMap: boolean): string {
  return [
    ...(waitsForMap ? ["echo map >&2", "read -r answer <&2", '[ "$answer" = mapped ] || exit 125'] : []),
    'echo 0 > /proc/sys/user/max_user_namespaces || { echo "fail namespaces" >&2; exit 125; }',
    limitProcesses(processesMax),
    'PATH=$1; command -v "$2" >/dev/null 2>&1 || { echo "missing" >&2; exit 127; }',
    "shift 2",
    "echo started >&2",
    "exec 2>&3 3>&-",
    `exec ${tools.setpriv} --no-new-privs --inh-caps=-all --ambient-caps=-all --bounding-set=-all --pdeathsig=KILL "$@"`,
  ].join("\n");
}

const envChunkBytes = 96 * 1024;
/** Names that a shell can export and that are not its own; others go through `env`. */
const plainName = /^[A-Za-z_][A-Za-z0-9_]*$/;
const shellOwn = new Set(["UID", "EUID", "PPID", "SHELLOPTS", "BASHOPTS", "BASH_VERSINFO", "IFS", "OPTIND", "PWD", "OLDPWD", "_", "LINENO", "RANDOM", "SECONDS", "GROUPS", "DIRSTACK", "FUNCNAME"]);

/**
 * The program's environment on its way through the start sequence: as shell text in variables of ours, because words
 * on a command line are readable for every user of the machine, and because LD_PRELOAD must mean nothing to setpriv.
 * A variable may hold 128 KiB, hence the chunks.
 */
export function packEnvironment(env: Readonly<Record<string, string>>): { variables: Record<string, string>; unpack: string; viaEnv: string[] } {
  const text: string[] = [];
  const viaEnv: string[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (name === "" || name.includes("=") || name.includes("\0") || value.includes("\0")) continue;
    if (plainName.test(name) && !shellOwn.has(name) && !name.startsWith("WHERRY_E")) text.push(`export ${name}='${value.replaceAll("'", `'\\''`)}'`);
    else viaEnv.push(`${name}=${value}`);
  }
  const whole = text.join("\n");
  const variables: Record<string, string> = {};
  const names: string[] = [];
  for (let at = 0; at === 0 || at < whole.length; at += envChunkBytes / 4) {
    // A character has up to four bytes; cutting between the halves of a pair would spoil it.
    const name = `WHERRY_E${names.length}`;
    variables[name] = whole.slice(at, at + envChunkBytes / 4);
    names.push(name);
  }
  const unsetPath = "PATH" in env ? "" : "unset PATH; ";
  return { variables, unpack: `e="${names.map((name) => `$${name}`).join("")}"; unset ${names.join(" ")}; ${unsetPath}eval "$e"; unset e`, viaEnv };
}

/** `set -- ...`: what becomes PID 1, given how the program's environment is unpacked. `$@` is the program. */
export function initScript(tools: Tools, unpack: string, isGuest = false): string {
  const clean = "unset LC_ALL WHERRY_SANDBOX PWD OLDPWD";
  // tini comes from the pod's own /usr, like every tool after the pivot.
  if (tools.tini) return `${clean}; ${unpack}; exec ${tools.tini} ${isGuest ? "-s " : ""}-- "$@"`;
  return `${clean}; ${unpack}\n${shellInit(tools.env)}`;
}

/**
 * PID 1 as a shell: passes signals on, reaps what is orphaned to it (any `wait` does), and exits with the program's
 * code. A background command of a shell ignores INT and QUIT, which `env --default-signal` undoes. `wait` also returns
 * when a trap has run; only a return without one is the program's end.
 */
function shellInit(env: string): string {
  return `program=; early=; seen=
for signal in HUP INT QUIT USR1 USR2 TERM WINCH CONT; do
  trap "seen=1; if [ -n \\"\\$program\\" ]; then kill -$signal \\$program 2>/dev/null; else early=\\"\\$early $signal\\"; fi" $signal
done
${env} --default-signal=INT,QUIT "$@" <&0 &
program=$!
exec 0<&- 1>&- 2>&-
for signal in $early; do kill -$signal $program; done
last=
while :; do
  seen=
  wait $program
  code=$?
  if [ -z "$seen" ]; then
    [ $code = 127 ] && [ -n "$last" ] && exit $last
    exit $code
  fi
  last=$code
done`;
}
