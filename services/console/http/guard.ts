import type { MiddlewareHandler } from 'hono';
import { HttpError } from './errors.ts';

/** No name server can give these names to another machine. */
const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];

/** What a browser says about a request that our own page sent, or that a person typed. */
const OWN_SITES = new Set(['same-origin', 'none']);

/**
 * Keeps pages of other sites away from a server that asks for no password because only this machine reaches it.
 *
 * - `Host` must be an allowed name: a page of `evil.example` whose name now leads to 127.0.0.1 still sends
 *   `evil.example` (DNS rebinding).
 * - `Origin`, which browsers send with everything but plain reads of the same origin, must be the console itself.
 *   Programs send none.
 * - Requests below /api/ must not come from another site (`Sec-Fetch-Site`). Other sites may link to the page.
 * - Programs alone may use what is below /v1/. They call the console by any name that their network gives it.
 *
 * @param names - names besides the loopback ones under which browsers may reach the console
 */
export function guard(names: readonly string[]): MiddlewareHandler {
  const allowed = new Set([...LOOPBACK, ...names.map((name) => name.toLowerCase())]);
  return ({ req }, next) => {
    const host = req.header('host');
    const origin = req.header('origin');
    const site = req.header('sec-fetch-site');
    if (req.path.startsWith('/v1/')) {
      if (origin === undefined && site === undefined) return next();
      throw forbidden('only programs may use this, not pages');
    }
    const own = hostOf(`http://${host}`);
    if (own === undefined || !allowed.has(own.hostname)) throw hostNotAllowed(host);
    if (origin !== undefined && hostOf(origin)?.host !== own.host) {
      throw forbidden(`pages of ${origin} may not use the console`);
    }
    if (req.path.startsWith('/api/') && site !== undefined && !OWN_SITES.has(site)) {
      throw forbidden('pages of another site may not use the console');
    }
    return next();
  };
}

/** Whether a header `Host` names this machine by a name that leads nowhere else. */
export function isLoopbackName(host: string | undefined): boolean {
  return LOOPBACK.includes(hostOf(`http://${host}`)?.hostname ?? '');
}

/** Reads a URL of a scheme and a host alone; gives `undefined` for anything else: "null", "http://a@b". */
export function hostOf(text: string): URL | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const rest = [url.username, url.password, url.search, url.hash].join('');
  return rest === '' && url.pathname === '/' && url.host !== '' ? url : undefined;
}

/** The request names a host that the console does not serve. */
export function hostNotAllowed(host = ''): HttpError {
  return new HttpError(
    421,
    'HOST_NOT_ALLOWED',
    `the console does not answer to the name ${JSON.stringify(host)}; open it as ` +
      'http://127.0.0.1, or allow the name with --console-hosts or SCALINGNOTE_CONSOLE_HOSTS',
  );
}

function forbidden(message: string): HttpError {
  return new HttpError(403, 'ORIGIN_NOT_ALLOWED', message);
}
