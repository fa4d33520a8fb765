import { invalidArgument } from './errors.ts';
import { described } from './request.ts';

/** A key or a token for the service; or what gives one before each call, as pages do that get short-lived ones from a server. */
export type Credential = string | (() => string | Promise<string>);

/** What a header can carry. */
const HEADER_VALUE = /^[!-~]+$/;
/** Names of this machine. */
const NEAR = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/;

/**
 * Gives the headers of a call that say who makes it.
 *
 * @param base - where they go
 * @throws {WebError} at once, or with the headers, which does not repeat the credential
 */
export function authorizing(credential: unknown, base: string): () => Promise<Record<string, string>> {
  if (credential === undefined) return () => Promise.resolve({});
  if (typeof credential !== 'function' && typeof credential !== 'string') {
    throw invalidArgument(
      'credential',
      `is ${described(credential)}; give a key or a token, or what gives one`,
    );
  }
  const { protocol, hostname } = new URL(base);
  if (protocol === 'http:' && !NEAR.test(hostname)) {
    throw invalidArgument('credential', `would go to ${base} for everybody on the way to read; use https://`);
  }
  const header = (secret: unknown): Record<string, string> => {
    if (typeof secret === 'string' && HEADER_VALUE.test(secret)) {
      return { authorization: `Bearer ${secret}` };
    }
    throw invalidArgument('credential', 'must be characters of ASCII without white space');
  };
  if (typeof credential === 'function') return async () => header(await (credential as () => unknown)());
  const fixed = header(credential);
  return () => Promise.resolve(fixed);
}
