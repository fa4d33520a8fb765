import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { QueryClient, type ScalingnoteError } from '../clients/index.ts';
import { type Process, startProcess } from '../services/runtime/testing/processes.ts';

/**
 * A query service whose Qdrant is away: at first, then there, then away again. What stands in for Qdrant has no
 * collections and answers nothing but that.
 */
const EMPTY: Readonly<Record<string, unknown>> = {
  '/aliases': { aliases: [] },
  '/collections': { collections: [] },
};

async function listen(server: Server, port: number): Promise<number> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

function emptyQdrant(): Server {
  return createServer((request, response) => {
    const result = EMPTY[(request.url ?? '').split('?')[0]!];
    response.writeHead(result === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ result, status: 'ok', time: 0 }));
  });
}

/** What `scalingnote status --json` prints, as far as it matters here. */
interface Status {
  services: { status: string; reason?: string }[];
}

/** Asks the command for the state of a query service, with no document service there. */
async function statusOf(queryAddress: string): Promise<string> {
  const main = fileURLToPath(new URL('../cli/main.js', import.meta.url));
  const addresses = ['--query-address', queryAddress, '--document-address', '127.0.0.1:1'];
  const child = spawn(process.execPath, [main, 'status', ...addresses, '--json']);
  const [printed, [exit]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  assert.equal(exit, 1);
  return printed;
}

describe('a query service without its store', () => {
  let service: Process;
  let client: QueryClient;
  let qdrant: Server | undefined;
  let port: number;

  const comeUp = async (): Promise<void> => {
    qdrant = emptyQdrant();
    port = await listen(qdrant, port);
  };
  const goAway = async (): Promise<void> => {
    const closed = once(qdrant!, 'close');
    qdrant!.close();
    qdrant!.closeAllConnections();
    await closed;
  };
  const health = async (wanted: string): Promise<void> => {
    while ((await client.health()) !== wanted) await sleep(20);
  };
  const serving = async (): Promise<string | undefined> => {
    const body = await (await fetch(`http://${service.metrics}/metrics`)).text();
    return /^scalingnote_serving (\d)$/m.exec(body)?.[1];
  };
  const search = (): Promise<ScalingnoteError> =>
    client.search({ collection: 'docs', query: 'anything' }).then(
      () => assert.fail('there is nothing to search'),
      (error: ScalingnoteError) => error,
    );

  before(async () => {
    port = 0;
    await comeUp();
    await goAway();
    const main = new URL('../services/query/main.js', import.meta.url);
    const environment = { SCALINGNOTE_STORE: 'qdrant', QDRANT_URL: `http://127.0.0.1:${port}` };
    const flags = ['--port', '0', '--metrics-port', '0', '--log-level', 'silent'];
    service = await startProcess(main, flags, environment);
    client = new QueryClient({ address: service.address, attempts: 1, timeoutMs: 30_000 });
  });
  after(async () => {
    client.close();
    await service.stop('SIGKILL');
    qdrant?.close();
    qdrant?.closeAllConnections();
  });

  test('is up, says that it does not serve, and fails searches at once', async () => {
    assert.equal(await client.health(), 'NOT_SERVING');
    assert.equal(await serving(), '0');
    assert.match((await client.describe()).notServingReason ?? '', /Qdrant at http/);
    const { services } = JSON.parse(await statusOf(service.address)) as Status;
    const [document, query] = services;
    assert.equal(query?.status, 'NOT_SERVING');
    assert.match(query.reason ?? '', /Qdrant at http/);
    assert.deepEqual(
      [document?.status, document?.reason],
      ['UNREACHABLE', 'connect ECONNREFUSED 127.0.0.1:1'],
    );
    const { code, reason, retryable, message } = await search();
    assert.deepEqual([code, reason, retryable], ['UNAVAILABLE', 'STORE_UNAVAILABLE', true]);
    assert.match(message, /Qdrant at http:\/\/127\.0\.0\.1:\d+/);
  });

  test('serves by itself when the store comes, and not when it has gone again', async () => {
    await comeUp();
    await health('SERVING');
    assert.equal(await serving(), '1');
    assert.equal((await client.describe()).notServingReason, undefined);
    assert.equal((await search()).reason, 'COLLECTION_NOT_FOUND', 'the store is asked');
    await goAway();
    await health('NOT_SERVING');
    assert.equal((await search()).reason, 'STORE_UNAVAILABLE');
    await comeUp();
    await health('SERVING');
    assert.equal((await search()).reason, 'COLLECTION_NOT_FOUND');
  });
});
