import { spawn } from "node:child_process";
import { closeSync, constants as fsConstants, openSync } from "node:fs";
import { constants } from "node:os";
import type { Readable, Writable } from "node:stream";
import { joinPrefix } from "./cgroups.ts";
import { type IsolatedContainer, terminalCommand } from "./container.ts";
import { descendantsOf, identify, isAlive, type ProcessIdentity, signalProcess } from "./processes.ts";
import { type ExecProcess, type ExecSpec, SandboxRefusal } from "./sandbox.ts";
import { limitProcesses, packEnvironment } from "./stage.ts";
import { TerminalSize, terminalSoon } from "./terminal-size.ts";

/**
 * Runs a program in a container's namespaces. Where Wherry is root, it takes the pod's uid on the machine first: entering
 * the pod's user namespace as uid 0 would leave a process that still owns root's files. The program is forked after all
 * namespaces were entered, so the pod never sees a process with rights.
 */
export async function execInContainer(container: IsolatedContainer, init: ProcessIdentity, spec: ExecSpec): Promise<ExecProcess> {
  const { runtime } = container;
  const { tools } = runtime;
  if (spec.argv.length === 0) throw new SandboxRefusal("ExecError", "no command specified");
  if (spec.tty && (!tools.script || !tools.stty)) throw new SandboxRefusal("ExecError", "a terminal needs the program `script` (Debian: bsdutils) and `stty` (coreutils), which this machine lacks");
  const owner = container.hostUid;
  const opened: number[] = [];
  try {
    const out = await runtime.fifos.output(owner);
    opened.push(out.fd);
    const err = spec.tty ? out : await runtime.fifos.output(owner);
    if (err !== out) opened.push(err.fd);
    let stdin: Writable | undefined;
    let stdinFd: number | "ignore" = "ignore";
    if (spec.stdin || spec.tty) {
      const input = await runtime.fifos.input(owner);
      opened.push(input.fd);
      stdinFd = input.fd;
      stdin = input.stream;
    }
    if (!isAlive(init)) throw new SandboxRefusal("ContainerNotRunning", "the container is not running");
    const env = { ...container.podEnv, ...spec.env, ...(spec.tty && !container.podEnv["TERM"] && !spec.env?.["TERM"] ? { TERM: "xterm" } : {}) };
    const packed = packEnvironment(env);
    const program = [...(packed.viaEnv.length > 0 ? [tools.env, ...packed.viaEnv] : []), ...(spec.tty ? terminalCommand(tools, spec.argv, { columns: 80, rows: 24 }) : spec.argv)];
    // With uid 0 inside, entering the namespace gives its capabilities, and uid 0 keeps them over an exec: empty the bounding set.
    const drop = container.spec.uid === 0 ? [tools.setpriv, "--inh-caps=-all", "--bounding-set=-all"] : [];
    const stdio: (number | "ignore" | "pipe")[] = [stdinFd, out.fd, err.fd];
    let seccomp: string[] = [];
    if (runtime.seccompPath && tools.bwrap) {
      const fd = openSync(runtime.seccompPath, fsConstants.O_RDONLY);
      opened.push(fd);
      stdio.push("ignore", "ignore", "ignore", "ignore", "ignore", fd);
      seccomp = [tools.bwrap, "--dev-bind", "/", "/", "--cap-add", "ALL", "--die-with-parent", "--seccomp", "8", "--"];
    }
    const missing = 'command -v "$1" >/dev/null 2>&1 || { echo "exec: \\"$1\\": executable file not found in \\$PATH" >&2; exit 127; }';
    const shell = [tools.sh, "-c", `exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&-; unset LC_ALL WHERRY_SANDBOX PWD OLDPWD; ${limitProcesses(container.processesMax)}\n${packed.unpack}; ${spec.tty ? "" : `${missing}; `}exec "$@"`, "sh", ...program];
    const join = [tools.nsenter, "-t", String(init.pid), "-U", "--preserve-credentials", "-m", "-n", "-p", "-i", "-u", "-r", "-w", ...drop, ...shell];
    const caps = "+sys_admin,+sys_chroot,+sys_ptrace";
    const argv = [
      tools.setpriv, "--pdeathsig", "KILL", ...joinPrefix(container.cgroup?.folders ?? [], tools.sh),
      ...(tools.isRoot
        ? [...seccomp, tools.setpriv, `--reuid=${owner}`, `--regid=${container.hostGid}`, container.hostGroups.length > 0 ? `--groups=${container.hostGroups.map(({ host }) => host).join(",")}` : "--clear-groups", "--no-new-privs", `--inh-caps=${caps}`, `--ambient-caps=${caps}`, "--pdeathsig", "KILL", ...join]
        : [tools.setpriv, "--no-new-privs", ...runtime.network.enterAsAdmin, ...seccomp, ...join]),
    ];
    const child = spawn(argv[0]!, argv.slice(1), { env: { ...runtime.env, ...packed.variables }, stdio, detached: true, cwd: "/" });
    return new IsolatedExec(container, child, stdin, out.stream, err.stream, spec.tty);
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

class IsolatedExec implements ExecProcess {
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exited: Promise<number>;
  readonly #container: IsolatedContainer;
  readonly #outer: ProcessIdentity | undefined;
  readonly #tty: boolean;
  readonly #size = new TerminalSize(async (columns, rows) => {
    const terminal = this.#outer && (await terminalSoon(this.#outer, this.#container.runtime.clock));
    if (terminal) await this.#container.setTerminalSize(terminal, columns, rows);
  });

  constructor(container: IsolatedContainer, child: ReturnType<typeof spawn>, stdin: Writable | undefined, stdout: Readable, stderr: Readable, tty: boolean) {
    this.#container = container;
    this.stdin = stdin;
    this.stdout = stdout;
    this.stderr = stderr;
    this.#tty = tty;
    this.#outer = child.pid === undefined ? undefined : identify(child.pid);
    const entry = this.#outer && { outer: this.#outer, kill: () => this.kill() };
    if (entry) container.execs.add(entry);
    this.exited = new Promise((resolve) => {
      child.on("error", () => resolve(126));
      child.on("exit", (code, signal) => {
        if (entry) container.execs.delete(entry);
        resolve(code ?? 128 + constants.signals[signal!]);
      });
    });
  }
  resize(columns: number, rows: number): void {
    if (this.#tty) this.#size.want(columns, rows);
  }
  kill(): void {
    if (!this.#outer || !isAlive(this.#outer)) return;
    // Those inside first: the wrappers pass no signal on.
    for (const pid of descendantsOf(this.#outer.pid).slice(1).toReversed()) {
      const inner = identify(pid);
      if (inner) signalProcess(inner, "SIGKILL");
    }
    signalProcess(this.#outer, "SIGKILL");
  }
}
