import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { find } from "../../needs.ts";
import { module, suites } from "./suites.ts";

/** Where everything of this judge lies; ignored by git. */
export const folder = join(import.meta.dirname, "..", "..", "..", ".cache", "controller-runtime", module.version);
export const nameOf = (suite: string): string => `${suite.replaceAll("/", "-")}.test`;
export const sourcesOf = (suite: string): string => join(folder, "module", "pkg", suite);

/**
 * The suites as programs, built from the published module, one package after the other: ten minutes on two cores the
 * first time. Undefined where that cannot be done (no Go, no module proxy).
 */
export function buildSuites(): string | undefined {
  const go = find("go");
  if (!go) return undefined;
  const programs = join(folder, "bin");
  mkdirSync(programs, { recursive: true });
  const env = { ...process.env, GOFLAGS: "-p=2 -mod=mod" };
  const run = (...args: string[]) => spawnSync(go, args, { cwd: folder, env, stdio: ["ignore", "ignore", "inherit"] }).status === 0;
  if (!existsSync(join(folder, "go.sum"))) {
    writeFileSync(join(folder, "go.mod"), "module suites\n\ngo 1.25\n");
    if (!run("get", "-t", `${module.path}/pkg/...@${module.version}`)) return rmSync(join(folder, "go.mod")), undefined;
  }
  for (const { package: name } of suites) if (!existsSync(join(programs, nameOf(name))) && !run("test", "-vet=off", "-c", "-o", join(programs, nameOf(name)), `${module.path}/pkg/${name}`)) return undefined;
  if (!existsSync(join(folder, "module"))) copySources(execFileSync(go, ["list", "-m", "-f", "{{.Dir}}", module.path], { cwd: folder, env, encoding: "utf8" }).trim());
  return programs;
}

/** Tests run beside their data. A module's archive keeps no modes, and some of the data are scripts. */
function copySources(from: string): void {
  const target = join(folder, "module");
  cpSync(from, target, { recursive: true });
  for (const file of readdirSync(target, { recursive: true, encoding: "utf8" })) chmodSync(join(target, file), /\.[a-z]+$/.test(file) && !file.endsWith(".sh") ? 0o644 : 0o755);
}

/** What envtest expects in KUBEBUILDER_ASSETS: kube-apiserver and etcd are ours, kubectl is the machine's. */
export function writeAssets(): string {
  const assets = join(folder, "assets");
  mkdirSync(assets, { recursive: true });
  for (const name of ["kube-apiserver", "etcd"]) writeFileSync(join(assets, name), `#!/bin/sh\nexec '${process.execPath}' '${join(import.meta.dirname, `${name}.ts`)}' "$@"\n`, { mode: 0o755 });
  rmSync(join(assets, "kubectl"), { force: true });
  symlinkSync(find("kubectl.1.33") ?? find("kubectl") ?? "kubectl", join(assets, "kubectl"));
  return assets;
}
