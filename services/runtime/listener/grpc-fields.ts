import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';
import { status, type Metadata } from '@grpc/grpc-js';
import { malformedMessage } from '../errors.ts';
import { percentEncoded } from './grpc-values.ts';
import { GRPC_ENCODINGS } from './inflate.ts';
import type { Method } from './methods.ts';
import { fieldsOf, grouped, type GrpcError } from './wire-error.ts';

const CONTENT_TYPE = 'application/grpc+proto';
export const ACCEPTED_ENCODINGS = ['identity', ...GRPC_ENCODINGS].join(',');
/** What an answer begins with, and what it ends with where all went well. */
const HEADERS: OutgoingHttpHeaders = {
  ':status': 200,
  'content-type': CONTENT_TYPE,
  'grpc-accept-encoding': ACCEPTED_ENCODINGS,
};
const TRAILERS: OutgoingHttpHeaders = { 'grpc-status': status.OK };
export const WITH_TRAILERS = { waitForTrailers: true };

/** What the answer of a call begins with. */
export function grpcHeaders(metadata: Metadata | undefined): OutgoingHttpHeaders {
  return metadata ? { ...HEADERS, ...grouped(fieldsOf(metadata)) } : HEADERS;
}

/** What it ends with where all went well. */
export function grpcTrailers(metadata: Metadata | undefined): OutgoingHttpHeaders {
  return metadata ? { ...TRAILERS, ...grouped(fieldsOf(metadata)) } : TRAILERS;
}

/** What it ends with where it failed. */
export function errorFields({ code, details, metadata }: GrpcError): OutgoingHttpHeaders {
  return {
    'grpc-status': code ?? status.UNKNOWN,
    'grpc-message': percentEncoded(details ?? ''),
    ...grouped(fieldsOf(metadata ?? undefined)),
  };
}

/** An answer that is nothing but an error. */
export function refusalHeaders(error: GrpcError): OutgoingHttpHeaders {
  return { ':status': 200, 'content-type': CONTENT_TYPE, ...errorFields(error) };
}

/** How messages of a call are compressed, which `http2.ts` has looked at; `undefined` where they are not. */
export function grpcEncodingOf(headers: IncomingHttpHeaders): (typeof GRPC_ENCODINGS)[number] | undefined {
  const given = headers['grpc-encoding'];
  return given === undefined ? undefined : GRPC_ENCODINGS.find((each) => each === given);
}

/** Reads the messages of a method. Those of our own services say by themselves what is wrong with one. */
export function decoderOf({ decode }: Method): (bytes: Buffer) => object {
  return (bytes) => {
    try {
      return decode(bytes);
    } catch (error) {
      throw malformedMessage(error);
    }
  };
}
