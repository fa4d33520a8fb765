import * as fc from 'fast-check';
import type { Header } from '../case.ts';
import { credential, enveloped, type Kind, withCredential } from './kind.ts';
import { rightRequests } from './right.ts';

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
export const headers: Kind = {
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
