import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { startServer } from '../services/runtime/server.ts';

const SCRIPT = fileURLToPath(new URL('./healthcheck.js', import.meta.url));

function check(address: string): Promise<{ code: number; said: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [SCRIPT, address], (error, stdout) => {
      resolve({ code: Number(error?.code ?? 0), said: stdout.trim() });
    });
  });
}

test('the exit code says whether a service serves', async () => {
  const server = await startServer({
    host: '127.0.0.1',
    port: 0,
    portSetting: 'a free one',
    services: [],
    maxReceiveBytes: 1000,
    log: pino({ level: 'silent' }),
  });
  const { address } = server;
  assert.deepEqual(await check(address), { code: 1, said: 'NOT_SERVING' });
  server.setServing(true);
  assert.deepEqual(await check(address), { code: 0, said: 'SERVING' });
  await server.shutdown(100);
  const gone = await check(address);
  assert.equal(gone.code, 1);
  assert.match(gone.said, /ECONNREFUSED/);
});
