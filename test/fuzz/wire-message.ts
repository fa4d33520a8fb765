/** A field of a message of Protocol Buffers as bytes have it, right or wrong. */
export type Node =
  | { readonly no: number; readonly type: 0; readonly value: bigint; readonly padded?: boolean }
  | { readonly no: number; readonly type: 1 | 5; readonly bytes: Buffer }
  /** `claim`: a length that is not that of the bytes. */
  | {
      readonly no: number;
      readonly type: 2;
      readonly value: Buffer | readonly Node[];
      readonly claim?: number | undefined;
    }
  /** Groups, and wire types that do not exist. */
  | { readonly no: number; readonly type: 3 | 4 | 6 | 7; readonly value: readonly Node[] }
  /** Bytes that are no field. */
  | { readonly type: 'raw'; readonly bytes: Buffer };

/** A varint; a negative number as ten bytes. @param padded in ten bytes, whatever it is */
export function varint(value: bigint, padded = false): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(70, value < 0n ? BigInt.asUintN(64, value) : value);
  const least = padded ? 9 : 0;
  while (rest >= 128n || bytes.length < least) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** The bytes of a message. */
export function encodeNodes(nodes: readonly Node[]): Buffer {
  return Buffer.concat(
    nodes.flatMap((node) => {
      if (node.type === 'raw') return [node.bytes];
      const tag = varint(BigInt(node.no * 8 + node.type));
      switch (node.type) {
        case 0:
          return [tag, varint(node.value, node.padded)];
        case 1:
        case 5:
          return [tag, node.bytes];
        case 2: {
          const bytes = Buffer.isBuffer(node.value) ? node.value : encodeNodes(node.value);
          return [tag, varint(BigInt(node.claim ?? bytes.length)), bytes];
        }
        default:
          return [tag, encodeNodes(node.value)];
      }
    }),
  );
}
