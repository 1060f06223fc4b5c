/** What the converter of strategic and applied patches says of base64 that is none, around what the decoder says. */
export const converterText = (why: string): string => (why.startsWith("illegal base64") ? `error decoding from json: ${why}` : why);
