// Serves the example page and the built package: `node examples/web/serve.js [PORT]`.
import { createReadStream } from 'node:fs';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';

const PAGE = fileURLToPath(new URL('index.html', import.meta.url));
const PACKAGE = fileURLToPath(new URL('../../clients/web/dist/', import.meta.url));

/** The file at an address, and its type; `undefined` where there is none. */
function fileAt(path) {
  if (path === '/') return [PAGE, 'text/html; charset=utf-8'];
  const [, name] = /^\/package\/((?:[a-z0-9-]+\/)*[a-z0-9-]+\.js)$/.exec(path) ?? [];
  return name && [PACKAGE + name, 'text/javascript'];
}

const server = createServer((request, response) => {
  const file = fileAt(new URL(request.url, 'http://page').pathname);
  if (file === undefined) {
    response.writeHead(404).end();
    return;
  }
  createReadStream(file[0])
    .on('open', () => response.writeHead(200, { 'content-type': file[1] }))
    .on('error', () => response.writeHead(404).end('run "npm run build" first'))
    .pipe(response);
});
server.listen(Number(process.argv[2] ?? 7480), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
});
