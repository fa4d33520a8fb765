import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { StartError } from '../../runtime/server.ts';
import type { Reply, Route } from './routes.ts';

/** Where the build puts the page: beside what this file is compiled to. */
const PAGE = fileURLToPath(new URL('../page/', import.meta.url));

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/**
 * Routes of the built page. All of it is read once, so that no path of a request ever reaches the file system.
 *
 * @throws {StartError} where the page has not been built
 */
export function pageRoutes(folder = PAGE): Route[] {
  if (!existsSync(join(folder, 'index.html'))) {
    throw new StartError(`the console's page is not in ${folder}; build it with "npm run build"`);
  }
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && TYPES[extname(entry.name)] !== undefined)
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length).replaceAll('\\', '/'));
  return names.flatMap((name) => {
    const path = `/${name.replace(/^\/+/, '')}`;
    const route = fileRoute(path, readFileSync(join(folder, name)));
    return path === '/index.html' ? [route, { ...route, path: '/' }] : [route];
  });
}

function fileRoute(path: string, bytes: Buffer): Route {
  const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;
  const type = TYPES[extname(path)]!;
  // The build writes a hash of the content into the names of what is below assets/.
  const cache = path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache';
  const headers = { etag, 'cache-control': cache };
  return {
    method: 'GET',
    path,
    handle: ({ headers: asked }): Reply =>
      asked['if-none-match'] === etag
        ? { status: 304, type, bytes: new Uint8Array(), headers }
        : { type, bytes, headers },
  };
}
