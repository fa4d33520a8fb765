import * as fc from 'fast-check';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { toJson, fromBinary } from '@bufbuild/protobuf';
import { registry } from '../../../services/runtime/listener/json.ts';
import { plainAddresses } from '../../../services/runtime/listener/openapi/plain.ts';
import type { Case, Header } from '../case.ts';
import { nodesOf } from '../hostile.ts';
import { jsonOf } from '../json-text.ts';
import { encodeNodes } from '../wire-message.ts';
import { type Credential, credential, enveloped, type Ground, type Kind, withCredential } from './kind.ts';
import { rightRequests, type Right } from './right.ts';
import { methodOf } from './call.ts';

/** HTTP statuses of a request that may be wrong, and may be right. */
const HOSTILE = [200, 400, 404, 405, 409, 413, 415, 429, 503].map((code) => `HTTP_${code}`);

interface Request {
  kind: string;
  service: 'query' | 'document';
  method: string;
  target: string;
  headers: readonly Header[];
  body: Buffer | undefined;
  allowed: readonly string[];
  check?: string;
}

type Version = 'http1' | 'http2';
const version = fc.constantFrom<Version[]>('http2', 'http2', 'http1');

/** A request of HTTP as a case, over either version. */
function asCase(request: Request, over: Version, who: Credential, ground: Ground): Case {
  const { kind, service, method, target, headers, body, allowed, check } = request;
  const one = { kind, service, allowed, ...(check !== undefined && { check }) };
  const isStranger = who === 'stranger';
  const refused = kind.includes('grpc-web') ? 'HTTP_200' : 'HTTP_401';
  if (over === 'http2') {
    const all: Header[] = [
      [':method', method],
      [':scheme', 'http'],
      [':path', target],
      [':authority', 'localhost'],
      ...headers,
    ];
    const data = body === undefined ? [] : [body];
    const made = withCredential(one, { on: 'stream', headers: all, data, end: 'data' }, who, ground, refused);
    return isStranger ? { ...made, allowed: [refused, 'HTTP_404', 'HTTP_405', 'HTTP_415'] } : made;
  }
  const lines = [
    `${method} ${target} HTTP/1.1`,
    'host: localhost',
    ...headers.map(([name, value]) => `${name}: ${value}`),
    ...(who === 'keyed' ? [`authorization: Bearer ${ground.key}`] : []),
    ...(body === undefined ? [] : [`content-length: ${body.length}`]),
    '',
    '',
  ];
  const head = Buffer.from(lines.join('\r\n'), 'latin1');
  const chunks = [Buffer.concat([head, body ?? Buffer.alloc(0)])];
  const wire = { on: 'tcp', chunks, whole: true } as const;
  const keyed = who !== 'open';
  if (isStranger) {
    return { kind, service, keyed, wire, allowed: [refused, 'HTTP_400', 'HTTP_404', 'HTTP_405', 'HTTP_415'] };
  }
  return { ...one, keyed, wire, allowed: [...allowed, ...(allowed.includes('HTTP_400') ? ['CLOSED'] : [])] };
}

const cases = (arbitrary: fc.Arbitrary<Request>, ground: Ground): fc.Arbitrary<Case> =>
  fc.tuple(arbitrary, version, credential).map(([request, over, who]) => asCase(request, over, who, ground));

/** The JSON of a right request. */
function jsonText({ path, messages }: Right): string {
  const { input } = methodOf.get(path)!;
  return JSON.stringify(toJson(input, fromBinary(input, messages[0]!), { registry }));
}

const unaries = (ground: Ground): fc.Arbitrary<Right> =>
  rightRequests(ground).filter(({ path }) => !methodOf.get(path)!.isStream);
const statusOf = ({ status }: Right): string => (status === 'OK' ? 'HTTP_200' : 'HTTP_404');

const JSON_TYPE: Header = ['content-type', 'application/json'];

/** Right requests in JSON and in bytes, compressed or not. */
const connectRight: Kind = {
  name: 'connect right',
  weight: 3,
  part: 'structured',
  of: (ground) =>
    cases(
      fc
        .tuple(unaries(ground), fc.constantFrom('json', 'proto'), fc.constantFrom('', '', 'gzip', 'br'))
        .map(([one, codec, encoding]) => {
          const plain = codec === 'json' ? Buffer.from(jsonText(one)) : one.messages[0]!;
          const body =
            encoding === 'gzip' ? gzipSync(plain) : encoding === 'br' ? brotliCompressSync(plain) : plain;
          return {
            kind: `connect right ${codec}`,
            service: one.service,
            method: 'POST',
            target: one.path,
            headers: [
              ['content-type', `application/${codec}`],
              ...(encoding === '' ? [] : [['content-encoding', encoding] as const]),
            ],
            body,
            allowed: [statusOf(one)],
          };
        }),
      ground,
    ),
};

const PLAIN = plainAddresses([...methodOf.keys()]);

/** JSON made of descriptors, at the addresses of methods and at plain ones. */
const json: Kind = {
  name: 'json',
  weight: 6,
  part: 'structured',
  of: (ground) =>
    cases(
      fc
        .tuple(fc.constantFrom(...PLAIN.filter(({ verb }) => verb === 'POST')), fc.boolean())
        .chain(([{ address, path }, isPlain]) =>
          fc
            .tuple(
              jsonOf(methodOf.get(path)!.input),
              fc.constantFrom('', '', '', '', ' ', '\ufeff', '{}', ',', '\0'),
              fc.constantFrom('', '', '', '', '\ufeff', '[', '\n'),
            )
            .map(([text, behind, before]) => ({
              kind: 'json',
              service: methodOf.get(path)!.service,
              method: 'POST',
              target: isPlain ? address : path,
              headers: [JSON_TYPE],
              body: Buffer.from(before + text + behind),
              allowed: HOSTILE,
            })),
        ),
      ground,
    ),
};

/** Right JSON that is bent in one place: cut, doubled, a byte changed. */
const bentJson: Kind = {
  name: 'bent json',
  weight: 3,
  part: 'raw',
  of: (ground) =>
    cases(
      fc
        .tuple(
          unaries(ground),
          fc.constantFrom('cut', 'changed', 'doubled', 'repeated key', 'surrogate', 'not utf-8'),
          fc.nat(),
          fc.nat({ max: 255 }),
        )
        .map(([one, what, where, byte]) => {
          const text = Buffer.from(jsonText(one));
          return {
            kind: `bent json: ${what}`,
            service: one.service,
            method: 'POST',
            target: one.path,
            headers: [JSON_TYPE],
            body: bent(text, what, where % (text.length + 1), byte),
            allowed: ['changed', 'cut'].includes(what)
              ? HOSTILE
              : what === 'repeated key' && text.length === 2
                ? [statusOf(one)]
                : ['HTTP_400'],
          };
        }),
      ground,
    ),
};

function bent(text: Buffer, what: string, where: number, byte: number): Buffer {
  switch (what) {
    case 'cut':
      return text.subarray(0, where);
    case 'changed': {
      const changed = Buffer.from(text);
      if (where < changed.length) changed[where] = byte;
      return changed;
    }
    case 'doubled':
      return Buffer.concat([text, text]);
    case 'repeated key': {
      if (text.length === 2) return text;
      const inside = text.subarray(1, -1);
      return Buffer.concat([Buffer.from('{'), inside, Buffer.from(','), inside, Buffer.from('}')]);
    }
    case 'surrogate':
      return Buffer.from('{"tenant":"\\ud83e"}');
    default:
      return Buffer.from('7b2274656e616e74223a22ff227d', 'hex');
  }
}

/** What is sent by GET, in the address. */
const byGet: Kind = {
  name: 'get',
  weight: 3,
  part: 'raw',
  of: (ground) =>
    cases(
      fc
        .tuple(
          unaries(ground),
          fc.constantFrom('json', 'proto', '', 'x'),
          fc.constantFrom('0', '1', '2', ''),
          fc.constantFrom(
            '',
            '',
            '&connect=v1',
            '&connect=v2',
            '&compression=gzip',
            '&message=',
            '&x=1',
            '&%=%',
            '&&&',
            '#x',
          ),
          fc.oneof(
            { weight: 3, arbitrary: fc.constant(undefined) },
            { weight: 1, arbitrary: fc.string({ maxLength: 30 }).map((one) => encodeURIComponent(one)) },
            { weight: 1, arbitrary: fc.constantFrom('%', '%zz', '%ff', '====', '-_-', 'x'.repeat(15_000)) },
          ),
        )
        .map(([one, encoding, base64, more, given]) => {
          const bytes = encoding === 'json' ? Buffer.from(jsonText(one)) : one.messages[0]!;
          const message =
            given ??
            (base64 === '1' ? bytes.toString('base64url') : encodeURIComponent(bytes.toString('latin1')));
          return {
            kind: 'get',
            service: one.service,
            method: 'GET',
            target: `${one.path}?encoding=${encoding}&base64=${base64}&message=${message}${more}`,
            headers: [],
            body: undefined,
            allowed: [...HOSTILE, 'HTTP_414', 'HTTP_431'],
          };
        }),
      ground,
    ),
};

const garbage = fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes));

/** Streams of Connect and all of gRPC-Web: messages in envelopes, some of which lie. */
const framed: Kind = {
  name: 'framed',
  weight: 5,
  part: 'raw',
  of: (ground) =>
    cases(
      fc
        .tuple(
          rightRequests(ground),
          fc.constantFrom(
            'application/grpc-web',
            'application/grpc-web+json',
            'application/grpc-web-text',
            'application/connect+proto',
            'application/connect+json',
          ),
          fc.array(
            fc.oneof(
              { weight: 4, arbitrary: fc.constant('right') },
              { weight: 1, arbitrary: fc.constantFrom('longer', 'shorter', 'flag', 'end', 'gzip', 'huge') },
              { weight: 1, arbitrary: garbage },
            ),
            { maxLength: 5 },
          ),
          fc.nat({ max: 255 }),
          fc.constantFrom('', '', 'gzip', 'br', 'x'),
        )
        .chain(([one, type, parts, flag, encoding]) =>
          nodesOf(methodOf.get(one.path)!.input).map((nodes): Request => {
            const isJson = type.endsWith('json');
            const message = isJson ? Buffer.from(jsonText(one)) : one.messages[0]!;
            const body = Buffer.concat(
              parts.map((part) =>
                Buffer.isBuffer(part) ? part : envelope(part as string, message, flag, encodeNodes(nodes)),
              ),
            );
            const name = type.includes('connect') ? 'connect-content-encoding' : 'grpc-encoding';
            return {
              kind: `framed ${type.split('/')[1]}`,
              service: one.service,
              method: 'POST',
              target: one.path,
              headers: [['content-type', type], ...(encoding === '' ? [] : [[name, encoding] as const])],
              body: type.includes('text') ? Buffer.from(body.toString('base64')) : body,
              allowed: HOSTILE,
              check: 'envelope',
            };
          }),
        ),
      ground,
    ),
};

function envelope(part: string, message: Buffer, flag: number, nodes: Buffer): Buffer {
  switch (part) {
    case 'longer':
      return enveloped(message, 0, message.length + flag);
    case 'shorter':
      return enveloped(message, 0, message.length >> 1);
    case 'flag':
      return enveloped(message, flag);
    case 'end':
      return enveloped(Buffer.from('{}'), 2);
    case 'gzip':
      return enveloped(gzipSync(message), 1);
    case 'huge':
      return enveloped(message, flag & 3, 2 ** 32 - 1);
    default:
      return enveloped(flag < 30 ? nodes : message);
  }
}

/** Addresses that are none, and others than those of methods. */
const addresses: Kind = {
  name: 'addresses',
  weight: 2,
  part: 'raw',
  of: (ground) =>
    cases(
      fc
        .tuple(
          fc.constantFrom<('query' | 'document')[]>('query', 'document'),
          fc.constantFrom('GET', 'HEAD', 'POST', 'OPTIONS', 'DELETE', 'TRACE'),
          fc.oneof(
            fc.constantFrom(
              '/',
              '*',
              '/healthz',
              '/openapi.json',
              '/metrics',
              '/v1/tower/tower.json',
              '/v1/tower/../../../../etc/passwd',
              '/v1/tower/..%2f..%2fetc%2fpasswd',
              '/v1/tower/%00',
              '/v1/search/stream?session=x',
              '/v1/search?x=1',
              '//',
              '/%',
              'http://elsewhere/v1/search',
              '/grpc.health.v1.Health/Check',
              '/grpc.health.v1.Health/Watch',
              '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
              '/__proto__',
              '/constructor',
            ),
            fc.string({ minLength: 1, maxLength: 30 }).map((one) => `/${encodeURIComponent(one)}`),
          ),
          fc.array(
            fc.constantFrom<Header[]>(
              ['origin', 'https://elsewhere.example'],
              ['origin', 'null'],
              ['sec-fetch-site', 'cross-site'],
              ['connect-timeout-ms', '-1'],
              ['connect-timeout-ms', '0'],
              ['connect-timeout-ms', '1'],
              ['connect-protocol-version', '9'],
              ['accept-encoding', 'gzip;q=0,br;q=x,*'],
              ['accept-encoding', 'br'],
              ['content-encoding', 'zstd'],
              ['content-type', 'application/json; charset=utf-16'],
              ['content-type', 'application/grpc-web'],
              JSON_TYPE,
            ),
            { maxLength: 4 },
          ),
        )
        .map(([service, method, target, headers]) => ({
          kind: 'addresses',
          service,
          method,
          target,
          headers,
          body: method === 'POST' ? Buffer.from('{}') : undefined,
          allowed: ['* with HTTP'],
        })),
      ground,
    ).map((one) => ({ ...one, allowed: ['*'] })),
};

export const WEB_KINDS: readonly Kind[] = [connectRight, json, bentJson, byGet, framed, addresses];
