import { status, type Metadata } from '@grpc/grpc-js';
import { invalidArgument } from '../errors.ts';
import { callUnary, type CallOptions } from './calls.ts';
import { codecOf, type Codec } from './codec.ts';
import { HttpError, type Exchange } from './exchange.ts';
import { acceptedEncoding, deflate, encodingOf, inflate } from './inflate.ts';
import type { Method } from './methods.ts';
import { errorJson, fieldsOf, grouped, httpStatus, trailersOf, type GrpcError } from './wire-error.ts';

const CONTENT_TYPES = { json: 'application/json', proto: 'application/proto' } as const;
/** What a GET may have in its address. */
const PARAMETERS: ReadonlySet<string> = new Set(['connect', 'encoding', 'message', 'base64', 'compression']);

/** Serves a call of Connect with one message in each direction: `application/json` or `application/proto`. */
export async function serveConnectUnary(
  exchange: Exchange,
  method: Method,
  codecName: string,
): Promise<void> {
  const codec = codecOf(method, codecName);
  if (!codec)
    throw new HttpError(415, status.UNIMPLEMENTED, `${method.path} has no JSON form; send application/proto`);
  const version = exchange.header('connect-protocol-version') ?? '1';
  if (version !== '1') throw invalidArgument('connect-protocol-version', 'is not known; send 1');
  const deadline = connectDeadline(exchange);
  const encoding = encodingOf(exchange.header('content-encoding'), 'content-encoding');
  // A plain address that is read by GET has no fields.
  const body = exchange.request.method === 'GET' ? Buffer.from('{}') : await exchange.body();
  const bytes = await inflate(body, encoding, exchange.limits);
  await answerUnary(exchange, method, codec, bytes, { head: exchange, deadline });
}

/** Serves a call by GET of a method without side effects: what would be the body is in the address. */
export async function serveConnectGet(exchange: Exchange, method: Method): Promise<void> {
  const parameters = new URLSearchParams(exchange.query);
  for (const name of parameters.keys()) {
    if (!PARAMETERS.has(name)) {
      throw invalidArgument(name, `is no parameter of a call by GET; there is ${[...PARAMETERS].join(', ')}`);
    }
    if (parameters.getAll(name).length > 1) throw invalidArgument(name, 'is given twice; send it once');
  }
  const of = (name: string): string | undefined => parameters.get(name) ?? undefined;
  const version = of('connect') ?? 'v1';
  if (version !== 'v1') throw invalidArgument('connect', 'is not known; send v1');
  const name = of('encoding') ?? '';
  const codec = name === 'json' || name === 'proto' ? codecOf(method, name) : undefined;
  if (!codec) {
    throw new HttpError(415, status.UNIMPLEMENTED, `encoding is ${JSON.stringify(name)}; send json or proto`);
  }
  const message = of('message');
  if (message === undefined) throw invalidArgument('message', 'is missing; send the request in it');
  const base64 = of('base64') ?? '0';
  if (base64 !== '0' && base64 !== '1') throw invalidArgument('base64', 'is neither 0 nor 1');
  if (base64 === '1' && !/^[\w+/-]*={0,2}$/.test(message)) {
    throw invalidArgument('message', 'is not base64; send base64url, or leave base64=1 out');
  }
  const deadline = connectDeadline(exchange);
  const encoding = encodingOf(of('compression'), 'compression');
  const sent = Buffer.from(message, base64 === '1' ? 'base64url' : 'utf8');
  const bytes = await inflate(sent, encoding, exchange.limits);
  await answerUnary(exchange, method, codec, bytes, { head: exchange, deadline });
}

async function answerUnary(
  exchange: Exchange,
  method: Method,
  codec: Codec,
  bytes: Buffer,
  options: CallOptions,
): Promise<void> {
  const answer = await callUnary(method, codec.decode(bytes), options, exchange);
  if (!answer) return;
  const { value, error, headers, trailers } = answer;
  if (error) {
    sendConnectError(exchange, codec.named(error), undefined, headers);
    return;
  }
  const accepted = acceptedEncoding(exchange.header('accept-encoding'));
  const body = await deflate(codec.encode(value!), accepted);
  exchange.send(
    200,
    {
      ...grouped([...fieldsOf(headers), ...trailerFields(trailers)]),
      'content-type': CONTENT_TYPES[codec.name],
      ...(body.encoding && { 'content-encoding': body.encoding }),
    },
    body.bytes,
  );
}

/** Trailers as Connect has them where there is nothing after the message. */
function trailerFields(trailers: Metadata | undefined): [string, string][] {
  return fieldsOf(trailers).map(([name, value]) => [`trailer-${name}`, value]);
}

/** Answers with the error JSON of Connect. */
export function sendConnectError(
  exchange: Exchange,
  error: GrpcError,
  http: number | undefined,
  headers?: Metadata,
): void {
  const fields = grouped([...fieldsOf(headers), ...trailerFields(trailersOf(error))]);
  const body = JSON.stringify(errorJson(error));
  exchange.send(http ?? httpStatus(error), { ...fields, 'content-type': CONTENT_TYPES.json }, body);
}

/** @throws {ServiceError} for a header that is no number of at most ten digits, or that is gRPC's */
export function connectDeadline({ headers }: Pick<Exchange, 'headers'>): number {
  if (headers['grpc-timeout'] !== undefined) {
    throw invalidArgument('grpc-timeout', 'is of gRPC and gRPC-Web; send connect-timeout-ms here');
  }
  const given = headers['connect-timeout-ms'];
  if (given === undefined) return Infinity;
  if (typeof given !== 'string' || !/^\d{1,10}$/.test(given)) {
    throw invalidArgument('connect-timeout-ms', 'is no whole number of at most 10 digits; send milliseconds');
  }
  return Date.now() + Number(given);
}
