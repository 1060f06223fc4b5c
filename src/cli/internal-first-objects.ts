import { makeFirstObjects } from "../wherry-api.ts";

/** What tools/bundle.mjs puts beside the bundle: see first-objects.ts. */
export async function run(): Promise<void> {
  process.stdout.write(await makeFirstObjects());
}
