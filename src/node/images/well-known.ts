import { ContainerError } from "../context.ts";
import type { Image } from "./image.ts";
import { findProgram, programVersion } from "./programs.ts";
import type { ImageReference } from "./reference.ts";

/** An official image whose program the machine may have itself. */
interface WellKnown {
  /** The first that the machine has is what runs. "node" is the one Wherry itself brings. */
  programs: readonly string[];
  version: readonly string[];
  entrypoint?: readonly string[];
  /** `program` stands for what was found. */
  cmd: (program: string) => readonly string[];
  env?: Readonly<Record<string, string>>;
  user?: string;
  workingDir?: string;
  volumes?: readonly string[];
  stopSignal?: NodeJS.Signals;
  /** Debian package that has it. */
  install: string;
}

// Official images start `docker run image script.js` by putting their program before what is no program.
const orElse = (program: string) => ["/bin/sh", "-c", `case "$1" in -*) set -- ${program} "$@" ;; *) command -v "$1" >/dev/null 2>&1 || set -- ${program} "$@" ;; esac; exec "$@"`, "docker-entrypoint.sh"];
const shell = (install: string, ...programs: string[]): WellKnown => ({ programs, version: ["--version"], cmd: (program) => [program], install });

const images: Record<string, WellKnown> = {
  node: { programs: ["node"], version: ["--version"], entrypoint: orElse("node"), cmd: () => ["node"], env: { NODE_VERSION: process.versions.node }, install: "nodejs" },
  python: { programs: ["python3"], version: ["--version"], cmd: () => ["python3"], env: { LANG: "C.UTF-8" }, install: "python3" },
  golang: { programs: ["go"], version: ["version"], cmd: () => ["/bin/sh"], env: { GOPATH: "/go", PATH: "/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }, workingDir: "/", install: "golang" },
  "eclipse-temurin": { programs: ["java"], version: ["--version"], cmd: () => ["java", "--version"], install: "default-jre-headless" },
  openjdk: { programs: ["java"], version: ["--version"], cmd: () => ["java", "--version"], install: "default-jre-headless" },
  redis: { programs: ["redis-server"], version: ["--version"], entrypoint: orElse("redis-server"), cmd: () => ["redis-server", "--protected-mode", "no"], user: "999", workingDir: "/data", volumes: ["/data"], install: "redis-server" },
  busybox: shell("dash", "sh"),
  alpine: shell("dash", "sh"),
  debian: shell("bash", "bash", "sh"),
  ubuntu: shell("bash", "bash", "sh"),
  bash: shell("bash", "bash"),
  "curlimages/curl": { programs: ["curl"], version: ["--version"], entrypoint: orElse("curl"), cmd: () => ["curl"], user: "100", install: "curl" },
  "registry.k8s.io/pause": { programs: ["sleep"], version: ["--version"], cmd: () => ["sleep", "infinity"], user: "65535", install: "coreutils" },
};

/** The image as this machine's own program runs it; undefined for names that are not well known. */
export async function wellKnownImage(reference: ImageReference): Promise<Image | undefined> {
  const known = Object.hasOwn(images, reference.familiar) ? images[reference.familiar] : undefined;
  if (!known) return undefined;
  const asked = `${reference.familiar}${reference.tag && `:${reference.tag}`}`;
  const ownNode = known.programs[0] === "node";
  const path = ownNode ? process.execPath : known.programs.map(findProgram).find((found) => found !== undefined);
  if (path === undefined) {
    throw new ContainerError("ErrImagePull", `${asked} runs by this machine's own ${known.programs[0]}, which is not installed: install the package ${known.install}, or link a folder that builds the image (wherry up --link FOLDER)`);
  }
  const version = ownNode ? process.version : await programVersion(path, known.version);
  const program = path.slice(path.lastIndexOf("/") + 1);
  return {
    id: `wherry://${reference.familiar}@${version || program}`,
    entrypoint: known.entrypoint ?? [],
    cmd: known.cmd(program),
    env: known.env ?? {},
    workingDir: known.workingDir ?? "/",
    user: known.user ?? "",
    users: {},
    mounts: [],
    volumes: known.volumes ?? [],
    stopSignal: known.stopSignal ?? "SIGTERM",
    notices: [{ type: "Normal", reason: "MachineProgram", message: `Image ${JSON.stringify(asked)} is run by this machine's own ${program}${version && ` (${version})`}` }],
  };
}
