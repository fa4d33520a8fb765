import { status } from '@grpc/grpc-js';
import { ServiceError } from '../errors.ts';
import { isLoopback } from '../listen-address.ts';

/**
 * Refuses a request by a name that is not this machine's, where only this machine is served and nobody is asked for a
 * credential: a page of another site reaches a loopback address by a name of its own that leads here, and then reads what
 * it likes. Pages that may call come by a host of theirs through a proxy, so those hosts are good names.
 *
 * @param host - the header
 * @param origins - of pages that may call
 * @throws {ServiceError} `HOST_NOT_ALLOWED`
 */
export function requireOwnHost(host: string | undefined, origins: readonly string[]): void {
  const name = hostOf(host);
  if (host === undefined || isLoopback(name)) return;
  if (origins.some((origin) => new URL(origin).host === host || new URL(origin).hostname === name)) return;
  throw new ServiceError(
    status.PERMISSION_DENIED,
    'HOST_NOT_ALLOWED',
    `the host ${JSON.stringify(name.slice(0, 100))} is not this machine; call 127.0.0.1, or add the origin of the pages ` +
      'that come by this name to --cors-origins',
  );
}

/** The host of a header, without its port. */
export function hostOf(header = ''): string {
  return header
    .replace(/:\d*$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
}
