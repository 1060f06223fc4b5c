import { posix } from "node:path";
import type { Artifact } from "../../api/artifacts.ts";
import { WherryError } from "../../base/errors.ts";

/**
 * Reads what a Dockerfile says about running its image, without building it: RUN lines are skipped (and listed),
 * COPY lines become a map from image paths to the live folder, through all build stages.
 * Source: the Dockerfile reference of docs.docker.com.
 */
export interface DockerfileImage extends Pick<Artifact, "entrypoint" | "cmd" | "env" | "workingDir" | "user" | "users" | "exposedPorts" | "stopSignal" | "mounts" | "base" | "skippedRun" | "volumes"> {}

interface Options {
  /** For messages. */
  file: string;
  buildArgs?: Readonly<Record<string, string>>;
  /** Stop at this stage instead of the last. */
  target?: string;
  /** Whether a path of the context (relative, "/" separated) is a folder; decides what `COPY x y/` means. */
  isFolder: (contextPath: string) => boolean;
}

interface Instruction {
  line: number;
  name: string;
  text: string;
}

interface Mapping {
  imagePath: string;
  contextPath: string;
}

class Stage {
  readonly name: string;
  base: string;
  entrypoint: string[] = [];
  cmd: string[] = [];
  env: Record<string, string> = {};
  args: Record<string, string> = {};
  workingDir = "/";
  user = "";
  users: Record<string, number> = {};
  exposedPorts: number[] = [];
  stopSignal = "SIGTERM";
  shell = ["/bin/sh", "-c"];
  mappings: Mapping[] = [];
  skippedRun: string[] = [];
  volumes: string[] = [];

  constructor(name: string, base: string, parent?: Stage) {
    this.name = name;
    this.base = base;
    if (parent) {
      const { name: _, ...inherited } = parent;
      Object.assign(this, inherited, { env: { ...parent.env }, args: {}, users: { ...parent.users }, exposedPorts: [...parent.exposedPorts], mappings: [...parent.mappings], skippedRun: [...parent.skippedRun] });
    }
  }

  /**
   * Where an image path lives in the context. A path that only a skipped RUN would have made (node_modules)
   * resolves to the same place beside its neighbours: /app/package.json ↔ package.json implies /app ↔ the root.
   */
  resolve(imagePath: string): string | undefined {
    const covering = this.mappings.filter(({ imagePath: from }) => below(imagePath, from)).sort((a, b) => b.imagePath.length - a.imagePath.length)[0];
    if (covering) return posix.join(covering.contextPath, posix.relative(covering.imagePath, imagePath));
    let best: Mapping | undefined;
    for (const { imagePath: from, contextPath } of this.mappings) {
      let [image, context] = [from, contextPath];
      while (image !== "/" && context !== "." && posix.basename(image) === posix.basename(context)) {
        image = posix.dirname(image);
        context = posix.dirname(context);
        if (below(imagePath, image) && image !== "/" && (!best || image.length > best.imagePath.length)) best = { imagePath: image, contextPath: context };
      }
    }
    return best && posix.join(best.contextPath, posix.relative(best.imagePath, imagePath));
  }
}

const below = (path: string, folder: string) => folder === "/" || path === folder || path.startsWith(`${folder}/`);

export function parseDockerfile(text: string, options: Options): DockerfileImage {
  const stages: Stage[] = [];
  const globalArgs: Record<string, string> = {};
  let stage: Stage | undefined;

  for (const instruction of instructions(text)) {
    const fail = (why: string): never => {
      throw new WherryError("MANIFEST_INVALID", `${options.file}:${instruction.line}: ${instruction.name} ${instruction.text}: ${why}`);
    };
    const variables = (): Record<string, string> => ({ ...(stage ? stage.args : globalArgs), ...stage?.env });
    const expand = (value: string) => substitute(value, variables());
    const { name, text } = instruction;

    if (name === "ARG") {
      for (const pair of words(text)) {
        const [key, fallback] = splitPair(pair);
        const value = options.buildArgs?.[key] ?? (fallback !== undefined ? expand(unquote(fallback)) : globalArgs[key]);
        if (value !== undefined) (stage ? stage.args : globalArgs)[key] = value;
      }
      continue;
    }
    if (name === "FROM") {
      const parts = words(text).filter((word) => !word.startsWith("--"));
      const base = substitute(parts[0] ?? fail("names no image"), globalArgs);
      const as = parts[1]?.toLowerCase() === "as" ? parts[2]!.toLowerCase() : String(stages.length);
      const parent = stages.find((other) => other.name === base.toLowerCase());
      stage = new Stage(as, parent ? parent.base : base, parent);
      stages.push(stage);
      continue;
    }
    if (!stage) fail("comes before the first FROM");
    const current = stage!;
    switch (name) {
      case "ENV":
        for (const [key, value] of environmentPairs(text)) current.env[key] = expand(value);
        break;
      case "WORKDIR":
        current.workingDir = posix.resolve(current.workingDir, expand(unquote(text)));
        break;
      case "COPY":
      case "ADD":
        copy(current, stages, name, expand(text), options, fail);
        break;
      case "RUN":
        current.skippedRun.push(text);
        // alpine: adduser -u 1001 -S appuser -G appgroup; debian: useradd --uid 1001 app
        for (const match of text.matchAll(/\b(?:adduser|useradd)\b([^&|;]*)/g)) {
          const uid = /(?:^|\s)(?:-u|--uid)[ =]?(\d+)/.exec(match[1]!)?.[1];
          const user = userNameOf(match[1]!);
          if (user) current.users[user] = uid ? Number(uid) : 1001;
        }
        break;
      case "USER":
        current.user = expand(unquote(text));
        break;
      case "EXPOSE":
        for (const port of words(expand(text))) current.exposedPorts.push(Number.parseInt(port, 10));
        break;
      case "CMD":
        current.cmd = commandOf(text, current.shell, fail);
        break;
      case "ENTRYPOINT":
        current.entrypoint = commandOf(text, current.shell, fail);
        current.cmd = []; // a new ENTRYPOINT resets an inherited CMD
        break;
      case "SHELL":
        current.shell = JSON.parse(text) as string[];
        break;
      case "STOPSIGNAL":
        current.stopSignal = expand(text).replace(/^(?!SIG|\d)/, "SIG");
        break;
      case "VOLUME": {
        const given = expand(text);
        const paths = given.startsWith("[") ? (JSON.parse(given) as string[]) : words(given).map(unquote);
        current.volumes = [...new Set([...current.volumes, ...paths.map((path) => posix.resolve("/", path))])];
        break;
      }
      case "LABEL":
      case "HEALTHCHECK": // Kubernetes has its own probes and ignores this one
      case "ONBUILD":
      case "MAINTAINER":
        break;
      default:
        fail("is not a Dockerfile instruction");
    }
  }

  const chosen = options.target ? stages.find((candidate) => candidate.name === options.target!.toLowerCase()) : stages.at(-1);
  if (!chosen) throw new WherryError("MANIFEST_INVALID", `${options.file}: ${options.target ? `has no stage "${options.target}"` : "has no FROM"}`);
  return {
    entrypoint: chosen.entrypoint,
    cmd: chosen.cmd,
    env: chosen.env,
    workingDir: chosen.workingDir,
    user: chosen.user,
    users: chosen.users,
    exposedPorts: chosen.exposedPorts,
    stopSignal: chosen.stopSignal,
    mounts: minimal(chosen.mappings),
    base: chosen.base,
    skippedRun: chosen.skippedRun,
    volumes: chosen.volumes,
  };
}

function copy(stage: Stage, stages: readonly Stage[], name: string, text: string, options: Options, fail: (why: string) => never): void {
  const flags: Record<string, string> = {};
  let parts = text.trim().startsWith("[") ? (JSON.parse(text) as string[]) : words(text);
  parts = parts.filter((part) => {
    const flag = /^--([a-z]+)(?:=(.*))?$/.exec(part);
    if (flag) flags[flag[1]!] = flag[2] ?? "";
    return !flag;
  });
  if (parts.length < 2) fail("needs a source and a destination");
  const destination = unquote(parts.at(-1)!);
  const intoFolder = destination.endsWith("/") || destination === "." || destination === "./" || parts.length > 2;
  const target = posix.resolve(stage.workingDir, destination);
  const from = flags["from"] === undefined ? undefined : stages.find((other, index) => other.name === flags["from"]!.toLowerCase() || String(index) === flags["from"]);
  if (flags["from"] !== undefined && !from) return; // from a foreign image: nothing of it is in the live folder

  for (const part of parts.slice(0, -1).map(unquote)) {
    if (name === "ADD" && /^(https?|git):/.test(part)) fail("downloads, which is not done here; put the file into the folder");
    const contextPath = from ? from.resolve(posix.resolve("/", part)) : posix.normalize(part).replace(/^\/+|\/+$/g, "") || ".";
    if (contextPath === undefined) continue;
    if (contextPath.startsWith("..")) fail(`leaves the build context: ${part}`);
    const glob = /[*?[]/.test(contextPath);
    // A pattern stands for the files of its folder: the folder is shown whole.
    const source = glob ? posix.dirname(contextPath) : contextPath;
    const isFolder = glob || source === "." || options.isFolder(source);
    const imagePath = intoFolder && !isFolder ? posix.join(target, posix.basename(source)) : target;
    stage.mappings = [...stage.mappings.filter((mapping) => mapping.imagePath !== imagePath), { imagePath, contextPath: source }];
  }
}

/** Drops mappings that a shorter one already gives; longest image path first, as mounts are looked up. */
function minimal(mappings: readonly Mapping[]): Mapping[] {
  return mappings
    .filter(({ imagePath, contextPath }) => !mappings.some((other) => other.imagePath !== imagePath && below(imagePath, other.imagePath) && posix.join(other.contextPath, posix.relative(other.imagePath, imagePath)) === contextPath))
    .sort((a, b) => b.imagePath.length - a.imagePath.length || (a.imagePath < b.imagePath ? -1 : 1));
}

/** Joins continued lines, drops comments, keeps heredocs with their instruction. */
function* instructions(text: string): Generator<Instruction> {
  const lines = text.split(/\r?\n/);
  const escape = /^#\s*escape\s*=\s*(.)/im.exec(lines.slice(0, 3).join("\n"))?.[1] ?? "\\";
  for (let index = 0; index < lines.length; index++) {
    const line = index + 1;
    let current = lines[index]!.trim();
    if (current === "" || current.startsWith("#")) continue;
    while (current.endsWith(escape) && index + 1 < lines.length) {
      do index++;
      while (index < lines.length - 1 && lines[index]!.trim().startsWith("#"));
      current = `${current.slice(0, -1).trimEnd()} ${lines[index]!.trim()}`;
    }
    for (const heredoc of current.matchAll(/<<-?["']?(\w+)["']?/g)) {
      while (++index < lines.length && lines[index]!.trim() !== heredoc[1]) current += `\n${lines[index]}`;
    }
    const [, name, rest] = /^(\S+)\s*([\s\S]*)$/.exec(current)!;
    yield { line, name: name!.toUpperCase(), text: rest!.trim() };
  }
}

/** Words as a shell would cut them, quotes kept on the word. */
function words(text: string): string[] {
  return text.match(/(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'])+/g) ?? [];
}

function unquote(word: string): string {
  return word.replace(/"((?:\\.|[^"\\])*)"|'([^']*)'|\\(.)/g, (_, double: string | undefined, single: string | undefined, escaped: string | undefined) => double?.replace(/\\(["\\$])/g, "$1") ?? single ?? escaped ?? "");
}

function splitPair(pair: string): [string, string | undefined] {
  const at = pair.indexOf("=");
  return at < 0 ? [pair, undefined] : [pair.slice(0, at), pair.slice(at + 1)];
}

/** `ENV a=1 b="x y"` and the old `ENV a all the rest`. */
function environmentPairs(text: string): [string, string][] {
  const parts = words(text);
  if (parts.length > 0 && !parts[0]!.includes("=")) return [[parts[0]!, text.slice(text.indexOf(parts[0]!) + parts[0]!.length).trim()]];
  return parts.map((part) => {
    const [key, value] = splitPair(part);
    return [key, unquote(value ?? "")];
  });
}

function substitute(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replace(/\\\$|\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^}]*))?\})/g, (whole, bare: string | undefined, braced: string | undefined, operator: string | undefined, word: string | undefined) => {
    if (whole === "\\$") return "$";
    const value = variables[bare ?? braced!];
    const set = operator?.startsWith(":") ? value !== undefined && value !== "" : value !== undefined;
    if (operator?.endsWith("-")) return set ? value! : substitute(word!, variables);
    if (operator?.endsWith("+")) return set ? substitute(word!, variables) : "";
    return value ?? "";
  });
}

/** Exec form is JSON; shell form runs under the stage's shell. */
function commandOf(text: string, shell: readonly string[], fail: (why: string) => never): string[] {
  if (!text.startsWith("[")) return [...shell, text];
  try {
    const parsed: unknown = JSON.parse(text);
    if (Array.isArray(parsed) && parsed.every((part) => typeof part === "string")) return parsed;
  } catch {
    // falls through to the refusal
  }
  return fail('is no JSON list of strings; use ["program", "argument"] with double quotes');
}

/** The name in `adduser -u 1001 -S appuser -G appgroup`: the word that is neither a flag nor a flag's value. */
function userNameOf(text: string): string | undefined {
  const withValue = /^(-u|-g|-G|-h|-s|-d|-c|-k|--uid|--gid|--home|--shell|--ingroup|--gecos|--groups|--home-dir|--comment)$/;
  const parts = words(text);
  for (let index = 0; index < parts.length; index++) {
    if (withValue.test(parts[index]!)) index++;
    else if (!parts[index]!.startsWith("-")) return unquote(parts[index]!);
  }
  return undefined;
}
