import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { find } from "../../needs.ts";

/** What generates deep copies, definitions, roles and webhook configurations; of the time of Kubernetes 1.35. */
const generator = { target: "sigs.k8s.io/controller-tools/cmd/controller-gen", version: "v0.20.1" };
const source = join(import.meta.dirname, "source");
export const folder = join(import.meta.dirname, "..", "..", "..", ".cache", "operator");

export interface Built {
  /** A static program. */
  readonly program: string;
  /** Folder of manifests that controller-gen made of the markers in the source. */
  readonly config: string;
}

/** The operator, as `make manifests generate build` would make it; minutes the first time. Undefined where that cannot be done. */
export function buildOperator(): Built | undefined {
  const go = find("go");
  if (!go) return undefined;
  const build = join(folder, "build");
  const built = { program: join(folder, "operator"), config: join(build, "config") };
  if (existsSync(built.program) && existsSync(built.config) && statSync(built.program).mtimeMs > newest(source)) return built;
  rmSync(build, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  cpSync(source, build, { recursive: true });
  const env = { ...process.env, GOFLAGS: "-p=2 -mod=mod", CGO_ENABLED: "0", GOBIN: join(folder, "bin") };
  const run = (program: string, ...args: string[]) => spawnSync(program, args, { cwd: build, env, stdio: ["ignore", "ignore", "inherit"] }).status === 0;
  const generate = join(folder, "bin", "controller-gen");
  const ok =
    (existsSync(generate) || run(go, "install", `${generator.target}@${generator.version}`)) &&
    run(go, "mod", "tidy") &&
    run(generate, "object", "paths=./...") &&
    run(generate, "crd", "rbac:roleName=manager-role", "webhook", "paths=./...") &&
    run(go, "build", "-o", built.program, ".");
  return ok ? built : undefined;
}

const newest = (path: string): number => Math.max(...readdirSync(path, { recursive: true, encoding: "utf8" }).map((file) => statSync(join(path, file)).mtimeMs));
