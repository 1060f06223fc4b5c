import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSchedule, scheduleError } from "./schedule.ts";
import { isTimeZone } from "./time-zone.ts";

/** Wall times with their offset, so that a clock that is set forward or back can be seen. */
const next: [why: string, schedule: string, zone: string, after: string, ...times: string[]][] = [
  ["every minute", "* * * * *", "UTC", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"],
  ["a time itself is not after itself", "0 * * * *", "UTC", "2026-01-01T05:00:00Z", "2026-01-01T06:00:00Z"],
  ["parts of a second", "0 * * * *", "UTC", "2026-01-01T04:59:59.999Z", "2026-01-01T05:00:00Z"],
  ["steps", "*/20 * * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T00:20:00Z", "2026-01-01T00:40:00Z", "2026-01-01T01:00:00Z"],
  ["steps from a start", "7/20 * * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T00:07:00Z", "2026-01-01T00:27:00Z", "2026-01-01T00:47:00Z", "2026-01-01T01:07:00Z"],
  ["steps in a range", "10-30/10 1 * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T01:10:00Z", "2026-01-01T01:20:00Z", "2026-01-01T01:30:00Z", "2026-01-02T01:10:00Z"],
  ["lists, in any order", "30,5 0 * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z", "2026-01-01T00:30:00Z"],
  ["names, in any case", "0 0 * Feb MON", "UTC", "2026-01-15T00:00:00Z", "2026-02-02T00:00:00Z", "2026-02-09T00:00:00Z"],
  ["a range of names", "0 12 * * mon-fri", "UTC", "2026-01-02T13:00:00Z", "2026-01-05T12:00:00Z"],
  ["day of month or of week: either is enough", "0 0 13 * fri", "UTC", "2026-02-01T00:00:00Z", "2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"],
  ["a star among the days: both", "0 0 * * fri", "UTC", "2026-02-01T00:00:00Z", "2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z"],
  ["a question mark is a star", "0 0 ? * fri", "UTC", "2026-02-01T00:00:00Z", "2026-02-06T00:00:00Z"],
  ["a star with steps is none", "0 0 */10 * fri", "UTC", "2026-02-01T01:00:00Z", "2026-02-06T00:00:00Z", "2026-02-11T00:00:00Z", "2026-02-13T00:00:00Z"],
  ["the 31st, where there is one", "0 0 31 * *", "UTC", "2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"],
  ["leap days", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"],
  ["never", "0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z"],
  ["over the year", "59 23 31 12 *", "UTC", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z"],
  ["@hourly", "@hourly", "UTC", "2026-01-01T00:10:00Z", "2026-01-01T01:00:00Z"],
  ["@daily is midnight of the zone", "@daily", "Asia/Tokyo", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00+09:00"],
  ["@weekly is Sunday", "@weekly", "UTC", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"],
  ["@monthly", "@monthly", "UTC", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"],
  ["@yearly", "@yearly", "UTC", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"],
  ["@every counts from where it is", "@every 1h30m", "UTC", "2026-01-01T00:10:05Z", "2026-01-01T01:40:05Z", "2026-01-01T03:10:05Z"],
  ["@every in whole seconds, one at least", "@every 100ms", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"],
  ["a zone half an hour off", "30 9 * * *", "Asia/Kolkata", "2026-01-01T00:00:00Z", "2026-01-01T09:30:00+05:30"],
  // Berlin: 2 to 3 o'clock is left out on 29 March 2026, comes twice on 25 October 2026.
  ["set forward: what is left out does not happen", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T02:30:00+02:00"],
  ["set forward: hourly goes on", "0 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"],
  ["set forward: the day after is at its time", "0 9 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T09:00:00+02:00"],
  ["set back: what comes twice happens twice", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00"],
  ["set back: hourly goes on", "0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"],
  ["set back: every 20 minutes", "*/20 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T02:40:00+02:00", "2026-10-25T02:00:00+01:00"],
  ["New York", "30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", "2026-03-09T02:30:00-04:00"],
  // Midnight itself is left out: São Paulo until 2018, Cairo on 24 April 2026.
  ["a day that begins at one, in the west", "0 5 4 11 *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-04T05:00:00-02:00"],
  ["a day that begins at one, in the east", "0 5 24 4 *", "Africa/Cairo", "2026-04-01T12:00:00Z", "2026-04-24T05:00:00+03:00"],
  ["its midnight does not happen", "0 0 * * *", "Africa/Cairo", "2026-04-22T22:30:00Z", "2026-04-25T00:00:00+03:00"],
];

for (const [why, schedule, zone, after, ...times] of next) {
  test(`the next time: ${why}`, () => {
    const parsed = parseSchedule(schedule, zone);
    let at: number | undefined = Date.parse(after);
    const found: (string | undefined)[] = [];
    for (let i = 0; i < Math.max(1, times.length); i++) found.push((at = parsed.next(at!)) === undefined ? undefined : new Date(at).toISOString());
    assert.deepEqual(found, times.length > 0 ? times.map((time) => new Date(time).toISOString()) : [undefined]);
  });
}

test("what is no schedule", () => {
  const table: [schedule: string, error: string | undefined][] = [
    ["0 0 * * *", undefined],
    ["  0  0 * *\t* ", undefined],
    ["+5 0 * * *", undefined],
    ["1,,2 0 * * *", undefined],
    ["@every 1.5h", undefined],
    ["TZ=Europe/Berlin 0 0 * * *", undefined],
    ["", "empty spec string"],
    ["* * * *", "expected exactly 5 fields, found 4: [* * * *]"],
    ["* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"],
    ["60 * * * *", "end of range (60) above maximum (59): 60"],
    ["* 24 * * *", "end of range (24) above maximum (23): 24"],
    ["* * 0 * *", "beginning of range (0) below minimum (1): 0"],
    ["* * * 13 *", "end of range (13) above maximum (12): 13"],
    ["* * * * 7", "end of range (7) above maximum (6): 7"],
    ["30-10 * * * *", "beginning of range (30) beyond end of range (10): 30-10"],
    ["*/0 * * * *", "step of range should be a positive number: */0"],
    ["1-2-3 * * * *", "too many hyphens: 1-2-3"],
    ["*/2/3 * * * *", "too many slashes: */2/3"],
    ["x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'],
    ["* * L * *", 'failed to parse int from L: strconv.Atoi: parsing "L": invalid syntax'],
    ["@reboot", "unrecognized descriptor: @reboot"],
    ["@Hourly", "unrecognized descriptor: @Hourly"],
    ["@every soon", 'failed to parse duration @every soon: time: invalid duration "soon"'],
  ];
  for (const [schedule, error] of table) assert.equal(scheduleError(schedule), error, schedule);
});

test("zones", () => {
  const table: [name: string, known: boolean][] = [["UTC", true], ["Europe/Berlin", true], ["America/Argentina/Buenos_Aires", true], ["+01:00", false], ["Mars/Olympus", false], ["", false]];
  for (const [name, known] of table) assert.equal(isTimeZone(name), known, name);
});
