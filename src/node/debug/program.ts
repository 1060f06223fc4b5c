/** Programs that start another with what stands behind them, and those that start Node in the end. */
const launchers = /^(tini|dumb-init|env|exec|nice|ionice|timeout|stdbuf)$/;
const wrappers = /(^|[\s/;&|"'])(node|npm|npx|yarn|pnpm|corepack|tsx|ts-node|nodemon|next)([\s"';&|]|$)/;

export interface DebuggedProgram {
  argv: string[];
  env: Record<string, string>;
}

/**
 * How a container's command is started so that its Node listens for a debugger at `host:port`; undefined when it is no Node.
 * `node` itself gets the option. What starts Node by way of others (npm, a shell) has it in the environment, where the
 * first that is none of those tools takes the port; its children then say that the port is taken, and go on.
 * Source of the options: nodejs.org/api/cli.html#--inspecthostport, nodejs.org/api/inspector.html#inspectoropenport-host-wait.
 */
export function debuggedProgram(argv: readonly string[], env: Readonly<Record<string, string>>, host: string, port: number): DebuggedProgram | undefined {
  // Somebody has a debugger of their own.
  if (/--inspect/.test(`${argv.join(" ")} ${env["NODE_OPTIONS"] ?? ""}`)) return undefined;
  const at = argv.findIndex((word) => /(^|\/)node$/.test(word));
  if (at === 0 || (at > 0 && launchers.test(argv[0]!.slice(argv[0]!.lastIndexOf("/") + 1)))) {
    // Its address is told elsewhere; in the log it would be one that nobody can reach.
    return { argv: [...argv.slice(0, at + 1), `--inspect=${host}:${port}`, "--inspect-publish-uid=http", ...argv.slice(at + 1)], env: {} };
  }
  if (!wrappers.test(argv.join(" "))) return undefined;
  const script = `import i from "node:inspector";if(!/\\/(npm|npx|yarn|pnpm|corepack|tsx|ts-node|nodemon)(-cli|\\.c?js|\\/|$)/.test(process.argv[1]??""))try{i.open(${port},${JSON.stringify(host)})}catch{}`;
  return { argv: [...argv], env: { NODE_OPTIONS: [`--import=data:text/javascript,${encodeURIComponent(script)}`, "--inspect-publish-uid=http", env["NODE_OPTIONS"]].filter(Boolean).join(" ") } };
}
