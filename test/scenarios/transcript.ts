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
 *
 * Lines starting with # are comments. A failure shows the command, what was expected and what came.
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
  expected: string[];
  exitCode: number;
  withinMs?: number | undefined;
  background?: string | undefined;
  show?: string | undefined;
}

export function parseTranscript(text: string): Step[] {
  const steps: Step[] = [];
  for (const [index, raw] of text.split("\n").entries()) {
    if (raw.startsWith("#")) continue;
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
      continue;
    }
    const step = steps.at(-1);
    if (!step) continue;
    const exit = /^\[exit (\d+)\]$/.exec(raw.trim());
    if (exit) step.exitCode = Number(exit[1]);
    else step.expected.push(raw.trimEnd());
  }
  for (const step of steps) while (step.expected.at(-1) === "") step.expected.pop();
  return steps;
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
    return l < lines.length && pattern.test(lines[l]!) && search(p + 1, l + 1);
  };
  if (search(0, 0)) return undefined;
  for (const [index, pattern] of patterns.entries()) {
    if (pattern && !lines.some((line) => pattern.test(line))) return `no line matches: ${expected[index]}`;
  }
  return "all expected lines are there, but more, or in another order";
}

function toPattern(line: string): RegExp {
  const escaped = line.replace(/<\*>|<[a-z0-9][a-z0-9 |/-]*>|[.*+?^${}()|[\]\\]/gi, (token) => {
    if (token === "<*>") return ".*";
    if (token.startsWith("<")) return token.includes("|") ? `(?:${token.slice(1, -1).split("|").join("|")})` : "\\S+";
    return `\\${token}`;
  });
  return new RegExp(`^${escaped}$`);
}

interface Background {
  child: ChildProcess;
  output: string;
}

export async function runTranscript(file: string, options: TranscriptOptions): Promise<void> {
  const background = new Map<string, Background>();
  const fill = (text: string) => text.replace(/\$([A-Z][A-Z_]+)\b/g, (whole, name: string) => options.variables?.[name] ?? whole);
  const fail = (step: Step, why: string, output: string) => {
    throw new Error(`${file}:${step.line}: ${step.command}\n  ${why}\n  expected:\n${step.expected.map((line) => `    ${line}`).join("\n")}\n  came:\n${output.trimEnd().split("\n").map((line) => `    ${line}`).join("\n")}`);
  };
  try {
    for (const step of parseTranscript(fill(readFileSync(file, "utf8")))) {
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
      for (;;) {
        const shown = step.show === undefined ? undefined : background.get(step.show);
        const result = shown ? { output: shown.output, exitCode: step.exitCode } : await runCommand(step.command, options);
        const why = result.exitCode === step.exitCode ? mismatch(step.expected, result.output) : `exit code ${result.exitCode} instead of ${step.exitCode}`;
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
