import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { credentials } from '@grpc/grpc-js';
import type { EncodeResponse__Output } from '../../proto/generated/scalingnote/v1/EncodeResponse.ts';
import { v1 } from '../../proto/load.ts';
import { callUnary } from '../runtime/testing/harness.ts';
import { startService } from '../runtime/testing/processes.ts';

/** Long enough for the calls of the test on any machine; the service ends when they have shown what they show. */
const LAME_DUCK_MS = 20_000;

test('a service that stops says that it is not ready, and goes on taking calls for a time', async (t) => {
  const data = await mkdtemp(join(tmpdir(), 'scalingnote-stopping-'));
  t.after(() => rm(data, { recursive: true }));
  const ports = ['--port', '0', '--metrics-port', '0', '--liveness-port', '0'];
  const lameDuck = ['--lame-duck-ms', String(LAME_DUCK_MS)];
  const { child, address, liveness, stop } = await startService(
    'query',
    '--data',
    data,
    ...ports,
    ...lameDuck,
  );
  t.after(() => stop('SIGKILL'));
  const stateOf = async (path: string): Promise<{ code: number; status: string; reason?: string }> => {
    const response = await fetch(`http://${liveness}${path}`);
    return { code: response.status, ...((await response.json()) as { status: string }) };
  };
  assert.deepEqual(
    [(await stateOf('/livez')).code, (await stateOf('/readyz')).code],
    [200, 200],
    'a service that reports that it is ready is',
  );

  child.kill('SIGTERM');
  let ready = await stateOf('/readyz');
  for (; ready.code === 200; ready = await stateOf('/readyz')) await sleep(5);
  assert.deepEqual([ready.status, ready.reason], ['NOT_READY', 'it is shutting down']);
  assert.equal((await stateOf('/livez')).code, 200, 'it lives until it ends');
  const health = await fetch(`http://${address}/healthz`);
  assert.equal(health.status, 503);
  // Over a connection that was not there before.
  const client = new v1.QueryService(address, credentials.createInsecure());
  t.after(() => client.close());
  const { embeddings } = await callUnary<EncodeResponse__Output>(client, 'Encode', { texts: ['still here'] });
  assert.equal(embeddings.length, 1);
  // A second signal ends it at once.
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
});
