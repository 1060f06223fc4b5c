/**
 * HPACK's Huffman code. It is canonical, so the lengths say all: a letter a byte, "a" for 5 bits, "z" for 30.
 * Source: RFC 7541, appendix B.
 */
const lengths =
  "isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhfibccccccccccccccccccccccdcdioijbkabababbbaccbbbabcbaabccccckgjix" +
  "prpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrsvvporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwv";
const end = 256;

/** The code as a tree: of node n, what follows a 0 lies at 2n, a 1 at 2n + 1. A leaf is -1 - its byte; 0 is nothing. */
const tree = build();

function build(): Int16Array {
  const lengthOf = (symbol: number): number => (symbol === end ? 30 : lengths.charCodeAt(symbol) - 92);
  const symbols = Array.from({ length: end + 1 }, (_, symbol) => symbol).sort((a, b) => lengthOf(a) - lengthOf(b) || a - b);
  const nodes = new Int16Array(2 * end + 2);
  let used = 1;
  let code = 0;
  let before = lengthOf(symbols[0]!);
  for (const symbol of symbols) {
    const length = lengthOf(symbol);
    code *= 2 ** (length - before);
    before = length;
    let node = 0;
    for (let bit = length - 1; bit >= 0; bit--) {
      const place = node * 2 + ((code >>> bit) & 1);
      if (bit === 0) nodes[place] = -1 - symbol;
      else node = nodes[place] ||= used++;
    }
    code++;
  }
  return nodes;
}

/** The text as latin1, or undefined for what is no encoding: a symbol for the end inside, or padding that is none. */
export function decodeHuffman(bytes: Uint8Array, start: number, stop: number): string | undefined {
  let text = "";
  let node = 0;
  let depth = 0;
  let ones = true;
  for (let at = start; at < stop; at++) {
    const byte = bytes[at]!;
    for (let bit = 7; bit >= 0; bit--) {
      const one = (byte >>> bit) & 1;
      const next = tree[node * 2 + one]!;
      if (next < 0) {
        if (next === -1 - end) return undefined;
        text += String.fromCharCode(-1 - next);
        node = 0;
        depth = 0;
        ones = true;
      } else {
        node = next;
        depth++;
        ones &&= one === 1;
      }
    }
  }
  return depth < 8 && ones ? text : undefined;
}
