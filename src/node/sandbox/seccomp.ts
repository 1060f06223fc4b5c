/**
 * A seccomp filter in the kernel's classic BPF (8 bytes an instruction), for `bwrap --seccomp FD`. It refuses what
 * namespaces do not separate or what only widens the kernel's attack surface: keyrings (the starter's session keyring is
 * inherited), io_uring, userfaultfd, file handles, bpf, perf, kernel modules, and vsock sockets (they reach the
 * hypervisor). Everything else is allowed: this is a second wall, not the first.
 */
const numbers: Record<string, { audit: number; refused: number[]; socket: number }> = {
  x64: {
    audit: 0xc000003e,
    // add_key request_key keyctl | io_uring_setup/enter/register | userfaultfd | name_to_handle_at open_by_handle_at | bpf perf_event_open | init_module delete_module finit_module | kexec_load kexec_file_load
    refused: [248, 249, 250, 425, 426, 427, 323, 303, 304, 321, 298, 175, 176, 313, 246, 320],
    socket: 41,
  },
  arm64: {
    audit: 0xc00000b7,
    refused: [217, 218, 219, 425, 426, 427, 282, 264, 265, 280, 241, 105, 106, 273, 104, 294],
    socket: 198,
  },
};

const addressFamilyVsock = 40;
const loadWord = 0x20;
const jumpEqual = 0x15;
const jumpGreaterOrEqual = 0x35;
const answer = 0x06;
const allow = 0x7fff0000;
const errno = (code: number) => 0x00050000 | code;
const killProcess = 0x80000000;
const [EPERM, EAFNOSUPPORT] = [1, 97];

/** The filter's bytes for this architecture, or undefined when none is known. */
export function seccompFilter(arch: string = process.arch): Buffer | undefined {
  const table = numbers[arch];
  if (!table) return undefined;
  const program: [code: number, whenTrue: number, whenFalse: number, value: number][] = [];
  // struct seccomp_data: nr at 0, arch at 4, args from 16 (low word first).
  program.push([loadWord, 0, 0, 4], [jumpEqual, 1, 0, table.audit], [answer, 0, 0, killProcess], [loadWord, 0, 0, 0]);
  // The x32 numbering of x86-64 would pass every comparison below.
  if (arch === "x64") program.push([jumpGreaterOrEqual, 0, 1, 0x40000000], [answer, 0, 0, errno(EPERM)]);
  for (const number of table.refused) program.push([jumpEqual, 0, 1, number], [answer, 0, 0, errno(EPERM)]);
  program.push([jumpEqual, 0, 3, table.socket], [loadWord, 0, 0, 16], [jumpEqual, 0, 1, addressFamilyVsock], [answer, 0, 0, errno(EAFNOSUPPORT)], [answer, 0, 0, allow]);
  const bytes = Buffer.alloc(program.length * 8);
  program.forEach(([code, whenTrue, whenFalse, value], index) => {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(whenTrue, index * 8 + 2);
    bytes.writeUInt8(whenFalse, index * 8 + 3);
    bytes.writeUInt32LE(value, index * 8 + 4);
  });
  return bytes;
}
