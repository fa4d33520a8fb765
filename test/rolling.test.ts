import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DocumentClient, QueryClient, type ScalingnoteError } from '../clients/index.ts';
import { Site, type Outcome, searchWhile } from './testing/load.ts';

// Query services come and go under load, as processes of their own; no call may fail before its deadline.

/** `npm run bench -- restarts` asks for 200; a machine that runs other tests besides is too small for that. */
const PER_SECOND = 50;
const SEARCH = { collection: Site.collection, query: 'who bakes bread' };

/** Load before and after what happens, so that it meets calls, and calls meet its end. */
const BEFORE_MS = 500;
const AFTER_MS = 1500;

const site = new Site();
before(() => site.fill());
after(() => site.close());

function assertNoFailure(outcomes: readonly Outcome[]): void {
  assert.ok(outcomes.length > PER_SECOND / 2, `${outcomes.length} calls are no load`);
  const failed = outcomes.filter(({ error }) => error);
  assert.deepEqual(
    failed
      .slice(0, 10)
      .map(({ at, ms, error }) => `${Math.round(at)} ms: ${error?.message} after ${Math.round(ms)} ms`),
    [],
  );
}

/** Searches until each of some processes has answered. */
async function untilAllAnswer(client: QueryClient, pids: readonly (number | undefined)[]): Promise<void> {
  const missing = new Set(pids);
  while (missing.size > 0) {
    missing.delete((await client.describe()).pid);
    await sleep(10);
  }
}

describe('two query services', () => {
  test('a rolling restart fails no call', async () => {
    let [first, second] = await Promise.all([site.query(), site.query()]);
    await using client = new QueryClient({ addresses: [first.address, second.address] });
    await untilAllAnswer(client, [first.child.pid, second.child.pid]);
    const outcomes = await searchWhile(client, PER_SECOND, async () => {
      await sleep(BEFORE_MS);
      await first.stop('SIGTERM');
      assert.equal(first.child.exitCode, 0);
      first = await site.query(first.address);
      await untilAllAnswer(client, [first.child.pid]);
      await second.stop('SIGTERM');
      second = await site.query(second.address);
      await untilAllAnswer(client, [first.child.pid, second.child.pid]);
      await sleep(BEFORE_MS);
    });
    assertNoFailure(outcomes);
    await Promise.all([first.stop(), second.stop()]);
  });

  for (const balancing of ['round-robin', 'least-loaded'] as const) {
    test(`SIGKILL of one fails no call (${balancing})`, async () => {
      const [first, second] = await Promise.all([site.query(), site.query()]);
      await using client = new QueryClient({ addresses: [first.address, second.address], balancing });
      await untilAllAnswer(client, [first.child.pid, second.child.pid]);
      const outcomes = await searchWhile(client, PER_SECOND, async () => {
        await sleep(BEFORE_MS);
        await first.stop('SIGKILL');
        await sleep(AFTER_MS);
      });
      assertNoFailure(outcomes);
      await second.stop();
    });
  }

  test('SIGSTOP of one fails no call, and it is used again when it goes on', async () => {
    const [first, second] = await Promise.all([site.query(), site.query()]);
    await using client = new QueryClient({ addresses: [first.address, second.address] });
    await untilAllAnswer(client, [first.child.pid, second.child.pid]);
    const outcomes = await searchWhile(client, PER_SECOND, async () => {
      await sleep(BEFORE_MS);
      first.child.kill('SIGSTOP');
      await sleep(2 * AFTER_MS);
    });
    assertNoFailure(outcomes);
    first.child.kill('SIGCONT');
    await untilAllAnswer(client, [first.child.pid]);
    await Promise.all([first.stop(), second.stop()]);
  });

  test('a stream goes over to the other one with the newest query', async () => {
    const [first, second] = await Promise.all([site.query(), site.query()]);
    await using client = new QueryClient({ addresses: [first.address, second.address] });
    await untilAllAnswer(client, [first.child.pid, second.child.pid]);
    await using stream = client.searchStream();
    assert.notEqual((await stream.search(SEARCH))?.hits.length, 0);
    let asked = 0;
    const failed: unknown[] = [];
    const typing = setInterval(() => {
      stream.search({ ...SEARCH, query: `who ${asked++}` }).catch((error: unknown) => failed.push(error));
    }, 10);
    await sleep(BEFORE_MS);
    for (const service of [first, second]) {
      await service.stop('SIGKILL');
      await sleep(BEFORE_MS);
      const successor = await site.query(service.address);
      await untilAllAnswer(client, [successor.child.pid]);
    }
    clearInterval(typing);
    assert.notEqual((await stream.search(SEARCH))?.hits.length, 0);
    assert.deepEqual(failed, []);
    assert.ok(asked > 50);
  });
});

describe('one query service', () => {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    test(`every call waits for its restart after ${signal}`, async () => {
      let service = await site.query();
      await using client = new QueryClient({ address: service.address });
      const outcomes = await searchWhile(client, PER_SECOND, async () => {
        await sleep(BEFORE_MS);
        await service.stop(signal);
        service = await site.query(service.address);
        await sleep(BEFORE_MS);
      });
      assertNoFailure(outcomes);
      await service.stop();
    });
  }

  test('that is stopped with SIGSTOP answers late, or the deadline ends the call', async () => {
    const service = await site.query();
    await using client = new QueryClient({ address: service.address });
    await client.search(SEARCH);
    service.child.kill('SIGSTOP');
    await assert.rejects(
      client.search(SEARCH, { timeoutMs: 300 }),
      (error: ScalingnoteError) => error.code === 'DEADLINE_EXCEEDED',
    );
    await using stream = client.searchStream();
    await assert.rejects(
      stream.search(SEARCH, { timeoutMs: 300 }),
      (error: ScalingnoteError) => error.code === 'DEADLINE_EXCEEDED',
    );
    const late = client.search(SEARCH);
    service.child.kill('SIGCONT');
    assert.notEqual((await late).hits.length, 0);
    assert.notEqual((await stream.search(SEARCH))?.hits.length, 0);
    await service.stop();
  });
});

describe('a peer that accepts and never answers', () => {
  const sockets = new Set<Socket>();
  const mute = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  let address = '';
  before(async () => {
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    address = `127.0.0.1:${(mute.address() as AddressInfo).port}`;
  });
  after(() => {
    for (const socket of sockets) socket.destroy();
    mute.close();
  });

  test('alone: calls and streams end at their deadline, an ingest and an export when its patience ends', async () => {
    using queries = new QueryClient({ address, timeoutMs: 300 });
    using documents = new DocumentClient({ address, timeoutMs: 300 });
    const isLate = ({ code }: ScalingnoteError): boolean => code === 'DEADLINE_EXCEEDED';
    using stream = queries.searchStream();
    await Promise.all([
      assert.rejects(queries.search(SEARCH), isLate),
      assert.rejects(queries.health(), isLate),
      assert.rejects(stream.search(SEARCH), isLate),
      assert.rejects(
        documents.ingest([{ id: 'a', text: 'x' }], { collection: 'c', patienceMs: 1000 }),
        ({ code, message }: ScalingnoteError) => code === 'UNAVAILABLE' && /within 300 ms/.test(message),
      ),
      assert.rejects(
        documents.exportDocuments({ collection: 'c', patienceMs: 1000 }).next(),
        ({ code, message }: ScalingnoteError) => code === 'UNAVAILABLE' && /within 300 ms/.test(message),
      ),
    ]);
  });

  test('beside a service: every call and every stream goes to the service', async () => {
    const service = await site.query();
    await using client = new QueryClient({ addresses: [address, service.address] });
    const outcomes = await searchWhile(client, PER_SECOND, () => sleep(AFTER_MS));
    assertNoFailure(outcomes);
    await using stream = client.searchStream();
    assert.notEqual((await stream.search(SEARCH))?.hits.length, 0);
    await service.stop();
  });
});
