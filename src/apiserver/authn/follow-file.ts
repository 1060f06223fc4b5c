import { readFileSync } from "node:fs";
import type { Clock, Timer } from "../../base/clock.ts";

/** How often a file is looked at, as upstream does. */
const everyMs = 60_000;

export interface FollowOptions {
  file: string;
  clock: Clock;
  /** Its content is another than when it was last looked at; undefined before: it could not be read. Must not throw. */
  onChange: () => void;
}

/** Looks at a configuration file every minute. It was read just before. */
export function followFile({ file, clock, onChange }: FollowOptions): { close(): void } {
  let last = contentOf(file);
  let timer: Timer;
  const look = (): void => {
    const content = contentOf(file);
    const isOther = content !== last;
    last = content;
    timer = clock.setTimer(everyMs, look);
    if (isOther) onChange();
  };
  timer = clock.setTimer(everyMs, look);
  return { close: () => timer.cancel() };
}

function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
