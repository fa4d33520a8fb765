import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Hono } from 'hono';
import { etag } from 'hono/etag';
import { getMimeType } from 'hono/utils/mime';
import { StartError } from '../../runtime/server.ts';

/** The build writes the page here, beside the compiled form of this file. */
const PAGE = fileURLToPath(new URL('../page/', import.meta.url));

/**
 * Serves the built page. It reads all files once, so that no path of a request ever reaches the file system.
 *
 * @throws {StartError} where the page has not been built
 */
export function pageRoutes(folder = PAGE): Hono {
  if (!existsSync(join(folder, 'index.html'))) {
    throw new StartError(`the console's page is not in ${folder}; build it with "npm run build"`);
  }
  const app = new Hono();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const type = getMimeType(entry.name);
    if (!entry.isFile() || type === undefined || entry.name.endsWith('.map')) continue;
    const file = join(entry.parentPath, entry.name);
    const path = `/${relative(folder, file).replaceAll(sep, '/')}`;
    const bytes = readFileSync(file);
    const headers = {
      'content-type': type,
      'content-length': String(bytes.length),
      // Names below assets/ hold a hash of the content.
      'cache-control': path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache',
    };
    const paths = path === '/index.html' ? ['/', path] : [path];
    app.on('GET', paths, etag(), (context) => context.body(bytes, 200, headers));
  }
  return app;
}
