import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";

/**
 * Runs a transcript: a text of commands and what a person must see after each.
 *
 *   $ kubectl get pods -n shop          a command; the lines below it are its whole output
 *   NAME        READY   STATUS          compared word by word: runs of blanks count as one
 *   web-<hash>  1/1     Running         <name> stands for one word; <*> for the rest of the line
 *   ...                                 any lines
 *   [exit 1]                            expected exit code (default 0)
 *   $ kubectl get pods   [within 30s]   repeated until it matches
 *   $ kubectl logs -f x  [background log]   goes on; its output so far is compared by the next line, repeated until it matches
 *   > log [within 5s]                   what the background command has printed since it began
 *   $ stop log                          ends it
 *   $$ text                             a shell script line whose output is compared as well ($ runs it without a terminal too)
 *   $ POD=$(kubectl get pods -o name)   kept for the commands that follow, as at a person's shell; must not be empty
 *   $ kubectl apply \                   goes on in the next line
 *   $ kubectl apply -f - <<'END'        goes on up to the line END
 *
 * Of words, <a|b> stands for one of them, <3..7> and <3..> for a whole number within these bounds.
 * Lines starting with # are comments. A failure shows the command, what was expected and what came.
 *
 * A Markdown page is a transcript too: its blocks fenced as ```console, one after the other; a deadline for all commands
 * of a block stands where a reader does not see it: ```console within=10s.
 */
export interface TranscriptOptions {
  cwd: string;
  env: Record<string, string>;
  /** Multiplies nothing: the time one command may take at most, in ms. */
  commandTimeoutMs?: number;
  /** Replaces $NAME in commands and expectations before they run. */
  variables?: Record<string, string>;
  onStep?: (command: string, elapsedMs: number) => void;
  /** What runs a command, which is its last word; ["/bin/sh", "-c"] unless said. */
  shell?: readonly string[];
}

interface Step {
  line: number;
  command: string;
  /** The variable that this command sets for those that follow. */
  keeps?: string | undefined;
  expected: string[];
  exitCode: number;
  withinMs?: number | undefined;
  background?: string | undefined;
  show?: string | undefined;
}

export function parseTranscript(text: string): Step[] {
  const steps: Step[] = [];
  let goesOn = false;
  /** What ends the here-document of the last command. */
  let end: string | undefined;
  for (const [index, raw] of text.split("\n").entries()) {
    const last = steps.at(-1);
    if (end !== undefined && last) {
      last.command += `\n${raw}`;
      if (raw === end) end = undefined;
      continue;
    }
    if (goesOn && last) {
      goesOn = raw.endsWith("\\");
      last.command += `\n${raw}`;
      continue;
    }
    if (raw.startsWith("#")) continue;
    goesOn = raw.startsWith("$ ") && raw.endsWith("\\");
    const start = /^(\$|>) (.*?)(?:\s+\[(within|background) ([^\]]+)\])?(?:\s+\[within ([^\]]+)\])?\s*$/.exec(raw);
    if (start) {
      const [, mark, command, word, value, again] = start as unknown as [string, string, string, string?, string?, string?];
      const within = word === "within" ? value : again;
      steps.push({
        line: index + 1,
        command,
        expected: [],
        exitCode: 0,
        withinMs: within ? Number.parseFloat(within) * 1000 : undefined,
        background: word === "background" ? value : undefined,
        show: mark === ">" ? command.trim() : undefined,
      });
      end = /<<(['"]?)([A-Z]+)\1(?=\s|$)/.exec(command)?.[2];
      continue;
    }
    if (!last) continue;
    const exit = /^\[exit (\d+)\]$/.exec(raw.trim());
    if (exit) last.exitCode = Number(exit[1]);
    else last.expected.push(raw.trimEnd());
  }
  for (const step of steps) {
    while (step.expected.at(-1) === "") step.expected.pop();
    step.keeps = /^([A-Z][A-Z0-9_]*)=(\$\([^]*\)|[^\s$]*)$/.exec(step.command)?.[1];
  }
  return steps;
}

/** The blocks of a page that are fenced as `console`; lines keep their numbers. */
export function parsePage(text: string): Step[] {
  let within: number | undefined;
  let isInside = false;
  const deadlines: (number | undefined)[] = [];
  const lines = text.split("\n").map((line, index) => {
    const fence = /^```(?:console(?: within=(\S+))?)?\s*$/.exec(line);
    if (fence) {
      isInside = !isInside && line.startsWith("```console");
      within = fence[1] === undefined ? undefined : Number.parseFloat(fence[1]) * 1000;
    }
    deadlines[index + 1] = within;
    return fence || !isInside ? "#" : line;
  });
  return parseTranscript(lines.join("\n")).map((step) => ({ ...step, withinMs: step.withinMs ?? deadlines[step.line] }));
}

/** Whether the output is what the expectation says; gives the first line that is not. */
export function mismatch(expected: readonly string[], output: string): string | undefined {
  const lines = output.split("\n").map((line) => line.trim().replace(/\s+/g, " "));
  while (lines.at(-1) === "") lines.pop();
  const patterns = expected.map((line) => (line.trim() === "..." ? undefined : toPattern(line.trim().replace(/\s+/g, " "))));
  const search = (p: number, l: number): boolean => {
    if (p === patterns.length) return l === lines.length;
    const pattern = patterns[p];
    if (pattern === undefined) {
      for (let next = l; next <= lines.length; next++) if (search(p + 1, next)) return true;
      return false;
    }
    return l < lines.length && pattern(lines[l]!) && search(p + 1, l + 1);
  };
  if (search(0, 0)) return undefined;
  for (const [index, pattern] of patterns.entries()) {
    if (pattern && !lines.some(pattern)) return `no line matches: ${expected[index]}`;
  }
  return "all expected lines are there, but more, or in another order";
}

function toPattern(expected: string): (line: string) => boolean {
  const bounds: [least: number, most: number][] = [];
  const escaped = expected.replace(/<\*>|<\d+\.\.\d*>|<[a-z0-9][a-z0-9 |/-]*>|[.*+?^${}()|[\]\\]/gi, (token) => {
    if (token === "<*>") return ".*";
    const range = /^<(\d+)\.\.(\d*)>$/.exec(token);
    if (range) {
      bounds.push([Number(range[1]), range[2] === "" ? Infinity : Number(range[2])]);
      return "(\\d+)";
    }
    if (token.startsWith("<")) return token.includes("|") ? `(?:${token.slice(1, -1).split("|").join("|")})` : "\\S+";
    return `\\${token}`;
  });
  const pattern = new RegExp(`^${escaped}$`);
  return (line) => pattern.exec(line)?.slice(1).every((number, index) => Number(number) >= bounds[index]![0] && Number(number) <= bounds[index]![1]) ?? false;
}

interface Background {
  child: ChildProcess;
  output: string;
}

export async function runTranscript(file: string, given: TranscriptOptions): Promise<void> {
  const background = new Map<string, Background>();
  const fill = (text: string) => text.replace(/\$([A-Z][A-Z_]+)\b/g, (whole, name: string) => given.variables?.[name] ?? whole);
  const fail = (step: Step, why: string, output: string) => {
    throw new Error(`${file}:${step.line}: ${step.command}\n  ${why}\n  expected:\n${step.expected.map((line) => `    ${line}`).join("\n")}\n  came:\n${output.trimEnd().split("\n").map((line) => `    ${line}`).join("\n")}`);
  };
  const env = { ...given.env };
  const options = { ...given, env };
  const keep = (name: string, value: string) => {
    env[name] = value;
    return value === "" ? `${name} is empty` : undefined;
  };
  try {
    const text = fill(readFileSync(file, "utf8"));
    for (const step of file.endsWith(".md") ? parsePage(text) : parseTranscript(text)) {
      const began = performance.now();
      const deadline = began + (step.withinMs ?? 0);
      if (step.background) {
        const [program, ...words] = shellOf(options);
        const child = spawn(program, [...words, step.command], { cwd: options.cwd, env: options.env, stdio: ["ignore", "pipe", "pipe"], detached: true });
        const entry: Background = { child, output: "" };
        child.stdout.on("data", (chunk: Buffer) => (entry.output += chunk.toString()));
        child.stderr.on("data", (chunk: Buffer) => (entry.output += chunk.toString()));
        background.set(step.background, entry);
        continue;
      }
      if (/^stop \w+$/.test(step.command)) {
        stop(background.get(step.command.slice(5)));
        continue;
      }
      if (step.keeps !== undefined) step.command += `\nstatus=$?; printf %s "$${step.keeps}"; exit $status`;
      for (;;) {
        const shown = step.show === undefined ? undefined : background.get(step.show);
        const result = shown ? { output: shown.output, exitCode: step.exitCode } : await runCommand(step.command, options);
        const why = result.exitCode === step.exitCode ? (step.keeps === undefined ? mismatch(step.expected, result.output) : keep(step.keeps, result.output)) : `exit code ${result.exitCode} instead of ${step.exitCode}`;
        if (why === undefined) break;
        if (performance.now() >= deadline) fail(step, why, result.output);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      options.onStep?.(step.command, performance.now() - began);
    }
  } finally {
    for (const entry of background.values()) stop(entry);
  }
}

const shellOf = ({ shell = ["/bin/sh", "-c"] }: TranscriptOptions) => shell as readonly [string, ...string[]];

function stop(entry: Background | undefined): void {
  // The group is ours: the shell was started as its leader.
  if (entry?.child.pid !== undefined && entry.child.exitCode === null && entry.child.signalCode === null) process.kill(-entry.child.pid, "SIGTERM");
}

function runCommand(command: string, options: TranscriptOptions): Promise<{ output: string; exitCode: number }> {
  return new Promise((resolve) => {
    const timeoutMs = options.commandTimeoutMs ?? 120_000;
    const [program, ...words] = shellOf(options);
    const child = spawn(program, [...words, command], { cwd: options.cwd, env: options.env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    // The whole group: what the shell started holds its output open, and "close" would never come.
    const timer = setTimeout(() => {
      output += `\n[ended: it took more than ${timeoutMs} ms]\n`;
      try {
        process.kill(-child.pid!, "SIGKILL");
      } catch {
        // Only somebody with a session of his own is left.
      }
      child.stdout.destroy();
      child.stderr.destroy();
    }, timeoutMs);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ output, exitCode: code ?? (signal ? 128 : 1) });
    });
  });
}
