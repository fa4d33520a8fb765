import * as fc from 'fast-check';
import type { Case } from '../case.ts';
import type { Kind } from './kind.ts';
import { methodOf } from './call.ts';

const targets = fc.constantFrom('/v1/describe', '/v1/search', '/healthz', '*', '/', ...methodOf.keys());

const line = fc.constantFrom(
  'host: localhost',
  'host: a\r\nhost: b',
  'content-type: application/json',
  'content-length: 2',
  'content-length: 2, 2',
  'content-length: -1',
  'content-length: 0x2',
  'content-length: 99999999999999999999',
  'content-length: 17179869184',
  'Content-Length : 2',
  'content-length:\t2',
  'content-length: 2\r\ncontent-length: 3',
  'transfer-encoding: chunked',
  'transfer-encoding: identity',
  'transfer-encoding: gzip, chunked',
  'transfer-encoding: chunked, identity',
  'Transfer-Encoding:\x0bchunked',
  'transfer-encoding : chunked',
  'transfer-encoding: xchunked',
  'transfer-encoding: chunked\r\ncontent-length: 4',
  ' folded: line',
  'x: a\r\n b',
  'x: \x00',
  'x: \x7f',
  'no colon',
  ': empty',
  'expect: 100-continue',
  'expect: x',
  'connection: close',
  'connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__',
  'connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: eA==\r\nsec-websocket-version: 13',
  'te: trailers, chunked',
  'trailer: content-length',
  `x-long: ${'y'.repeat(9_000)}`,
  `cookie: ${'z'.repeat(20_000)}`,
  'accept-encoding: gzip',
  'range: bytes=0-99999999999',
  'authorization: Bearer sn_x',
  'authorization: Basic eDp4',
);

const body = fc.oneof(
  fc.constantFrom('', '{}', '2\r\n{}\r\n0\r\n\r\n', '2;x=y\r\n{}\r\n0\r\nx: y\r\n\r\n'),
  fc.constantFrom(
    '0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n',
    'ffffffffffffffff\r\nx',
    '-1\r\n',
    '2\n{}\n0\n\n',
    '02\r\n{}\r\n0\r\n\r\n',
    ' 2\r\n{}',
    '2\r\n{}X\r\n0\r\n\r\n',
    `${'0'.repeat(9_000)}2\r\n{}`,
    `2;${'x'.repeat(20_000)}\r\n{}\r\n0\r\n\r\n`,
  ),
  fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
);

const requestLine = fc
  .tuple(
    fc.constantFrom(
      'GET',
      'POST',
      'POST',
      'HEAD',
      'OPTIONS',
      'CONNECT',
      'TRACE',
      'PRI',
      'get',
      'X'.repeat(300),
      'G\tT',
      '',
    ),
    fc.oneof(
      targets,
      fc.constantFrom('', 'http://x/', '//x', `/${'a'.repeat(17_000)}`, '/\x00', '/ x', '/\xff', 'x:443'),
    ),
    fc.constantFrom(
      'HTTP/1.1',
      'HTTP/1.1',
      'HTTP/1.1',
      'HTTP/1.0',
      'HTTP/0.9',
      'HTTP/2.0',
      'HTTP/9.9',
      'http/1.1',
      '',
      'ICE/1.0',
    ),
    fc.constantFrom('\r\n', '\r\n', '\r\n', '\n', '\r', '\r\r\n', ''),
  )
  .map(([verb, target, version, end]) => `${verb} ${target} ${version}${end}`);

const request = fc
  .tuple(requestLine, fc.array(line, { maxLength: 5 }), body)
  .map(([first, lines, rest]) => `${first}${lines.map((one) => `${one}\r\n`).join('')}\r\n${rest}`);

/** A right request, which hostile ones may hide. */
const RIGHT =
  'POST /v1/describe HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}';

const asCase = (kind: string, text: fc.Arbitrary<readonly string[]>, whole: boolean): fc.Arbitrary<Case> =>
  fc
    .tuple(
      fc.constantFrom<('query' | 'document')[]>('query', 'document'),
      fc.constantFrom(false, false, true),
      text,
    )
    .map(([service, keyed, parts]) => ({
      kind,
      service,
      keyed,
      wire: { on: 'tcp', chunks: parts.map((part) => Buffer.from(part, 'latin1')), whole },
      allowed: ['*'],
    }));

/** Requests of HTTP/1.1 as smugglers send them. */
const odd: Kind = {
  name: 'http1',
  weight: 6,
  part: 'raw',
  of: () =>
    asCase(
      'http1',
      fc.array(request, { minLength: 1, maxLength: 3 }).map((all) => [all.join('')]),
      false,
    ),
};

/** Several requests at once, one of which is wrong. */
const pipelined: Kind = {
  name: 'pipelined',
  weight: 2,
  part: 'raw',
  of: () =>
    asCase(
      'pipelined',
      fc
        .tuple(fc.nat({ max: 20 }), request, fc.nat({ max: 20 }))
        .map(([before, wrong, after]) => [RIGHT.repeat(before) + wrong + RIGHT.repeat(after)]),
      false,
    ),
};

/** Heads in many pieces, with many fields, and bytes that are no HTTP at all. */
const pieces: Kind = {
  name: 'pieces',
  weight: 2,
  part: 'raw',
  of: () =>
    asCase(
      'pieces',
      fc.oneof(
        fc.tuple(request, fc.integer({ min: 1, max: 40 })).map(([text, size]) => {
          const cut = text.slice(0, size * 30);
          return Array.from({ length: Math.ceil(cut.length / size) }, (_, index) =>
            cut.slice(index * size, (index + 1) * size),
          );
        }),
        fc
          .constantFrom(90, 1_999, 2_001, 5_000)
          .map((count) => [`GET /healthz HTTP/1.1\r\n${'a:b\r\n'.repeat(count)}\r\n`]),
        fc.uint8Array({ maxLength: 300 }).map((bytes) => [Buffer.from(bytes).toString('latin1')]),
        fc.nat({ max: 24 }).map((size) => ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'.slice(0, size)]),
        fc
          .uint8Array({ maxLength: 60 })
          .map((bytes) => ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + Buffer.from(bytes).toString('latin1')]),
        fc.constantFrom(['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'], ['\r\n'.repeat(500)], ['']),
      ),
      false,
    ),
};

export const HTTP1_KINDS: readonly Kind[] = [odd, pipelined, pieces];
