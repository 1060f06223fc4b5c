import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
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
