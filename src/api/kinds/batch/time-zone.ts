/** A time zone of the IANA's data: what the clock on the wall says there, and when. */
export interface TimeZone {
  /** What is to be added to UTC at this moment, in milliseconds. */
  offsetMs(atMs: number): number;
  /** The moment at which the wall clock says so; of one that is left out in spring, a moment near by. */
  momentOf(wallMs: number): number;
}

/** Zones change their offset at full quarters of an hour, so one look serves all of a quarter. */
const quarterMs = 15 * 60 * 1000;
const remembered = 1024;

export const isTimeZone = (name: string): boolean => /^[A-Za-z]/.test(name) && formatter(name) !== undefined;

function formatter(timeZone: string): Intl.DateTimeFormat | undefined {
  try {
    return new Intl.DateTimeFormat("en-US", { timeZone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" });
  } catch {
    return undefined;
  }
}

const zones = new Map<string, TimeZone>();
export function timeZone(name: string): TimeZone {
  const known = zones.get(name);
  if (known) return known;
  const format = formatter(name);
  if (!format) throw new RangeError(`unknown time zone ${name}`);
  const offsets = new Map<number, number>();
  const offsetMs = (atMs: number): number => {
    const quarter = Math.floor(atMs / quarterMs);
    let offset = offsets.get(quarter);
    if (offset === undefined) {
      const fields = Object.fromEntries(format.formatToParts(quarter * quarterMs).map(({ type, value }) => [type, Number(value)])) as Record<string, number>;
      offset = Date.UTC(fields["year"]!, fields["month"]! - 1, fields["day"]!, fields["hour"]!, fields["minute"]!, fields["second"]!) - quarter * quarterMs;
      if (offsets.size >= remembered) offsets.clear();
      offsets.set(quarter, offset);
    }
    return offset;
  };
  const zone: TimeZone = { offsetMs, momentOf: (wallMs) => wallMs - offsetMs(wallMs - offsetMs(wallMs)) };
  zones.set(name, zone);
  return zone;
}
