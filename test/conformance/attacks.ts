/**
 * What a hostile pod tries, one entry an attack. Each program prints `GOT …` when it succeeds and `NO …` when it is refused;
 * the suite runs it in a pod, from an exec, and, to prove that the program itself works, where nothing stops it.
 */
export interface Surroundings {
  dataDir: string;
  /** A file in the data directory and one in $HOME, both holding `secret`. */
  dataFile: string;
  homeFile: string;
  secret: string;
  /** A process of Wherry's user with `secret` in its environment and its words. */
  victimPid: number;
  /** Where the machine listens. */
  hostPort: number;
  hostAddress: string | undefined;
  abstractSocket: string;
  pathSocket: string;
  /** Another pod, and a pod that answers each connection with the address it comes from. */
  otherIP: string;
  mirrorIP: string;
  ownIP: string;
}

export interface Attack {
  name: string;
  argv(surroundings: Surroundings): string[];
  /**
   * Where the same program succeeds: on the machine as Wherry's user; with the capabilities of a fresh user namespace;
   * in a pod with other words (`controlArgv`); or for the machine's root alone.
   */
  control: "machine" | "namespace" | "pod" | "root";
  controlArgv?(surroundings: Surroundings): string[];
  /** Refused only where the seccomp filter is set; without it the suite expects success, as `doctor` says. */
  needsSeccomp?: boolean;
}

const sh = (script: string) => ["sh", "-c", script];
/** Python with libc at hand and `report(call)`, which turns a result below zero or an exception into NO. */
const python = (body: string) => [
  "/usr/bin/python3",
  "-c",
  `import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def attack():
${body.split("\n").map((line) => `    ${line}`).join("\n")}
try:
    print("GOT", attack())
except Exception as error:
    print("NO", error)
`,
];
const node = (body: string) => ["node", "-e", `try { const got = (() => { ${body} })(); console.log("GOT", got); } catch (error) { console.log("NO", error.code); }`];

export const attacks: Attack[] = [
  // Reading.
  { name: "read a file of the data directory", argv: (s) => sh(`cat ${s.dataFile} && echo GOT || echo NO`), control: "machine" },
  { name: "read it from Node", argv: (s) => node(`return require("fs").readFileSync(${JSON.stringify(s.dataFile)}, "utf8")`), control: "machine" },
  { name: "read it by the root of process 1", argv: (s) => sh(`cat /proc/1/root${s.dataFile} && echo GOT || echo NO`), control: "machine", controlArgv: (s) => sh(`cat /proc/${s.victimPid}/root${s.dataFile} && echo GOT || echo NO`) },
  { name: "read it by the folder of process 1", argv: (s) => sh(`cd /proc/1/cwd && cat ../../../../../../..${s.dataFile} && echo GOT || echo NO`), control: "machine", controlArgv: (s) => sh(`cd /proc/${s.victimPid}/cwd && cat ../../../../../../..${s.dataFile} && echo GOT || echo NO`) },
  { name: "list the data directory", argv: (s) => sh(`ls ${s.dataDir} && echo GOT || echo NO`), control: "machine" },
  { name: "read a file of $HOME", argv: (s) => sh(`cat ${s.homeFile} && echo GOT || echo NO`), control: "machine" },
  { name: "read the user's environment", argv: (s) => sh(`grep -l ${s.secret} /proc/[0-9]*/environ 2>/dev/null | grep -qv self && echo GOT || echo NO`), control: "machine" },
  { name: "see the user's processes", argv: (s) => python(`for pid in os.listdir("/proc"):\n    if pid == "${s.victimPid}": return open("/proc/" + pid + "/cmdline").read()\nraise Exception("not listed")`), control: "machine" },
  // Writing.
  { name: "write into the data directory", argv: (s) => sh(`echo x > ${s.dataDir}/planted && echo GOT || echo NO`), control: "machine" },
  { name: "overwrite a file of the data directory", argv: (s) => sh(`printf '' >> ${s.dataFile} && echo GOT || echo NO`), control: "machine" },
  ...["/usr/bin/planted", "/etc/planted", "/planted", "/usr/local/bin/node", "/etc/hosts", "/etc/resolv.conf", "/dev/planted", "/var/planted"].map((path): Attack => ({ name: `write ${path}`, argv: () => python(`os.close(os.open("${path}", os.O_WRONLY | os.O_CREAT))\nreturn "${path}"`), control: "pod", controlArgv: () => python(`os.close(os.open("/tmp/planted", os.O_WRONLY | os.O_CREAT))\nreturn "written"`) })),
  ...["kernel/core_pattern", "kernel/hostname", "vm/drop_caches", "net/ipv4/ip_forward"].map((name): Attack => ({ name: `open /proc/sys/${name} for writing`, argv: () => python(`return os.open("/proc/sys/${name}", os.O_WRONLY)`), control: "root" })),
  { name: "raise the limit of user namespaces", argv: () => python(`fd = os.open("/proc/sys/user/max_user_namespaces", os.O_WRONLY)\nreturn os.write(fd, b"10")`), control: "namespace" },
  { name: "list the kernel's keys", argv: () => sh("[ -n \"$(cat /proc/keys)\" ] && echo GOT || echo NO"), control: "machine" },
  // Processes.
  { name: "signal a process of the user", argv: (s) => python(`os.kill(${s.victimPid}, 0)\nreturn "signalled"`), control: "machine" },
  { name: "trace a process of the user", argv: (s) => python(`check(libc.ptrace(0x4206, ${s.victimPid}, 0, 0))\nreturn "seized"`), control: "root" },
  { name: "read another process's memory", argv: (s) => python(`return os.open("/proc/${s.victimPid}/mem", os.O_RDONLY)`), control: "root" },
  { name: "join the user's namespaces", argv: (s) => python(`return os.open("/proc/${s.victimPid}/ns/net", os.O_RDONLY)`), control: "machine" },
  { name: "ask for the parent of its user namespace", argv: () => python(`import fcntl\nfd = os.open("/proc/self/ns/user", os.O_RDONLY)\nreturn fcntl.ioctl(fd, 0xb702)`), control: "namespace", controlArgv: () => python(`import fcntl\nfd = os.open("/proc/self/ns/net", os.O_RDONLY)\nreturn fcntl.ioctl(fd, 0xb701)`) },
  // Rights.
  { name: "make a user namespace", argv: () => python(`check(libc.unshare(0x10000000))\nreturn os.getuid()`), control: "machine" },
  { name: "make a mount namespace", argv: () => python(`check(libc.unshare(0x00020000))\nreturn "made"`), control: "namespace" },
  { name: "mount a file system", argv: () => python(`check(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None))\nreturn "mounted"`), control: "namespace" },
  { name: "make the root writable", argv: () => python(`check(libc.mount(b"none", b"/", None, 0x20 | 0x1000, None))\nreturn "remounted"`), control: "namespace" },
  { name: "bind a folder over another", argv: () => python(`check(libc.mount(b"/usr", b"/tmp", None, 0x1000, None))\nreturn "bound"`), control: "namespace" , controlArgv: () => python(`check(libc.mount(b"/usr", b"/tmp", None, 0x1000 | 0x4000, None))\nreturn "bound"`) },
  { name: "uncover what is masked", argv: () => python(`check(libc.umount2(b"/proc/kcore", 2))\nreturn "uncovered"`), control: "namespace", controlArgv: () => python(`check(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None)); check(libc.umount2(b"/tmp", 2))\nreturn "uncovered"`) },
  { name: "change the root", argv: () => python(`os.chroot("/tmp")\nreturn "changed"`), control: "namespace" },
  { name: "make a device", argv: () => python(`os.mknod("/tmp/disk", 0o60666, os.makedev(254, 0))\nreturn "made"`), control: "root", controlArgv: () => python(`import tempfile\npath = tempfile.mktemp()\nos.mknod(path, 0o60600, os.makedev(254, 0))\nos.unlink(path)\nreturn "made"`) },
  { name: "become root", argv: () => python(`os.setuid(0)\nreturn os.getuid()`), control: "namespace" },
  { name: "change groups", argv: () => python(`os.setgroups([0])\nreturn os.getgroups()`), control: "root" },
  { name: "run a set-user-id program", argv: () => sh(`cp /usr/bin/id /tmp/id && chmod 6755 /tmp/id && [ "$(/tmp/id -u)" = 0 ] && echo GOT || echo NO`), control: "root" },
  { name: "change the clock", argv: () => python(`import time\ntime.clock_settime(time.CLOCK_REALTIME, time.time())\nreturn "set"`), control: "root" },
  { name: "change the host's name", argv: () => python(`socket.sethostname("planted")\nreturn "named"`), control: "namespace" },
  // Network.
  { name: "reach the machine's loopback", argv: (s) => python(`socket.create_connection(("127.0.0.1", ${s.hostPort}), 2)\nreturn "connected"`), control: "machine" },
  { name: "reach the machine's own address", argv: (s) => python(`socket.create_connection(("${s.hostAddress ?? "127.0.0.1"}", ${s.hostPort}), 2)\nreturn "connected"`), control: "machine" },
  { name: "reach it by the gateway", argv: (s) => python(`socket.create_connection(("10.244.0.1", ${s.hostPort}), 2)\nreturn "connected"`), control: "machine", controlArgv: (s) => python(`socket.create_connection(("127.0.0.1", ${s.hostPort}), 2)\nreturn "connected"`) },
  { name: "reach an abstract socket", argv: (s) => python(`socket.socket(socket.AF_UNIX).connect("\\0${s.abstractSocket}")\nreturn "connected"`), control: "machine" },
  { name: "reach a socket in the file system", argv: (s) => python(`socket.socket(socket.AF_UNIX).connect("${s.pathSocket}")\nreturn "connected"`), control: "machine" },
  { name: "reach a Service nobody serves", argv: () => python(`socket.create_connection(("10.96.77.77", 80), 2)\nreturn "connected"`), control: "pod", controlArgv: (s) => python(`socket.create_connection(("${s.mirrorIP}", 80), 2)\nreturn "connected"`) },
  { name: "take another address", argv: () => sh("ip addr add 10.244.9.9/32 dev lo && echo GOT || echo NO"), control: "namespace" },
  { name: "take down its link", argv: () => sh("ip link set lo down && echo GOT || echo NO"), control: "namespace" },
  { name: "speak raw", argv: () => python(`return socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).fileno()`), control: "namespace" },
  { name: "speak to the wire", argv: () => python(`return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300).fileno()`), control: "namespace" },
  { name: "bind any address as a proxy does", argv: () => python(`s = socket.socket()\ns.setsockopt(0, 19, 1)\nreturn "transparent"`), control: "namespace" },
  {
    name: "speak with another pod's address",
    argv: (s) => python(`s = socket.socket()\ns.settimeout(2)\ns.setsockopt(0, 15, 1)\ns.bind(("${s.otherIP}", 0))\ns.connect(("${s.mirrorIP}", 80))\nreturn s.recv(100)`),
    control: "pod",
    controlArgv: (s) => python(`s = socket.socket()\ns.settimeout(2)\ns.setsockopt(0, 15, 1)\ns.bind(("${s.ownIP}", 0))\ns.connect(("${s.mirrorIP}", 80))\nheard = s.recv(100).decode()\nassert heard == "${s.ownIP}", heard\nreturn heard`),
  },
  // What namespaces do not separate.
  { name: "read the starter's session keyring", argv: () => python(`key = check(libc.syscall(250, 10, -3, b"user", b"wherry-canary", 0))\nbuffer = ctypes.create_string_buffer(64)\ncheck(libc.syscall(250, 11, key, buffer, 64))\nreturn buffer.value`), control: "machine", needsSeccomp: true },
  { name: "make a key", argv: () => python(`return check(libc.syscall(248, b"user", b"planted", b"x", 1, -3))`), control: "machine", needsSeccomp: true },
  { name: "use io_uring", argv: () => python(`return check(libc.syscall(425, 4, ctypes.create_string_buffer(120)))`), control: "machine", needsSeccomp: true },
  { name: "use userfaultfd", argv: () => python(`return check(libc.syscall(323, 1))`), control: "machine", needsSeccomp: true },
  { name: "speak to the hypervisor", argv: () => python(`return socket.socket(40, socket.SOCK_STREAM).fileno()`), control: "machine", needsSeccomp: true },
  { name: "walk an inherited descriptor", argv: (s) => sh(`for fd in /proc/self/fd/*; do [ -e $fd/kubeconfig ] && echo GOT $fd && exit; cat $fd/../../${s.dataFile} 2>/dev/null && echo GOT $fd && exit; done < /dev/null; echo NO`), control: "pod", controlArgv: () => sh(`mkdir /tmp/d; echo x > /tmp/d/kubeconfig; exec 7</tmp/d; for fd in /proc/$$/fd/*; do [ -e $fd/kubeconfig ] && echo GOT $fd && exit; done; echo NO`) },
];
