import assert from "node:assert/strict";
import { test } from "node:test";
import { RestartPause } from "./restart-pause.ts";

/** "1200" served so long; "0" never did; "+5000" passes in between; behind "→" the pauses. */
const lives: [why: string, told: string, pauses: string][] = [
  ["three crashes at the start are for nothing, then it waits longer each time", "0 0 0 0 0 0", "0 0 0 250 500 1000"],
  ["never longer than five seconds", "0 0 0 0 0 0 0 0 0 0", "0 0 0 250 500 1000 2000 4000 5000 5000"],
  ["whoever has served is started at once, as often as it is killed", "1000 1000 1000 1000 1000 1000", "0 0 0 0 0 0"],
  ["a loop that ends in service is over", "0 0 0 0 1000 0 0 0 0", "0 0 0 250 0 0 0 0 250"],
  ["hardly served is not served", "999 999 999 999", "0 0 0 250"],
  ["long ago is forgotten", "0 0 0 +10000 0", "0 0 0 0"],
];
test("when a worker that ended is started again", async (t) => {
  for (const [why, told, pauses] of lives) {
    await t.test(why, () => {
      const pause = new RestartPause();
      let now = 0;
      const given: number[] = [];
      for (const word of told.split(" ")) {
        if (word.startsWith("+")) now += Number(word);
        else given.push(pause.after(Number(word), (now += Number(word))));
      }
      assert.equal(given.join(" "), pauses);
    });
  }
});
