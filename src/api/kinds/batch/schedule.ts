import { type TimeZone, timeZone } from "./time-zone.ts";

/**
 * Cron schedules as CronJobs take them: five fields, a name such as "@daily", or "@every 90m".
 *
 * Days fit when both fields of days fit; when neither of them is `*` or `?`, one is enough. Where the clock is set
 * forward, times that are left out do not happen; where it is set back, times that come twice happen twice.
 * Source: the standard parser and `SpecSchedule.Next` of github.com/robfig/cron v3.
 */
export interface Schedule {
  /** The first time after this moment; undefined when there is none within five years. All in milliseconds. */
  next(afterMs: number): number | undefined;
}

const fields = [
  { min: 0, max: 59, names: [] as string[] },
  { min: 0, max: 23, names: [] as string[] },
  { min: 1, max: 31, names: [] as string[] },
  { min: 1, max: 12, names: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"] },
  { min: 0, max: 6, names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];
type Field = (typeof fields)[number];

const descriptors: Record<string, string> = { "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *" };
const unitMs: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1, us: 1e-3, µs: 1e-3, μs: 1e-3, ns: 1e-6 };
const secondMs = 1_000;
const minuteMs = 60_000;
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const yearsMax = 5;

class ScheduleError extends Error {}

/** What is wrong with a schedule, in upstream's words; undefined when nothing is. */
export function scheduleError(text: string): string | undefined {
  try {
    parseSchedule(text.replace(/^(TZ|CRON_TZ)=\S+\s+/, ""));
    return undefined;
  } catch (error) {
    if (error instanceof ScheduleError) return error.message;
    throw error;
  }
}

/** `zone` is where the fields are read; "@every" needs none. Throws for what {@link scheduleError} names. */
export function parseSchedule(text: string, zone = "UTC"): Schedule {
  if (text === "") throw new ScheduleError("empty spec string");
  if (text.startsWith("@")) {
    const named = descriptors[text];
    if (named !== undefined) return parseSchedule(named, zone);
    const every = /^@every (.*)$/s.exec(text)?.[1];
    if (every === undefined) throw new ScheduleError(`unrecognized descriptor: ${text}`);
    return constantDelay(text, every);
  }
  const parts = text.trim().split(/\s+/);
  if (parts.length !== fields.length) throw new ScheduleError(`expected exactly 5 fields, found ${parts.length}: [${parts.join(" ")}]`);
  const [minutes, hours, days, months, weekdays] = parts.map((part, index) => fieldOf(part, fields[index]!)) as [Values, Values, Values, Values, Values];
  const either = days.isStar || weekdays.isStar;
  const dayFits = (day: number, weekday: number): boolean => (either ? days.has(day) && weekdays.has(weekday) : days.has(day) || weekdays.has(weekday));
  return { next: (afterMs) => nextTime(timeZone(zone), { minutes, hours, months, dayFits }, afterMs) };
}

function constantDelay(text: string, every: string): Schedule {
  const match = /^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(every) || /^[+-]?0$/.test(every);
  if (!match) throw new ScheduleError(`failed to parse duration ${text}: time: invalid duration ${JSON.stringify(every)}`);
  const sum = [...every.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)].reduce((ms, [, number, unit]) => ms + Number(number) * unitMs[unit!]!, 0);
  // Whole seconds, and at least one.
  const delayMs = Math.max(secondMs, Math.floor((every.startsWith("-") ? 0 : sum) / secondMs) * secondMs);
  return { next: (afterMs) => Math.floor(afterMs / secondMs) * secondMs + delayMs };
}

interface Values {
  has(value: number): boolean;
  isStar: boolean;
}

function fieldOf(text: string, field: Field): Values {
  const values = new Set<number>();
  let isStar = false;
  for (const expression of text.split(",").filter((part) => part !== "")) {
    const { start, end, step, star } = rangeOf(expression, field);
    for (let value = start; value <= end; value += step) values.add(value);
    isStar ||= star;
  }
  return { has: (value) => values.has(value), isStar };
}

function rangeOf(expression: string, { min, max, names }: Field): { start: number; end: number; step: number; star: boolean } {
  const [range, stepText, ...more] = expression.split("/") as [string, string | undefined, ...string[]];
  const [low, high, ...rest] = range.split("-") as [string, string | undefined, ...string[]];
  const numberOf = (text: string): number => {
    if (/^\+?\d+$/.test(text)) return Number(text);
    if (/^-\d+$/.test(text)) throw new ScheduleError(`negative number (${Number(text)}) not allowed: ${text}`);
    throw new ScheduleError(`failed to parse int from ${text}: strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`);
  };
  const valueOf = (text: string): number => {
    const named = names.indexOf(text.toLowerCase());
    return named >= 0 ? named + min : numberOf(text);
  };
  let star = low === "*" || low === "?";
  let start = min;
  let end = max;
  if (!star) {
    start = valueOf(low);
    if (rest.length > 0) throw new ScheduleError(`too many hyphens: ${expression}`);
    end = high === undefined ? start : valueOf(high);
  }
  if (more.length > 0) throw new ScheduleError(`too many slashes: ${expression}`);
  let step = 1;
  if (stepText !== undefined) {
    step = numberOf(stepText);
    // "5/10" means from 5 on.
    if (high === undefined && rest.length === 0) end = max;
    if (step > 1) star = false;
  }
  if (start < min) throw new ScheduleError(`beginning of range (${start}) below minimum (${min}): ${expression}`);
  if (end > max) throw new ScheduleError(`end of range (${end}) above maximum (${max}): ${expression}`);
  if (start > end) throw new ScheduleError(`beginning of range (${start}) beyond end of range (${end}): ${expression}`);
  if (step === 0) throw new ScheduleError(`step of range should be a positive number: ${expression}`);
  return { start, end, step, star };
}

interface Fields {
  minutes: Values;
  hours: Values;
  months: Values;
  dayFits(day: number, weekday: number): boolean;
}

/** Steps over months, then days, hours and minutes that do not fit; a field that begins anew is looked at from the top. */
function nextTime(zone: TimeZone, { minutes, hours, months, dayFits }: Fields, afterMs: number): number | undefined {
  const wallOf = (ms: number): Date => new Date(ms + zone.offsetMs(ms));
  let ms = (Math.floor(afterMs / secondMs) + 1) * secondMs;
  const lastYear = wallOf(ms).getUTCFullYear() + yearsMax;
  for (;;) {
    let wall = wallOf(ms);
    if (wall.getUTCFullYear() > lastYear) return undefined;
    if (!months.has(wall.getUTCMonth() + 1)) {
      ms = zone.momentOf(Date.UTC(wall.getUTCFullYear(), wall.getUTCMonth() + 1, 1));
      continue;
    }
    if (!dayFits(wall.getUTCDate(), wall.getUTCDay())) {
      ms = midnightAfter(zone, wall);
      continue;
    }
    // Hours and minutes are steps of true time: an hour that is left out is never met, one that comes twice is met twice.
    const day = wall.getUTCDate();
    if (!hours.has(wall.getUTCHours())) {
      ms = ms - (ms + zone.offsetMs(ms)) % hourMs + hourMs;
      wall = wallOf(ms);
      while (wall.getUTCDate() === day && !hours.has(wall.getUTCHours())) wall = wallOf((ms += hourMs));
      continue;
    }
    if (!minutes.has(wall.getUTCMinutes())) {
      ms = ms - (ms % minuteMs) + minuteMs;
      continue;
    }
    if (ms % minuteMs === 0) return ms;
    ms = ms - (ms % minuteMs) + minuteMs;
  }
}

/** Where midnight itself is left out, the day begins with the first hour that there is. */
function midnightAfter(zone: TimeZone, wall: Date): number {
  const wanted = Date.UTC(wall.getUTCFullYear(), wall.getUTCMonth(), wall.getUTCDate()) + dayMs;
  const ms = zone.momentOf(wanted);
  const hour = new Date(ms + zone.offsetMs(ms)).getUTCHours();
  return hour > 12 ? ms + (24 - hour) * hourMs : ms;
}
