import { runApi } from "../wherry-api.ts";

/** The `wherry-api` process; only `wherry` starts it, with a message channel. */
export async function run(): Promise<void> {
  await runApi();
}
