import { addresses } from "./addresses.ts";
import { authorization } from "./authorizer.ts";
import type { Overload } from "./declare.ts";
import { formatFunctions } from "./formats.ts";
import { jsonPatch } from "./json-patch.ts";
import { lists } from "./lists.ts";
import { optionals } from "./optionals.ts";
import { quantities } from "./quantities.ts";
import { regex } from "./regex.ts";
import { semver } from "./semver.ts";
import { standard } from "./standard.ts";
import { strings } from "./strings.ts";
import { urls } from "./urls.ts";

/** Every function and operator that expressions may call, by name: what a cluster of the version that we serve offers. */
export const functions: ReadonlyMap<string, readonly Overload[]> = Map.groupBy(
  [...standard, ...strings, ...lists, ...regex, ...urls, ...addresses, ...quantities, ...semver, ...formatFunctions, ...optionals, ...jsonPatch, ...authorization],
  ({ name }) => name,
);
