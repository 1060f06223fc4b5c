/** gRPC's modules are large: they are loaded when a program first asks for gRPC, and by nothing else. */
export type Grpc = typeof import("@grpc/grpc-js");
export type ProtoLoader = typeof import("@grpc/proto-loader");

export async function loadGrpc(): Promise<{ grpc: Grpc; loader: ProtoLoader }> {
  const [grpc, loader] = await Promise.all([import("@grpc/grpc-js"), import("@grpc/proto-loader")]);
  return { grpc, loader };
}
