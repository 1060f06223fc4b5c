import type { ApiStage } from "../../api/product/kinds.ts";
import type { OpenApi } from "./document.ts";
import { DocumentError, isObject } from "./json.ts";

/** The path of the first server, its variables filled by the stage's or by their defaults. */
export function serverPath({ servers }: OpenApi, { variables = {} }: ApiStage): string {
  const [server] = servers;
  if (server === undefined) return "";
  if (!isObject(server) || typeof server["url"] !== "string") throw new DocumentError("servers[0].url: must be given");
  const declared = server["variables"];
  const url = server["url"].replace(/\{([^{}]*)\}/g, (_, name: string) => {
    const variable = isObject(declared) && Object.hasOwn(declared, name) ? declared[name] : undefined;
    const value = Object.hasOwn(variables, name) ? variables[name] : isObject(variable) && typeof variable["default"] === "string" ? variable["default"] : undefined;
    if (value === undefined) throw new DocumentError(`servers[0].url: {${name}} is neither a variable of the stage nor has it a default`);
    return value;
  });
  const path = /^(?:[a-z][a-z0-9+.-]*:)?(?:\/\/[^/?#]*)?(\/[^?#]*)?$/i.exec(url)?.[1] ?? "";
  return path.replace(/\/{2,}/g, "/").replace(/\/$/, "");
}
