import { status, type Metadata } from '@grpc/grpc-js';
import { STATUS_DETAILS_TRAILER } from '../../../proto/status.ts';
import { invalidArgument } from '../errors.ts';
import { base64Chunks, base64Text } from './base64.ts';
import { callStream, type StreamOutput } from './calls.ts';
import { codecOf, type Codec } from './codec.ts';
import { connectDeadline } from './connect-unary.ts';
import { HttpError, type Exchange } from './exchange.ts';
import { COMPRESSED, frame } from './frames.ts';
import { grpcDeadline, percentEncoded } from './grpc-values.ts';
import { acceptedEncoding, deflate, encodingOf, type Encoding } from './inflate.ts';
import { messagesOf } from './messages.ts';
import type { Method } from './methods.ts';
import { errorJson, fieldsOf, grouped, trailersOf, unpadded, type GrpcError } from './wire-error.ts';

/** A protocol whose messages stand in envelopes, and whose last envelope says how the call ended. */
export interface Framing {
  readonly contentType: string;
  readonly encodingHeader: string;
  readonly acceptHeader: string;
  /** The bytes are base64. */
  readonly isText: boolean;
  /** When the caller stops waiting. @throws {ServiceError} for a header that is no time */
  deadline(exchange: Exchange): number;
  /** The flag of the last envelope, and what is in it. */
  readonly endFlag: number;
  end(error: GrpcError | undefined, trailers: Metadata | undefined): string;
}

/** Streams of Connect: `application/connect+json`, `application/connect+proto`. */
export function connectFraming(codec: string): Framing {
  return {
    contentType: `application/connect+${codec}`,
    encodingHeader: 'connect-content-encoding',
    acceptHeader: 'connect-accept-encoding',
    isText: false,
    deadline: connectDeadline,
    endFlag: 2,
    end: (error, trailers) => {
      const metadata = grouped(fieldsOf(error ? trailersOf(error) : trailers));
      return JSON.stringify({
        ...(error && { error: errorJson(error) }),
        ...(Object.keys(metadata).length > 0 && { metadata }),
      });
    },
  };
}

/** gRPC-Web: `application/grpc-web`, `application/grpc-web-text`, with `+proto` or `+json`. */
export function grpcWebFraming(codec: string, isText: boolean): Framing {
  return {
    contentType: `application/grpc-web${isText ? '-text' : ''}+${codec}`,
    encodingHeader: 'grpc-encoding',
    acceptHeader: 'grpc-accept-encoding',
    isText,
    deadline: (exchange) => {
      if (exchange.headers['connect-timeout-ms'] !== undefined) {
        throw invalidArgument(
          'connect-timeout-ms',
          'is of Connect and plain addresses; send grpc-timeout here',
        );
      }
      return grpcDeadline(exchange);
    },
    endFlag: 0x80,
    end: (error, trailers) => {
      const fields: [string, string][] = [
        ['grpc-status', String(error ? (error.code ?? status.UNKNOWN) : 0)],
      ];
      if (error) {
        fields.push(['grpc-message', percentEncoded(error.details ?? '')]);
        const [packed] = error.metadata?.get(STATUS_DETAILS_TRAILER) ?? [];
        if (Buffer.isBuffer(packed)) fields.push([STATUS_DETAILS_TRAILER, unpadded(packed)]);
      }
      fields.push(...fieldsOf(error ? trailersOf(error) : trailers));
      return fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    },
  };
}

/** Serves a call whose messages stand in envelopes: streams of Connect, and every call of gRPC-Web. */
export async function serveFramed(
  exchange: Exchange,
  method: Method,
  framing: Framing,
  codecName: string,
): Promise<void> {
  const codec = codecOf(method, codecName);
  if (!codec) throw new HttpError(415, status.UNIMPLEMENTED, `${method.path} has no JSON form; send +proto`);
  const output = new FramedOutput(exchange, framing, codec);
  try {
    const version = exchange.header('connect-protocol-version') ?? '1';
    if (version !== '1') throw invalidArgument('connect-protocol-version', 'is not known; send 1');
    const deadline = framing.deadline(exchange);
    const encoding = encodingOf(exchange.header(framing.encodingHeader), framing.encodingHeader);
    const chunks = framing.isText ? base64Chunks(exchange.chunks()) : exchange.chunks();
    const inputs = messagesOf(chunks, exchange.limits, encoding, (bytes) => codec.decode(bytes));
    await callStream(method, inputs, { head: exchange, deadline }, output, exchange);
  } catch (error) {
    output.fail(exchange.failure(error));
  }
}

/** Ends a call of such a protocol before it has begun. */
export function sendFramedError(exchange: Exchange, framing: Framing, error: GrpcError): void {
  new FramedOutput(exchange, framing, undefined).fail(error);
}

/** The answer of such a call. */
class FramedOutput implements StreamOutput {
  readonly #exchange: Exchange;
  readonly #framing: Framing;
  readonly #codec: Codec | undefined;
  readonly #encoding: Encoding | undefined;

  constructor(exchange: Exchange, framing: Framing, codec: Codec | undefined) {
    this.#exchange = exchange;
    this.#framing = framing;
    this.#codec = codec;
    this.#encoding = acceptedEncoding(exchange.header(framing.acceptHeader));
  }

  headers(metadata: Metadata | undefined): void {
    const { response } = this.#exchange;
    if (response.headersSent || response.destroyed) return;
    const { contentType, encodingHeader } = this.#framing;
    response.writeHead(200, {
      ...grouped(fieldsOf(metadata)),
      'content-type': contentType,
      'x-content-type-options': 'nosniff',
      ...(this.#encoding && { [encodingHeader]: this.#encoding }),
    });
    response.flushHeaders?.();
  }

  async message(value: object): Promise<void> {
    const plain = this.#codec!.encode(value);
    const { bytes, encoding } = await deflate(plain, this.#encoding);
    const { response } = this.#exchange;
    if (response.destroyed) return;
    const framed = this.#packed(frame(encoding ? COMPRESSED : 0, bytes));
    await new Promise<void>((resolve) => response.write(framed, () => resolve()));
  }

  end(error: GrpcError | undefined, trailers: Metadata | undefined): void {
    const { response } = this.#exchange;
    if (response.destroyed || response.writableEnded) return;
    const named = error && this.#codec ? this.#codec.named(error) : error;
    const last = Buffer.from(this.#framing.end(named, trailers));
    response.end(this.#packed(frame(this.#framing.endFlag, last)));
  }

  fail(error: GrpcError): void {
    this.headers(undefined);
    this.end(error, undefined);
  }

  #packed(bytes: Buffer): Buffer | string {
    return this.#framing.isText ? base64Text(bytes) : bytes;
  }
}
