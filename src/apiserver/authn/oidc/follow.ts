import { followFile } from "../follow-file.ts";
import type { Tokens } from "../tokens.ts";
import { openStructuredAuthentication, type StructuredOptions } from "./authenticator.ts";

/**
 * Takes the tokens that the file says, now and after it changed. A change that cannot be followed is logged, and what
 * was said before goes on. Throws WherryError ACCESS_CONFIG_INVALID for what it says now.
 */
export function followAuthentication(tokens: Pick<Tokens, "structured">, options: StructuredOptions): { close(): void } {
  const { file, clock, log } = options;
  tokens.structured = openStructuredAuthentication(options);
  return followFile({
    file,
    clock,
    onChange() {
      try {
        tokens.structured = openStructuredAuthentication(options);
        log.info("the authentication configuration was loaded again", { file });
      } catch (error) {
        log.error("the authentication configuration changed and cannot be followed; the one before stays", { file, error });
      }
    },
  });
}
