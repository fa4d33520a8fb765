import * as fc from 'fast-check';
import { deflateSync, gzipSync } from 'node:zlib';
import type { DescMessage } from '@bufbuild/protobuf';
import { registry } from '../../../services/runtime/listener/json.ts';
import type { Case, Header, ServiceName } from '../case.ts';
import { nodesOf } from '../hostile.ts';
import { encodeNodes, type Node } from '../wire-message.ts';
import {
  credential,
  enveloped,
  grpcHeaders,
  type Ground,
  type Kind,
  REFUSED,
  withCredential,
} from './kind.ts';
import { rightRequests } from './right.ts';

/** Every method of both services, by path. */
const METHODS = (['query', 'document'] as const).flatMap((service) => {
  const name = service === 'query' ? 'QueryService' : 'DocumentService';
  return registry.getService(`scalingnote.v1.${name}`)!.methods.map((method) => ({
    service,
    path: `/scalingnote.v1.${name}/${method.name}`,
    input: method.input,
    isStream: method.methodKind !== 'unary',
  }));
});
export const methodOf = new Map(METHODS.map((method) => [method.path, method]));

/** What a hostile message may be answered with: it may happen to be right. */
const HOSTILE = ['OK', ...REFUSED, 'ABORTED', 'UNAVAILABLE'];

interface Sent {
  kind: string;
  service: ServiceName;
  path: string;
  data: readonly Buffer[];
  allowed: readonly string[];
  check?: string;
  more?: readonly Header[];
  end?: 'data' | 'trailers' | 'reset';
}

const sent = (arbitrary: fc.Arbitrary<Sent>, ground: Ground): fc.Arbitrary<Case> =>
  fc.tuple(arbitrary, credential).map(([one, who]) => {
    const { path, data, more, end = 'data', ...rest } = one;
    return withCredential(rest, { on: 'stream', headers: grpcHeaders(path, more), data, end }, who, ground);
  });

/** Right requests: answered as they have to be. */
const right: Kind = {
  name: 'right',
  weight: 4,
  part: 'structured',
  of: (ground) =>
    sent(
      rightRequests(ground).map(({ service, path, messages, status, check }) => ({
        kind: 'right',
        service,
        path,
        data: messages.map((message) => enveloped(message)),
        allowed: [status],
        ...(check !== undefined && { check }),
      })),
      ground,
    ),
};

/** A message of a method made of its descriptor alone. */
const madeUp: Kind = {
  name: 'made up',
  weight: 6,
  part: 'structured',
  of: (ground) =>
    sent(
      fc.constantFrom(...METHODS).chain(({ service, path, input, isStream }) =>
        fc
          .tuple(
            fc.array(nodesOf(input).map(encodeNodes), { minLength: 1, maxLength: isStream ? 5 : 1 }),
            fc.constantFrom<('data' | 'reset')[]>('data', 'data', 'data', 'reset'),
          )
          .map(([messages, end]) => ({
            kind: 'made up',
            service,
            path,
            data: messages.map((message) => enveloped(message)),
            allowed: end === 'reset' ? ['LEFT'] : HOSTILE,
            end,
          })),
      ),
      ground,
    ),
};

/** Right requests with fields of their method behind, which take the place of those that are there. */
const mutated: Kind = {
  name: 'mutated',
  weight: 8,
  part: 'structured',
  of: (ground) =>
    sent(
      rightRequests(ground).chain(({ service, path, messages }) =>
        fc
          .tuple(nodesOf(methodOf.get(path)!.input).map(encodeNodes), fc.nat({ max: messages.length - 1 }))
          .map(([more, at]) => ({
            kind: 'mutated',
            service,
            path,
            data: messages.map((message, index) =>
              enveloped(index === at ? Buffer.concat([message, more]) : message),
            ),
            allowed: HOSTILE,
          })),
      ),
      ground,
    ),
};

/** What is added to a right request, and what it has to be answered with then. */
const ADDED: readonly { name: string; nodes: (type: DescMessage) => readonly Node[]; status?: string }[] = [
  {
    name: 'unknown field',
    nodes: () => [{ no: 15_000, type: 2, value: Buffer.from('whatever') }],
  },
  { name: 'unknown number', nodes: () => [{ no: 15_001, type: 0, value: 2n ** 64n - 1n }] },
  {
    name: 'cut off',
    nodes: () => [{ no: 15_000, type: 2, value: Buffer.from('ab'), claim: 3 }],
    status: 'INVALID_ARGUMENT',
  },
  { name: 'field 0', nodes: () => [{ no: 0, type: 0, value: 1n }], status: 'INVALID_ARGUMENT' },
  { name: 'wire type 6', nodes: () => [{ no: 1, type: 6, value: [] }], status: 'INVALID_ARGUMENT' },
  { name: 'wire type 7', nodes: () => [{ no: 1, type: 7, value: [] }], status: 'INVALID_ARGUMENT' },
  {
    name: 'endless number',
    nodes: () => [{ type: 'raw', bytes: Buffer.from('08ffffffffffffffffffff01', 'hex') }],
    status: 'INVALID_ARGUMENT',
  },
];

/** Right unary requests with one thing more, whose answer is known. */
const added: Kind = {
  name: 'added',
  weight: 3,
  part: 'structured',
  of: (ground) =>
    sent(
      fc
        .tuple(
          rightRequests(ground).filter(({ path }) => !methodOf.get(path)!.isStream),
          fc.constantFrom(...ADDED),
        )
        .map(([{ service, path, messages, status }, { name, nodes, status: wanted }]) => ({
          kind: `added: ${name}`,
          service,
          path,
          data: [enveloped(Buffer.concat([messages[0]!, encodeNodes(nodes(methodOf.get(path)!.input))]))],
          allowed: [wanted ?? status],
        })),
      ground,
    ),
};

/** The steps of an Ingest and of a SearchStream in any order, and streams that end in the middle. */
const streams: Kind = {
  name: 'streams',
  weight: 4,
  part: 'structured',
  of: (ground) => {
    const ofMethod = (path: string): fc.Arbitrary<Buffer> =>
      rightRequests(ground)
        .filter((each) => each.path === path)
        .chain(({ messages }) => fc.constantFrom(...messages))
        .map((message) => enveloped(message));
    const paths = ['/scalingnote.v1.DocumentService/Ingest', '/scalingnote.v1.QueryService/SearchStream'];
    return sent(
      fc.constantFrom(...paths).chain((path) =>
        fc
          .tuple(
            fc.array(
              fc.oneof(
                { weight: 6, arbitrary: ofMethod(path) },
                {
                  weight: 1,
                  arbitrary: nodesOf(methodOf.get(path)!.input).map((nodes) => enveloped(encodeNodes(nodes))),
                },
                { weight: 1, arbitrary: fc.constant(enveloped(Buffer.alloc(0))) },
              ),
              { maxLength: 8 },
            ),
            fc.nat({ max: 30 }),
            fc.constantFrom<('data' | 'trailers' | 'reset')[]>('data', 'data', 'trailers', 'reset'),
          )
          .map(([messages, cut, end]) => {
            const all = Buffer.concat(messages);
            // Now and then the last message is cut.
            const isCut = end === 'reset' && cut > 0 && cut < all.length;
            return {
              kind: 'streams',
              service: methodOf.get(path)!.service,
              path,
              data: isCut ? [all.subarray(0, all.length - cut)] : messages,
              allowed: end === 'reset' ? ['LEFT'] : HOSTILE,
              end,
            };
          }),
      ),
      ground,
    );
  },
};

const garbage = fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes));
/** A message that inflates a thousandfold. */
const BOMB = gzipSync(Buffer.alloc(8 << 20), { level: 9 });

/** Envelopes that lie, and compression that is none. */
const envelopes: Kind = {
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

const oddValue = fc.constantFrom(
  '',
  ' ',
  'x',
  '-1S',
  '0n',
  '1n',
  '1u',
  '99999999H',
  '999999999H',
  '5',
  '1.5S',
  '☃',
  '\0',
  'a\nb',
  'a\r\nx: y',
  'ÿ'.repeat(9),
);
const oddHeader: fc.Arbitrary<Header> = fc.oneof(
  fc.tuple(
    fc.constantFrom(
      'grpc-timeout',
      'grpc-encoding',
      'grpc-accept-encoding',
      'te',
      'content-type',
      'traceparent',
      'tracestate',
      'x-bin',
      'grpc-status',
      'grpc-trace-bin',
      'user-agent',
      'content-length',
      'baggage',
    ),
    oddValue,
  ),
  fc.tuple(
    fc.constantFrom(
      'connection',
      'transfer-encoding',
      'upgrade',
      'Upper',
      '',
      ':late',
      'host',
      'expect',
      'a b',
    ),
    oddValue,
  ),
  fc.constantFrom<Header[]>(
    ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
    ['traceparent', 'ff-00000000000000000000000000000000-0000000000000000-00'],
    ['x-long', 'x'.repeat(8_000)],
    ['x-longer', 'x'.repeat(70_000)],
    ['data-bin', '!!!'],
    ['data-bin', 'AA==,AA,====,'],
    ['origin', 'https://elsewhere.example'],
    ['cookie', 'a=b'],
  ),
  fc
    .tuple(fc.constantFrom(50, 130, 1_000), fc.constantFrom('x-many', 'data-bin'))
    .map(([count, name]): Header => [name, String(count).repeat(count)]),
);

/** Headers of all kinds before a right request. */
const headers: Kind = {
  name: 'headers',
  weight: 5,
  part: 'raw',
  of: (ground) =>
    fc
      .tuple(
        rightRequests(ground),
        fc.array(oddHeader, { minLength: 1, maxLength: 4 }),
        fc.constantFrom('POST', 'POST', 'POST', 'GET', 'PUT', 'OPTIONS', 'CONNECT', 'X', ''),
        fc.constantFrom('', '', '', '/', '?a', '%00', '/..', 'X'.repeat(20_000)),
        fc.constantFrom(
          'application/grpc',
          'application/grpc',
          'application/grpc+proto',
          'application/grpc+json',
          'application/grpcx',
          'application/grpc;x',
          'application/json',
          '',
        ),
        credential,
      )
      .map(([{ service, path, messages }, odd, method, tail, type, who]) => {
        const all: Header[] = [
          [':method', method],
          [':scheme', 'http'],
          [':path', path + tail],
          [':authority', 'localhost'],
          ['te', 'trailers'],
          ['content-type', type],
          ...odd,
        ];
        const data = messages.map((message) => enveloped(message));
        const wire = { on: 'stream', alone: true, headers: all, data, end: 'data' } as const;
        const one = { kind: 'headers', service, allowed: ['*'] };
        return {
          ...withCredential(one, wire, who, ground),
          // What is wrong with headers may come before the credential.
          allowed: who === 'stranger' ? ['* but OK'] : ['*'],
        };
      }),
};

export const RPC_KINDS: readonly Kind[] = [right, madeUp, mutated, added, streams, envelopes, headers];
