import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { find } from "../../needs.ts";

/**
 * A Go program as a foreign client, built once into `.cache/clients` as an ordinary module. Undefined where it is not
 * there and cannot be built (no Go, no module proxy): then the test is skipped and counted.
 */
export function goClient(name: string, target: string): string | undefined {
  const folder = join(import.meta.dirname, "..", "..", "..", ".cache", "clients");
  const file = join(folder, name);
  if (existsSync(file)) return file;
  const go = find("go");
  if (!go) return undefined;
  mkdirSync(folder, { recursive: true });
  const { status } = spawnSync(go, ["install", target], { env: { ...process.env, GOBIN: folder, CGO_ENABLED: "0" }, stdio: ["ignore", "ignore", "inherit"] });
  return status === 0 && existsSync(file) ? file : undefined;
}

/** A Go program of our own in `source`, with the modules that its go.mod names; built anew when it changed. */
export function goProgram(name: string, source: string): string | undefined {
  const folder = join(import.meta.dirname, "..", "..", "..", ".cache", "clients");
  const file = join(folder, name);
  if (existsSync(file) && statSync(file).mtimeMs > statSync(join(source, "main.go")).mtimeMs) return file;
  const go = find("go");
  if (!go) return undefined;
  const work = join(folder, `${name}.build`);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  cpSync(source, work, { recursive: true });
  const ok = [["mod", "tidy"], ["build", "-o", file, "."]].every((args) => spawnSync(go, args, { cwd: work, env: { ...process.env, CGO_ENABLED: "0" }, stdio: ["ignore", "ignore", "inherit"] }).status === 0);
  rmSync(work, { recursive: true, force: true });
  return ok ? file : undefined;
}
