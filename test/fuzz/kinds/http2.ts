import * as fc from 'fast-check';
import { frame } from '../../../bench/load/frames.ts';
import type { Case, Header } from '../case.ts';
import { block, integer, literal, string } from '../hpack.ts';
import { enveloped, grpcHeaders, type Kind } from './kind.ts';
import { methodOf } from './call.ts';

/** Bytes before a frame's payload: its length, type, flags and stream. */
const FRAME_HEAD = 9;
const PRIORITY = 2;
const PUSH_PROMISE = 5;
const NOTHING = Buffer.alloc(0);

const paths = [...methodOf.keys()];
const path = fc.constantFrom(...paths, '/x', '', '/grpc.health.v1.Health/Watch');
const bytes = fc.uint8Array({ maxLength: 60 }).map((each) => Buffer.from(each));
const stream = fc.constantFrom(0, 1, 1, 1, 3, 3, 5, 2, 7, 2 ** 31 - 1);
const flags = fc.oneof(fc.constantFrom(0, 1, 4, 5, 8, 0x20, 0x2d), fc.nat({ max: 255 }));
const uint32 = (value: number): Buffer => {
  const four = Buffer.alloc(4);
  four.writeUInt32BE(value >>> 0);
  return four;
};
const number32 = fc.oneof(
  fc.constantFrom(
    0,
    1,
    100,
    16_383,
    16_384,
    65_535,
    65_536,
    2 ** 24 - 1,
    2 ** 24,
    2 ** 31 - 1,
    2 ** 31,
    2 ** 32 - 1,
  ),
  fc.nat({ max: 2 ** 31 - 1 }),
);

const field = fc.oneof(
  fc
    .tuple(
      fc.constantFrom(
        ':method',
        ':path',
        ':scheme',
        ':authority',
        ':status',
        ':protocol',
        'te',
        'A',
        'connection',
        'x',
        'content-length',
        'cookie',
        'host',
        'grpc-timeout',
        'content-type',
      ),
      fc.constantFrom(
        '',
        'POST',
        'trailers',
        '/',
        'x',
        '\n',
        '\0',
        '-1',
        '1S',
        'application/grpc',
        'y'.repeat(5_000),
      ),
    )
    .map((each) => literal(each)),
  // From the tables, or past their ends.
  fc.constantFrom(0, 1, 3, 61, 62, 63, 127, 128, 2 ** 20, 2 ** 31).map((index) => integer(index, 7, 0x80)),
  // Remembered.
  fc
    .tuple(bytes, bytes)
    .map(([name, value]) =>
      Buffer.concat([Buffer.from([0x40]), string(name.toString('latin1')), string(value.toString('latin1'))]),
    ),
  fc.constantFrom(0, 1, 4096, 4097, 65_536, 2 ** 31).map((size) => integer(size, 5, 0x20)),
  // HPACK's code, right or wrong.
  bytes.map((value) => Buffer.concat([Buffer.from([0, 1, 0x78]), integer(value.length, 7, 0x80), value])),
  // Lengths that lie.
  fc
    .constantFrom(5, 127, 2 ** 14, 2 ** 31)
    .map((length) => Buffer.concat([Buffer.from([0]), integer(length, 7, 0), Buffer.from('ab')])),
  bytes,
);

const headersBlock: fc.Arbitrary<Buffer> = fc.oneof(
  { weight: 3, arbitrary: path.map((one) => block(grpcHeaders(one))) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(path, fc.array(field, { maxLength: 4 }))
      .map(([one, more]) => Buffer.concat([block(grpcHeaders(one)), ...more])),
  },
  { weight: 1, arbitrary: fc.array(field, { maxLength: 5 }).map((all) => Buffer.concat(all)) },
);

const settingsFrame = fc
  .tuple(
    fc.array(fc.tuple(fc.oneof(fc.nat({ max: 10 }), fc.constantFrom(0xffff, 0x0a0a)), number32), {
      maxLength: 6,
    }),
    fc.constantFrom(NOTHING, NOTHING, NOTHING, NOTHING, Buffer.from([1])),
    fc.constantFrom(0, 0, 0, 1),
    fc.constantFrom(0, 0, 0, 0, 1),
  )
  .map(([all, tail, flag, on]) =>
    frame(
      4,
      flag,
      on,
      Buffer.concat([
        ...all.map(([id, value]) => Buffer.concat([Buffer.from([id >> 8, id & 255]), uint32(value)])),
        tail,
      ]),
    ),
  );

const message = fc.oneof(
  bytes.map((each) => enveloped(each)),
  bytes,
  fc.tuple(bytes, number32).map(([each, length]) => enveloped(each, 0, length)),
  fc.constantFrom(1_000, 16_384, 20_000).map((size) => Buffer.alloc(size)),
);

/** One frame, right or wrong. */
const anyFrame: fc.Arbitrary<Buffer> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(stream, headersBlock, fc.constantFrom(4, 4, 4, 5, 0, 1, 0x0c, 0x24))
      .map(([id, headers, flag]) => frame(1, flag, id, headers)),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(stream, message, fc.constantFrom(0, 1, 1, 8, 9))
      .map(([id, data, flag]) => frame(0, flag, id, data)),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(stream, bytes).map(([id, data]) => frame(PRIORITY, 0, id, data.subarray(0, 5))),
  },
  { weight: 2, arbitrary: fc.tuple(stream, number32).map(([id, code]) => frame(3, 0, id, uint32(code))) },
  { weight: 2, arbitrary: settingsFrame },
  {
    weight: 1,
    arbitrary: fc
      .tuple(stream, headersBlock)
      .map(([id, headers]) => frame(PUSH_PROMISE, 4, id, Buffer.concat([uint32(2), headers]))),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom(0, 0, 0, 1), fc.constantFrom(8, 8, 8, 0, 7, 9), fc.constantFrom(0, 0, 1))
      .map(([id, size, flag]) => frame(6, flag, id, Buffer.alloc(size, 7))),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(stream, number32, bytes)
      .map(([id, code, more]) => frame(7, 0, id & 1, Buffer.concat([uint32(id), uint32(code), more]))),
  },
  { weight: 2, arbitrary: fc.tuple(stream, number32).map(([id, more]) => frame(8, 0, id, uint32(more))) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(stream, headersBlock, fc.constantFrom(0, 4))
      .map(([id, headers, flag]) => frame(9, flag, id, headers)),
  },
  // Kinds that nobody knows, and known ones with any flags and bytes.
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.nat({ max: 255 }), flags, stream, bytes)
      .map(([type, flag, id, data]) => frame(type, flag, id, data)),
  },
  // A head with a length that is not that of what follows.
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.nat({ max: 9 }), flags, stream, fc.constantFrom(1, 8, 16_384, 16_385, 2 ** 24 - 1), bytes)
      .map(([type, flag, id, length, data]) => {
        const lying = frame(type, flag, id, data);
        lying.writeUIntBE(length, 0, 3);
        return lying;
      }),
  },
);

const asCases = (kind: string, frames: fc.Arbitrary<readonly Buffer[]>): fc.Arbitrary<Case> =>
  fc
    .tuple(
      fc.constantFrom<('query' | 'document')[]>('query', 'document'),
      fc.constantFrom(false, false, true),
      frames,
    )
    .map(([service, keyed, all]) => ({
      kind,
      service,
      keyed,
      wire: { on: 'http2', frames: all },
      // What nghttp2 takes for an attack it ends with INTERNAL_ERROR. What says that it is compressed, where no header says how,
      // is INTERNAL by the specification of gRPC.
      // Who says INTERNAL_ERROR and goes away gets it back from Node, for each call that was open.
      allowed: [
        '*',
        'GOAWAY_2',
        ...(all.some(saysCompressed) ? ['INTERNAL'] : []),
        ...(all.some(goesInError) ? ['RST_2'] : []),
      ],
    }));

/** Whether a frame is GOAWAY with INTERNAL_ERROR. */
function goesInError(bytes: Buffer): boolean {
  const [GOAWAY, INTERNAL_ERROR] = [7, 2];
  return (
    bytes[3] === GOAWAY &&
    bytes.length >= FRAME_HEAD + 8 &&
    bytes.readUInt32BE(FRAME_HEAD + 4) === INTERNAL_ERROR
  );
}

/** Whether a frame of DATA may begin a message whose flag says that it is compressed. */
function saysCompressed(bytes: Buffer): boolean {
  const [DATA, PADDED] = [0, 8];
  const first = FRAME_HEAD + (bytes[4]! & PADDED ? 1 : 0);
  return bytes[3] === DATA && (bytes[first] ?? 0) === 1;
}

/** Frames of all kinds in any order. */
const frames: Kind = {
  name: 'frames',
  weight: 10,
  part: 'raw',
  of: () => asCases('frames', fc.array(anyFrame, { minLength: 1, maxLength: 12 })),
};

/** Right calls, interleaved with one frame that is wrong. */
const interleaved: Kind = {
  name: 'interleaved',
  weight: 4,
  part: 'raw',
  of: () =>
    asCases(
      'interleaved',
      fc
        .tuple(fc.array(path, { minLength: 2, maxLength: 6 }), anyFrame, fc.nat(), fc.boolean())
        .map(([all, odd, where, split]) => {
          const calls = all.map((one, index) => {
            const headers = block(grpcHeaders(one));
            const id = index * 2 + 1;
            const data = frame(0, 1, id, enveloped(NOTHING));
            return split
              ? [frame(1, 0, id, headers.subarray(0, 20)), frame(9, 4, id, headers.subarray(20)), data]
              : [frame(1, 4, id, headers), data];
          });
          const heads = calls.flatMap((each) => each.slice(0, -1));
          const tails = calls.map((each) => each.at(-1)!).reverse();
          const inOrder = [...heads, ...tails];
          inOrder.splice(where % (inOrder.length + 1), 0, odd);
          return inOrder;
        }),
    ),
};

const REPEATED: Record<string, (count: number, headers: Buffer) => Buffer[]> = {
  'continuation flood': (count, headers) => [
    frame(1, 0, 1, headers),
    ...Array.from({ length: count }, () => frame(9, 0, 1, NOTHING)),
  ],
  'continuation flood with fields': (count, headers) => [
    frame(1, 0, 1, headers),
    ...Array.from({ length: count }, (_, index) => frame(9, 0, 1, literal(['x', String(index)]))),
  ],
  'rapid reset': (count, headers) =>
    Array.from({ length: count }, (_, index) =>
      Buffer.concat([frame(1, 4, index * 2 + 1, headers), frame(3, 0, index * 2 + 1, uint32(8))]),
    ),
  'made to reset': (count, headers) =>
    Array.from({ length: count }, (_, index) =>
      Buffer.concat([frame(1, 4, index * 2 + 1, headers), frame(8, 0, index * 2 + 1, uint32(0))]),
    ),
  pings: (count) => Array.from({ length: count }, () => frame(6, 0, 0, Buffer.alloc(8))),
  settings: (count) =>
    Array.from({ length: count }, (_, index) =>
      frame(4, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(index)])),
    ),
  priorities: (count) =>
    Array.from({ length: count }, (_, index) =>
      frame(PRIORITY, 0, index * 2 + 1, Buffer.concat([uint32(index * 2 + 3), Buffer.from([9])])),
    ),
  'window updates': (count) => Array.from({ length: count }, () => frame(8, 0, 0, uint32(1))),
  'empty data': (count, headers) => [
    frame(1, 4, 1, headers),
    ...Array.from({ length: count }, () => frame(0, 0, 1, NOTHING)),
  ],
  'open streams': (count, headers) =>
    Array.from({ length: count }, (_, index) => frame(1, 4, index * 2 + 1, headers)),
  'hpack bomb': (count) => [
    frame(
      1,
      4,
      1,
      Buffer.concat([Buffer.from([0x40]), string('x'), string('y'.repeat(4_000)), block(grpcHeaders('/x'))]),
    ),
    ...Array.from({ length: Math.ceil(count / 50) }, (_, index) =>
      frame(1, 5, index * 2 + 3, Buffer.concat([block(grpcHeaders('/x')), Buffer.alloc(3_000, 0xbe)])),
    ),
  ],
  'unknown frames': (count) => Array.from({ length: count }, () => frame(0xee, 0, 0, Buffer.alloc(20))),
  'no window': (count, headers) => [
    frame(4, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(0)])),
    ...Array.from({ length: Math.min(count, 90) }, (_, index) =>
      Buffer.concat([frame(1, 4, index * 2 + 1, headers), frame(0, 1, index * 2 + 1, enveloped(NOTHING))]),
    ),
  ],
};

/** What one connection repeats to tire a service out. */
export const FLOODS = Object.keys(REPEATED);

/** The frames of a flood. @param count of what is repeated */
export function floodOf(name: string, count: number, to: string, more: readonly Header[] = []): Buffer[] {
  return REPEATED[name]!(count, block(grpcHeaders(to, more)));
}

const floods: Kind = {
  name: 'floods',
  weight: 1,
  part: 'raw',
  of: () =>
    asCases(
      'floods',
      fc
        .tuple(fc.constantFrom(...FLOODS), fc.constantFrom(10, 100, 100, 1_000), fc.constantFrom(...paths))
        .map(([name, count, to]) => floodOf(name, count, to)),
    ),
};

export const HTTP2_KINDS: readonly Kind[] = [frames, interleaved, floods];
