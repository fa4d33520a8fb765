import type { IncomingHttpHeaders } from 'node:http';
import { HttpError } from './errors.ts';

/** Names of this machine that no name server can give to another one. */
const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];

/** What a browser says of a request that a page of ours made, or that a person made by hand. */
const OWN_SITES = new Set(['same-origin', 'none']);

/** Who may ask for something: anybody who follows a link, our own page, or programs that are no browsers. */
export type Audience = 'anybody' | 'page' | 'programs';

/**
 * What keeps other people's pages away from a server that asks for no password because only this machine reaches it.
 *
 * - `Host` must be a name of ours: a page of `evil.example` whose name now leads to 127.0.0.1 still says
 *   `evil.example` (DNS rebinding).
 * - `Origin`, which browsers send with everything but plain reads of the same origin, must be the one that was asked.
 *   Programs send none.
 * - `Sec-Fetch-Site`, likewise, where something other than the page itself is asked for.
 */
export class Guard {
  readonly #names: ReadonlySet<string>;

  /** @param names - names besides the loopback ones under which browsers may reach the console */
  constructor(names: readonly string[]) {
    this.#names = new Set([...LOOPBACK, ...names.map((name) => name.toLowerCase())]);
  }

  /** @throws {HttpError} */
  check(headers: IncomingHttpHeaders, audience: Audience): void {
    const { host, origin } = headers;
    const site = headers['sec-fetch-site'];
    if (audience === 'programs') {
      // They call the console by the name that their network gives it; a browser always says where it comes from.
      if (origin === undefined && site === undefined) return;
      throw new HttpError(403, 'ORIGIN_NOT_ALLOWED', 'this is for programs; no page may use it');
    }
    const own = hostOf(`http://${host ?? ''}`);
    if (own === undefined || !this.#names.has(own.hostname)) {
      throw new HttpError(
        421,
        'HOST_NOT_ALLOWED',
        `the console does not answer to the name ${JSON.stringify(host ?? '')}; open it as ` +
          'http://127.0.0.1, or allow the name with --console-hosts or SCALINGNOTE_CONSOLE_HOSTS',
      );
    }
    if (origin !== undefined && hostOf(origin)?.host !== own.host) {
      throw new HttpError(403, 'ORIGIN_NOT_ALLOWED', `pages of ${origin} may not use the console`);
    }
    if (audience === 'page' && typeof site === 'string' && !OWN_SITES.has(site)) {
      throw new HttpError(403, 'ORIGIN_NOT_ALLOWED', 'pages of another site may not use the console');
    }
  }
}

/** `undefined` for what is no URL, or has more than a scheme and a host: "null", "http://a@b". */
function hostOf(text: string): URL | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const isBare = url.username === '' && url.password === '' && url.pathname === '/' && url.search === '';
  return isBare && url.hash === '' && url.host !== '' ? url : undefined;
}
