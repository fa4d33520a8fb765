import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { DescMessage, DescService, FileRegistry } from '@bufbuild/protobuf';
import type * as Connect from '@connectrpc/connect';
import type * as ConnectWeb from '@connectrpc/connect-web';
import { pino } from 'pino';
import type { Browser, Page } from 'playwright-core';
import { request } from 'undici';
import type { DocumentServiceHandlers } from '../proto/generated/scalingnote/v1/DocumentService.ts';
import type { QueryServiceHandlers } from '../proto/generated/scalingnote/v1/QueryService.ts';
import { v1 } from '../proto/load.ts';
import { invalidArgument } from '../services/runtime/errors.ts';
import type { Call, Implementation, ServerStreamCall } from '../services/runtime/handler.ts';
import { service, startServer, type RunningServer, type Service } from '../services/runtime/server.ts';
import { NOTHING, until } from '../services/runtime/testing/harness.ts';
import { launch } from './browser.ts';
import { serveOfficialPage, type OfficialPage } from './testing/official-page.ts';
import { optionalTool } from './testing/optional-tool.ts';

/** The official client of Connect in Chromium, from a page of another origin, in each protocol and form that it has. */

const { path: chromium, skip } = optionalTool('chromium');

/** What the page has. */
type Official = typeof Connect & typeof ConnectWeb & { registryOf(base64: string): FileRegistry };

const PROTOCOLS = ['connect json', 'connect binary', 'grpc-web json', 'grpc-web binary'] as const;
const SEARCH = '/scalingnote.v1.QueryService/Search';

let official: OfficialPage;
let server: RunningServer;
let documentServer: RunningServer;
let browser: Browser;
let page: Page;
/** Of each test. */
let search: (request: { query: string }, call: Call) => Promise<object>;
let exported: (call: ServerStreamCall<object>) => Promise<void>;
let searches = 0;

before(async () => {
  if (chromium === undefined) return;
  official = await serveOfficialPage();
  const query: Partial<Implementation<QueryServiceHandlers>> = {
    Search: (message, call) => (searches++, search(message, call)),
  };
  const documents = { Export: (_: object, call: ServerStreamCall<object>) => exported(call) };
  const start = async (served: Service): Promise<RunningServer> => {
    const started = await startServer({
      host: '127.0.0.1',
      port: 0,
      portSetting: '--port',
      services: [served],
      maxReceiveBytes: 1024 * 1024,
      corsOrigins: [official.origin],
      log: pino({ level: 'silent' }),
    });
    started.setServing(true);
    return started;
  };
  server = await start(service<QueryServiceHandlers>(v1.QueryService.service, { ...NOTHING, ...query }));
  documentServer = await start(
    service<DocumentServiceHandlers>(
      v1.DocumentService.service,
      documents as unknown as Implementation<DocumentServiceHandlers>,
    ),
  );
  browser = await launch(chromium);
});

after(async () => {
  await browser?.close();
  await Promise.all([server?.shutdown(100), documentServer?.shutdown(100)]);
  official?.stop();
});

beforeEach(() => {
  searches = 0;
  search = () => Promise.reject(new Error('not part of this test'));
  exported = () => Promise.reject(new Error('not part of this test'));
});

async function open(origin: string): Promise<void> {
  await page?.close();
  page = await browser.newPage();
  page.setDefaultTimeout(30_000);
  await page.goto(origin);
  await page.evaluate("import('/official.js').then((official) => void (window.official = official))");
  const addresses: Record<string, string> = {
    QueryService: server.address,
    DocumentService: documentServer.address,
  };
  await page.evaluate(
    ({ addresses, descriptors }) => {
      const { official: here } = globalThis as never as Opened;
      const registry = here.registryOf(descriptors);
      const make = (address: string, protocol: string): Connect.Transport => {
        const options = { baseUrl: `http://${address}`, useBinaryFormat: protocol.endsWith('binary') };
        const { createConnectTransport, createGrpcWebTransport } = here;
        return protocol.startsWith('connect')
          ? createConnectTransport(options)
          : createGrpcWebTransport(options);
      };
      const clientOf = (name: string, protocol: string): object =>
        here.createClient(
          registry.getService(`scalingnote.v1.${name}`) as DescService,
          make(addresses[name]!, protocol),
        );
      Object.assign(globalThis, { registry, clientOf });
    },
    { addresses, descriptors: official.descriptors },
  );
}

/** What a page has after {@link open}. */
interface Opened {
  official: Official;
  registry: FileRegistry;
  clientOf(service: string, protocol: string): Record<string, (message: object, options?: object) => unknown>;
}

/** How a search on the page ends. */
interface Ended {
  hits: string[];
  error?: { code: number; message: string; details: string[]; fields: string[] };
}

const searchOnPage = (protocol: string, query: string, timeoutMs?: number): Promise<Ended> =>
  page.evaluate(
    async ({ protocol, query, timeoutMs }) => {
      const { official: here, registry, clientOf } = globalThis as never as Opened;
      try {
        const options = timeoutMs === undefined ? {} : { timeoutMs };
        const answer = await clientOf('QueryService', protocol)['search']!({ query }, options);
        return {
          hits: (answer as { hits: { documentId: string }[] }).hits.map(({ documentId }) => documentId),
        };
      } catch (thrown) {
        const error = here.ConnectError.from(thrown);
        const badRequest = registry.getMessage('google.rpc.BadRequest') as DescMessage;
        const found = error.findDetails(badRequest) as never as { fieldViolations: { field: string }[] }[];
        return {
          hits: [],
          error: {
            code: error.code,
            message: error.rawMessage,
            details: error.details.map((detail) => ('type' in detail ? detail.type : '')),
            fields: found.flatMap(({ fieldViolations }) => fieldViolations.map(({ field }) => field)),
          },
        };
      }
    },
    { protocol, query, timeoutMs },
  ) as Promise<Ended>;

describe('the official client on a page of an origin that may call', { skip }, () => {
  before(async () => {
    if (chromium !== undefined) await open(official.origin);
  });

  for (const protocol of PROTOCOLS) {
    test(`${protocol}: a search`, async () => {
      search = async ({ query }) => ({ hits: [{ documentId: `of ${query}`, score: 0.5 }] });
      assert.deepEqual(await searchOnPage(protocol, 'ü 東京'), { hits: ['of ü 東京'] });
    });

    test(`${protocol}: an error with its details`, async () => {
      search = () => Promise.reject(invalidArgument('query', 'is é; send ü'));
      const { error } = await searchOnPage(protocol, 'é');
      assert.deepEqual(error, {
        code: 3,
        message: 'query: is é; send ü',
        details: ['google.rpc.ErrorInfo', 'google.rpc.BadRequest'],
        fields: ['query'],
      });
    });

    test(`${protocol}: a deadline ends the call on both sides`, async () => {
      const calls: Call[] = [];
      search = (_, call) => {
        calls.push(call);
        return once(call.signal, 'abort').then(() => Promise.reject(call.signal.reason as Error));
      };
      const { error } = await searchOnPage(protocol, 'slow', 400);
      assert.equal(error?.code, 4, error?.message);
      const [call] = calls;
      assert.ok(call!.deadline !== undefined && call!.deadline < Date.now() + 400);
      await until(() => call!.signal.aborted);
    });

    test(`${protocol}: a stream comes message by message, and its error after them`, async () => {
      let heard = (): void => {};
      const hearing = new Promise<void>((resolve) => (heard = resolve));
      search = async () => (heard(), { hits: [] });
      exported = async (call) => {
        await call.write({ document: { id: 'one' } });
        // Nothing more, until the page has this one.
        await hearing;
        await call.write({ document: { id: 'two' } });
        throw invalidArgument('after', 'is gone');
      };
      const seen = await page.evaluate(async (protocol) => {
        const { official: here, clientOf } = globalThis as never as Opened;
        const ids: string[] = [];
        const stream = clientOf('DocumentService', protocol)['export']!({ collection: 'c' });
        try {
          for await (const message of stream as AsyncIterable<{
            event: { value: { id: string } };
          }>) {
            ids.push(message.event.value.id);
            if (ids.length === 1) await clientOf('QueryService', protocol)['search']!({ query: 'I have it' });
          }
          return { ids, error: '' };
        } catch (thrown) {
          return { ids, error: here.ConnectError.from(thrown).message };
        }
      }, protocol);
      assert.deepEqual(seen, { ids: ['one', 'two'], error: '[invalid_argument] after: is gone' });
    });
  }

  test('a preflight is answered with what the page may send, and for how long', async () => {
    const { statusCode, headers } = await request(`http://${server.address}${SEARCH}`, {
      method: 'OPTIONS',
      headers: { origin: official.origin, 'access-control-request-method': 'POST' },
    });
    assert.equal(statusCode, 204);
    assert.equal(headers['access-control-allow-origin'], official.origin);
    assert.match(String(headers['access-control-allow-headers']), /connect-protocol-version/);
  });
});

test('a page of another origin gets nothing, and nothing is searched', { skip }, async () => {
  await open(official.otherOrigin);
  search = async () => ({ hits: [{ documentId: 'secret' }] });
  for (const protocol of PROTOCOLS) {
    const { hits, error } = await searchOnPage(protocol, 'q');
    assert.deepEqual(hits, [], protocol);
    assert.ok(error && [2, 14].includes(error.code), `${protocol}: ${error?.message}`);
  }
  // A request that asks nobody first, as a form makes it, is not served either.
  const simple = await page.evaluate(async (url) => {
    const { fetch: ask } = globalThis;
    await ask(url, {
      method: 'POST',
      mode: 'no-cors',
      headers: { 'content-type': 'text/plain' },
      body: '{}',
    });
    return 'sent';
  }, `http://${server.address}${SEARCH}`);
  assert.deepEqual([simple, searches], ['sent', 0]);
  const { statusCode, headers } = await request(`http://${server.address}${SEARCH}`, {
    method: 'OPTIONS',
    headers: { origin: official.otherOrigin, 'access-control-request-method': 'POST' },
  });
  assert.deepEqual([statusCode, headers['access-control-allow-origin']], [403, undefined]);
});
