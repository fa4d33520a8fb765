import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build, type Rolldown } from 'vite';

/** A module that is in no file. */
const MODULE = 'virtual:official';
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** Where it would be, so that its imports are found. */
const FILE = `${ROOT}official.js`;

/** What the page has as `official`: the client of Connect for browsers, and the contract. */
const SOURCE = `
export * from '@connectrpc/connect';
export { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-web';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
export const registryOf = (base64) =>
  createFileRegistry(fromBinary(FileDescriptorSetSchema, Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))));
`;

/** A server of an empty page that can import the client, at two origins: `127.0.0.1` and `localhost`. */
export interface OfficialPage {
  origin: string;
  /** The same page under another name: for a browser, another origin. */
  otherOrigin: string;
  /** The descriptors of the contract, for `registryOf`. */
  descriptors: string;
  stop(): void;
}

export async function serveOfficialPage(): Promise<OfficialPage> {
  const bundle = await bundled();
  const server = createServer((request, response) => {
    const isScript = request.url === '/official.js';
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
    response.end(isScript ? bundle : '<!doctype html><title>Official client</title>');
  });
  server.listen(0, 'localhost');
  await once(server, 'listening');
  const { port, family } = server.address() as AddressInfo;
  const other = createServer((request, response) => void server.emit('request', request, response));
  if (family === 'IPv6') {
    other.listen(port, '127.0.0.1');
    await once(other, 'listening');
  }
  return {
    origin: `http://127.0.0.1:${port}`,
    otherOrigin: `http://localhost:${port}`,
    descriptors: readFileSync(`${ROOT}proto/scalingnote/descriptors.binpb`).toString('base64'),
    stop: () => {
      for (const each of [server, other]) {
        each.close();
        each.closeAllConnections();
      }
    },
  };
}

async function bundled(): Promise<string> {
  const made = (await build({
    configFile: false,
    root: ROOT,
    logLevel: 'error',
    publicDir: false,
    plugins: [
      {
        name: MODULE,
        enforce: 'pre',
        resolveId: (id) => (id === MODULE ? FILE : undefined),
        load: (id) => (id === FILE ? SOURCE : undefined),
      },
    ],
    build: {
      write: false,
      minify: false,
      rollupOptions: { input: MODULE, preserveEntrySignatures: 'strict' },
    },
  })) as Rolldown.RolldownOutput;
  return made.output[0].code;
}
