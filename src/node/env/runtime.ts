/** What a container may use, and which program uses it. */
export interface RuntimeInput {
  argv: readonly string[];
  /** The environment as manifest and image have it. */
  env: Readonly<Record<string, string>>;
  limits: { readonly memoryBytes?: number; readonly cpuMillis?: number };
  /** Cores of the machine. */
  cores: number;
}

/**
 * Language runtimes size themselves by the machine: a heap may grow past the container's memory limit before it is
 * collected, and threads are made for cores that the CPU quota never grants. The result
 * are the variables that tell them the limits instead. What the manifest or the image says stays: an option of the
 * same meaning wins, other options are joined, an empty value means none at all.
 *
 * A container of which the program's name does not tell the runtime (a Go binary, a shell, a launcher) gets the
 * variables of all, because each is read by its own runtime alone.
 */
export function runtimeVariables({ argv, env, limits, cores }: RuntimeInput): Record<string, string> {
  const runtimes = runtimesOf(argv);
  const memoryMiB = limits.memoryBytes === undefined ? undefined : limits.memoryBytes / 2 ** 20;
  const cpus = limits.cpuMillis === undefined ? undefined : Math.min(Math.max(1, cores), Math.max(1, Math.ceil(limits.cpuMillis / 1000)));
  const result: Record<string, string> = {};
  const set = (name: string, value: string) => void (env[name] === undefined && (result[name] = value));
  // Theirs stand last: the last of two equal options counts.
  const join = (name: string, options: readonly string[]) => {
    if (options.length > 0 && env[name] !== "") result[name] = [...options, ...(env[name] === undefined ? [] : [env[name]])].join(" ");
  };

  if (runtimes.has("node")) {
    if (memoryMiB !== undefined && !nodeHeap.test(env["NODE_OPTIONS"] ?? "")) join("NODE_OPTIONS", nodeHeapOptions(memoryMiB));
    // Half of them wait for the disk or a name at any time.
    if (cpus !== undefined) set("UV_THREADPOOL_SIZE", String(2 * cpus));
  }
  if (runtimes.has("go")) {
    if (memoryMiB !== undefined) set("GOMEMLIMIT", `${Math.max(1, Math.floor(memoryMiB * 0.9))}MiB`);
    if (cpus !== undefined) set("GOMAXPROCS", String(cpus));
  }
  if (runtimes.has("java")) {
    const theirs = ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"].map((name) => env[name] ?? "").join(" ");
    join("JAVA_TOOL_OPTIONS", [
      // MaxRAM makes the percentages those of the limit where no control group tells the JVM; below some 250 MiB it goes by the "Min" one.
      ...(memoryMiB !== undefined && !javaHeap.test(theirs) ? [`-XX:MaxRAM=${limits.memoryBytes}`, "-XX:MaxRAMPercentage=75", "-XX:MinRAMPercentage=75"] : []),
      ...(cpus !== undefined && !theirs.includes("-XX:ActiveProcessorCount") ? [`-XX:ActiveProcessorCount=${cpus}`] : []),
    ]);
  }
  return result;
}

/** Of the memory limit, three quarters are for old objects: the rest is code, buffers, stacks and the young generation. */
function nodeHeapOptions(memoryMiB: number): string[] {
  const old = Math.max(1, Math.floor(memoryMiB * 0.75));
  // The young generation is three such spaces of up to 16 MiB each, which alone would fill a small container.
  const semi = 2 ** Math.floor(Math.log2(Math.max(1, memoryMiB / 64)));
  return [`--max-old-space-size=${old}`, ...(semi < 16 ? [`--max-semi-space-size=${semi}`] : [])];
}

// V8 reads dashes and underscores alike.
const nodeHeap = /--max[-_](old[-_]space|heap)[-_]size/;
const javaHeap = /-Xmx|-XX:(MaxHeapSize|MaxRAM|MaxRAMPercentage|MinRAMPercentage|MaxRAMFraction)=/;

type Runtime = "node" | "go" | "java";
const all: readonly Runtime[] = ["node", "go", "java"];
const programs: Readonly<Record<string, readonly Runtime[]>> = {
  ...Object.fromEntries(["node", "npm", "npx", "yarn", "pnpm", "corepack", "tsx", "ts-node", "nodemon", "next"].map((name) => [name, ["node"]])),
  ...Object.fromEntries(["java", "javaw", "jshell"].map((name) => [name, ["java"]])),
  go: ["go"],
  ...Object.fromEntries(["redis-server", "postgres", "python", "python3", "nginx", "sleep", "curl", "cat", "true", "false", "echo", "tail"].map((name) => [name, []])),
};
/** Programs that start another with what stands behind them. */
const launchers = new Set(["tini", "dumb-init", "env", "exec", "nice", "ionice", "timeout", "stdbuf"]);

/** Which runtimes the container's program may be, by the first word that is no launcher's. */
function runtimesOf(argv: readonly string[]): ReadonlySet<Runtime> {
  let launched = false;
  for (const word of argv) {
    const name = word.slice(word.lastIndexOf("/") + 1);
    if (launchers.has(name)) launched = true;
    // Options, durations and assignments of a launcher.
    else if (!(launched && /^(-|\d|\w+=)/.test(word))) return new Set(Object.hasOwn(programs, name) ? programs[name] : all);
  }
  return new Set(all);
}
