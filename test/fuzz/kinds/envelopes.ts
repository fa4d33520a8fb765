import * as fc from 'fast-check';
import { deflateSync, gzipSync } from 'node:zlib';
import type { Header } from '../case.ts';
import { HOSTILE, methodOf, sent } from './call.ts';
import { enveloped, type Kind } from './kind.ts';
import { rightRequests } from './right.ts';

const garbage = fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes));
/** A message that inflates a thousandfold. */
const BOMB = gzipSync(Buffer.alloc(8 << 20), { level: 9 });

/** Envelopes that lie, and compression that is none. */
export const envelopes: Kind = {
  name: 'envelopes',
  weight: 6,
  part: 'raw',
  of: (ground) =>
    sent(
      fc
        .tuple(
          rightRequests(ground).filter(({ path }) => !methodOf.get(path)!.isStream),
          fc.constantFrom('', 'gzip', 'deflate', 'identity', 'br', 'GZIP', 'gzip,gzip'),
          fc.oneof(
            fc.constantFrom(
              'right',
              'gzip',
              'deflate',
              'gzip and more',
              'cut gzip',
              'twice',
              'none',
              'split',
            ),
            fc.constantFrom('longer', 'shorter', 'huge', 'flag', 'garbage', 'garbage gzip', 'bytes behind'),
            fc.nat({ max: 20 }).map((turn) => (turn === 0 ? 'bomb' : 'right')),
          ),
          garbage,
          fc.nat({ max: 255 }),
        )
        .map(([{ service, path, messages }, encoding, what, bytes, flag]) => {
          const message = messages[0]!;
          const more: Header[] = encoding === '' ? [] : [['grpc-encoding', encoding]];
          return {
            kind: `envelope: ${what}`,
            service,
            path,
            data: envelopeOf(what, message, bytes, flag),
            // What says that it is compressed, where no header says how, is INTERNAL by the specification of gRPC.
            allowed: [
              ...HOSTILE,
              'RST_0',
              ...(isCompressed(what, flag) && ['', 'identity'].includes(encoding) ? ['INTERNAL'] : []),
            ],
            more,
          };
        }),
      ground,
    ).map((one) =>
      // An encoding that nobody knows is refused before anybody is asked who they are.
      one.allowed.includes('UNAUTHENTICATED') ? { ...one, allowed: [...one.allowed, 'UNIMPLEMENTED'] } : one,
    ),
};

function isCompressed(what: string, flag: number): boolean {
  if (what === 'flag') return flag !== 0;
  if (what === 'huge') return (flag & 1) !== 0;
  return /gzip|deflate|bomb|garbage|behind/.test(what);
}

function envelopeOf(what: string, message: Buffer, bytes: Buffer, flag: number): Buffer[] {
  switch (what) {
    case 'right':
      return [enveloped(message)];
    case 'gzip':
      return [enveloped(gzipSync(message), 1)];
    case 'deflate':
      return [enveloped(deflateSync(message), 1)];
    case 'gzip and more':
      return [enveloped(Buffer.concat([gzipSync(message), bytes]), 1)];
    case 'cut gzip':
      return [enveloped(gzipSync(message).subarray(0, -9), 1)];
    case 'twice':
      return [enveloped(message), enveloped(message)];
    case 'none':
      return [];
    case 'split':
      return [
        ...Array.from(enveloped(message).subarray(0, 300), (byte) => Buffer.from([byte])),
        enveloped(message).subarray(300),
      ];
    case 'longer':
      return [enveloped(message, 0, message.length + 1 + bytes.length)];
    case 'shorter':
      return [enveloped(message, 0, Math.max(0, message.length - 1))];
    case 'huge':
      return [enveloped(message, flag & 1, 2 ** 32 - 1 - flag)];
    case 'flag':
      return [enveloped(message, flag)];
    case 'garbage gzip':
      return [enveloped(bytes, 1)];
    case 'bytes behind':
      return [enveloped(message), bytes];
    case 'bomb':
      return [enveloped(BOMB, 1)];
    default:
      return [bytes];
  }
}
