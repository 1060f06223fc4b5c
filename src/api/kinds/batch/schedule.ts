/**
 * Whether a text is a cron schedule as CronJobs take it: five fields, or a name such as "@daily". Returns what is
 * wrong. Source: the standard parser of github.com/robfig/cron v3.
 */
const fields = [
  { min: 0, max: 59, names: [] as string[] },
  { min: 0, max: 23, names: [] as string[] },
  { min: 1, max: 31, names: [] as string[] },
  { min: 1, max: 12, names: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"] },
  { min: 0, max: 6, names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];
const descriptors = new Set(["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"]);

export function scheduleError(schedule: string): string | undefined {
  if (schedule === "") return "empty spec string";
  const text = schedule.replace(/^(TZ|CRON_TZ)=\S+\s+/, "");
  if (text.startsWith("@")) {
    if (descriptors.has(text)) return undefined;
    const every = /^@every (.*)$/.exec(text);
    if (!every) return `unrecognized descriptor: ${text}`;
    return /^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(every[1]!) ? undefined : `failed to parse duration ${text}: time: invalid duration ${JSON.stringify(every[1])}`;
  }
  const parts = text.trim().split(/\s+/);
  if (parts.length !== fields.length) return `expected exactly 5 fields, found ${parts.length}: [${parts.join(" ")}]`;
  for (const [index, part] of parts.entries()) {
    for (const expression of part.split(",")) {
      const wrong = rangeError(expression, fields[index]!);
      if (wrong !== undefined) return wrong;
    }
  }
  return undefined;
}

function rangeError(expression: string, { min, max, names }: { min: number; max: number; names: string[] }): string | undefined {
  const [range, step, ...more] = expression.split("/") as [string, string | undefined, ...string[]];
  const [low, high, ...rest] = range.split("-") as [string, string | undefined, ...string[]];
  const numberOf = (text: string): number | string => {
    const named = names.indexOf(text.toLowerCase());
    if (named >= 0) return named + (min === 1 ? 1 : 0);
    if (/^\d+$/.test(text)) return Number(text);
    if (/^-\d+$/.test(text)) return `negative number (${text}) not allowed: ${text}`;
    return `failed to parse int from ${text}: strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`;
  };
  let start: number | string = min;
  let end: number | string = max;
  if (low !== "*" && low !== "?") {
    start = numberOf(low);
    if (typeof start === "string") return start;
    if (rest.length > 0) return `too many hyphens: ${expression}`;
    end = high === undefined ? start : numberOf(high);
    if (typeof end === "string") return end;
  }
  if (more.length > 0) return `too many slashes: ${expression}`;
  if (step !== undefined) {
    const size = numberOf(step);
    if (typeof size === "string") return size;
    if (size === 0) return `step of range should be a positive number: ${expression}`;
    if (high === undefined && low !== "*" && low !== "?") end = max;
  }
  if (start < min) return `beginning of range (${start}) below minimum (${min}): ${expression}`;
  if (end > max) return `end of range (${end}) above maximum (${max}): ${expression}`;
  if (start > end) return `beginning of range (${start}) beyond end of range (${end}): ${expression}`;
  return undefined;
}
