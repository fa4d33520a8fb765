import type { Client } from '@grpc/grpc-js';
import { type CallBounds, type Resolved, type StartCall, unary } from './call.ts';

/** What a server says of itself as a whole. */
export type Health = 'SERVING' | 'NOT_SERVING';

/**
 * `grpc.health.v1.Health/Check` of the server behind a client, over the client's own connection. The messages are so
 * small that they are written out here: a request for the server as a whole is empty, and an answer that is
 * SERVING is field 1 (tag 0x08) with value 1.
 *
 * @throws {ScalingnoteError} where the server can't be asked
 */
export function checkHealth(client: Client, options: Resolved, bounds?: CallBounds): Promise<Health> {
  const start: StartCall<Health> = (metadata, callOptions, callback) =>
    client.makeUnaryRequest(
      '/grpc.health.v1.Health/Check',
      () => Buffer.alloc(0),
      (bytes) => (bytes[0] === 0x08 && bytes[1] === 1 ? 'SERVING' : 'NOT_SERVING'),
      {},
      metadata,
      callOptions,
      callback,
    );
  return unary(start, options, bounds);
}
