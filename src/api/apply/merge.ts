import { isObject } from "../../base/is-object.ts";
import type { PathElement } from "./path-element.ts";
import { deduce, type ListShape, type MapShape, type Shape, untyped } from "./shape.ts";

/**
 * The live value with a configuration laid over it: maps and associative lists merge, everything else is as the
 * configuration says. Nothing is removed, and null is a value. Neither side is changed; the result shares with both.
 * Source: sigs.k8s.io/structured-merge-diff/v6/typed/merge.go.
 */
export function mergeValues(shape: Shape, live: unknown, config: unknown): unknown {
  if (config === undefined) return live;
  if (live === undefined) return config;
  const as = deduce(shape, config);
  if (as === "scalar" || as.atomic) return config;
  return "keys" in as ? mergeLists(as, Array.isArray(live) ? live : [], config) : mergeMaps(as, isObject(live) ? live : {}, config);
}

function mergeMaps(shape: MapShape, live: Record<string, unknown>, config: unknown): unknown {
  if (!isObject(config) || Object.keys(config).length === 0) return Object.keys(live).length === 0 ? config : live;
  const merged: Record<string, unknown> = { ...live };
  for (const name of Object.keys(config)) {
    const value = mergeValues(shape.at(name) ?? untyped, Object.hasOwn(live, name) ? live[name] : undefined, config[name]);
    if (name === "__proto__") Object.defineProperty(merged, name, { value, writable: true, enumerable: true, configurable: true });
    else merged[name] = value;
  }
  return merged;
}

/**
 * Elements of both come in the order of the configuration, those of one side stay where they are among their
 * neighbours. The live list may hold an element several times: as long as the configuration does not state it, all stay.
 */
function mergeLists(shape: ListShape, live: readonly unknown[], config: unknown): unknown {
  if (!Array.isArray(config) || config.length === 0) return live.length === 0 ? config : live;
  const liveElements = live.map((item) => shape.elementOf(item));
  const configElements = config.map((item) => shape.elementOf(item));
  const inLive = new Map<PathElement, unknown>();
  // What comes twice is no one thing to merge with.
  for (const [index, element] of liveElements.entries()) inLive.set(element, inLive.has(element) ? null : live[index]);
  const inConfig = new Set(configElements);
  const shared = configElements.filter((element) => inLive.has(element)).values();
  let nextShared = shared.next().value;
  const taken = new Set<PathElement>();
  const merged: unknown[] = [];
  let left = 0;
  let right = 0;
  const takeFromConfig = () => {
    const element = configElements[right]!;
    taken.add(element);
    merged.push(mergeValues(shape.items, inLive.has(element) ? inLive.get(element) : undefined, config[right]));
    right++;
    if (nextShared === element) nextShared = shared.next().value;
  };
  while (left < live.length || right < config.length) {
    const element = liveElements[left];
    if (element !== undefined && right < config.length) {
      if (element === configElements[right]) {
        takeFromConfig();
        left++;
        continue;
      }
      // It comes later, where the configuration has it.
      if (inConfig.has(element) && nextShared !== undefined && nextShared !== element) {
        left++;
        continue;
      }
    }
    if (element !== undefined) {
      if (!inConfig.has(element)) {
        merged.push(live[left++]);
        continue;
      }
      if (taken.has(element)) left++;
    }
    if (right < config.length) takeFromConfig();
  }
  return merged;
}
