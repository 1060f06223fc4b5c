import assert from "node:assert/strict";
import { test } from "node:test";
import { seccompFilter } from "./seccomp.ts";

/** What the kernel would do: runs the filter's instructions over a struct seccomp_data. */
function judge(filter: Buffer, audit: number, number: number, firstArgument = 0): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(number >>> 0, 0);
  data.writeUInt32LE(audit, 4);
  data.writeUInt32LE(firstArgument, 16);
  let accumulator = 0;
  for (let at = 0; ; at++) {
    assert.ok(at * 8 < filter.length, "the filter runs off its end");
    const [code, whenTrue, whenFalse, value] = [filter.readUInt16LE(at * 8), filter.readUInt8(at * 8 + 2), filter.readUInt8(at * 8 + 3), filter.readUInt32LE(at * 8 + 4)];
    if (code === 0x06) return value;
    if (code === 0x20) accumulator = data.readUInt32LE(value);
    else if (code === 0x15) at += accumulator === value ? whenTrue : whenFalse;
    else if (code === 0x35) at += accumulator >= value ? whenTrue : whenFalse;
    else assert.fail(`instruction ${code}`);
  }
}

const [allow, kill, EPERM, EAFNOSUPPORT] = [0x7fff0000, 0x80000000, 0x00050001, 0x00050061];

test("the filter refuses what it names and nothing else", () => {
  const machines: { arch: string; audit: number; refused: number[]; socket: number; fine: number[] }[] = [
    { arch: "x64", audit: 0xc000003e, refused: [248, 249, 250, 425, 426, 427, 323, 303, 304, 321, 298, 175, 176, 313, 246, 320, 0x40000000], socket: 41, fine: [0, 1, 2, 42, 56, 59, 435] },
    { arch: "arm64", audit: 0xc00000b7, refused: [217, 218, 219, 425, 426, 427, 282, 264, 265, 280, 241, 105, 106, 273, 104, 294], socket: 198, fine: [56, 63, 64, 203, 220, 221, 435] },
  ];
  for (const { arch, audit, refused, socket, fine } of machines) {
    const filter = seccompFilter(arch)!;
    for (const number of refused) assert.equal(judge(filter, audit, number), EPERM, `${arch} ${number}`);
    for (const number of fine) assert.equal(judge(filter, audit, number), allow, `${arch} ${number}`);
    assert.equal(judge(filter, audit, socket, 40), EAFNOSUPPORT);
    for (const family of [1, 2, 10, 16]) assert.equal(judge(filter, audit, socket, family), allow);
    assert.equal(judge(filter, 0x40000003, 0), kill, "another architecture's numbers mean other calls");
  }
  assert.equal(seccompFilter("mips"), undefined);
});
