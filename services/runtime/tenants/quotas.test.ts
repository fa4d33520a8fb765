import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import * as fc from 'fast-check';
import { ServiceError } from '../errors.ts';
import { ConfigError } from '../setting-types.ts';
import { Quotas, readQuotas } from './quotas.ts';
import { MAX_BUCKETS, Rates } from './rates.ts';

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-quotas-'));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'quotas.json');
const log = pino({ level: 'silent' });

function write(content: unknown): string {
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
}

test('what a file says wrongly is refused by name', () => {
  for (const [content, message] of [
    ['{', /is not JSON/],
    [{}, /version/],
    [{ version: 1, defaults: {} }, /Unrecognized key: "defaults"/],
    [{ version: 1, default: { document: 5 } }, /default: Unrecognized key: "document"/],
    [{ version: 1, tenants: { acme: { documents: -1 } } }, /tenants.acme.documents/],
    [{ version: 1, tenants: { acme: { bytes: 1.5 } } }, /tenants.acme.bytes/],
    [{ version: 1, tenants: { acme: { requestsPerSecond: 0 } } }, /tenants.acme.requestsPerSecond/],
    [{ version: 1, tenants: { acme: { weight: 1000 } } }, /tenants.acme.weight/],
    ['{"version": 1, "tenants": {"a": {}, "a": {}}}', /has the key "a" twice/],
  ] as const) {
    assert.throws(
      () => readQuotas(write(content)),
      (error) => {
        assert.ok(error instanceof ConfigError);
        assert.match(error.message, message);
        assert.ok(error.message.includes(file), error.message);
        return true;
      },
    );
  }
  assert.throws(() => readQuotas(join(folder, 'nowhere')), ConfigError);
});

test('a tenant has its own limits, else the default ones, and null takes one away', () => {
  write({
    version: 1,
    default: { documents: 10, bytes: 100 },
    tenants: { acme: { documents: 5, bytes: null, weight: 3 } },
  });
  const quotas = new Quotas(file, log);
  assert.deepEqual(quotas.limit('acme', 'documents'), { limit: 5, setBy: 'tenants."acme".documents' });
  assert.equal(quotas.limit('acme', 'bytes'), undefined);
  assert.deepEqual(quotas.limit('other', 'bytes'), { limit: 100, setBy: 'default.bytes' });
  assert.deepEqual([quotas.weight('acme'), quotas.weight('other')], [3, 1]);
  assert.equal(quotas.limit('other', 'ingestStreams'), undefined);
  quotas.close();
});

test('a rate refuses with the time to wait, and the message names the quota, its size and where it is set', () => {
  let now = 0;
  write({ version: 1, default: { requestsPerSecond: 2 }, tenants: { acme: { requestsPerSecond: 4 } } });
  const quotas = new Quotas(file, log, () => now);
  const ask = (tenant: string): ServiceError | undefined => {
    try {
      quotas.request(tenant);
      return undefined;
    } catch (error) {
      assert.ok(error instanceof ServiceError);
      return error;
    }
  };
  for (let each = 0; each < 4; each++) assert.equal(ask('acme'), undefined);
  const refused = ask('acme')!;
  assert.deepEqual([refused.reason, refused.retryDelayMs], ['QUOTA_EXCEEDED', 250]);
  assert.deepEqual(refused.metadata, {
    quota: 'requestsPerSecond',
    limit: '4',
    set_by: 'tenants."acme".requestsPerSecond',
  });
  assert.match(
    refused.message,
    /"acme" may have 4 requests per second; .* at tenants\."acme"\.requestsPerSecond/,
  );
  assert.equal(ask('other'), undefined, 'another tenant has its own');
  now = 249;
  assert.ok(ask('acme'));
  now = 250;
  assert.equal(ask('acme'), undefined);
  quotas.close();
});

test('a new file counts within a second or two, a broken one leaves the old in force', async () => {
  write({ version: 1, default: { documents: 1 } });
  const quotas = new Quotas(file, log);
  write('{');
  await sleep(1500);
  assert.equal(quotas.limit('a', 'documents')?.limit, 1);
  write({ version: 1, default: { documents: 22 } });
  await sleep(1500);
  assert.equal(quotas.limit('a', 'documents')?.limit, 22);
  quotas.close();
});

test('over any time nobody gets more than the rate and what a bucket holds, however it is taken', () => {
  const step = fc.record({ wait: fc.nat({ max: 500 }), amount: fc.integer({ min: 1, max: 50 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 100 }), (steps, rate) => {
      let now = 0;
      const rates = new Rates(() => now);
      let got = 0;
      let largest = 0;
      for (const { wait, amount } of steps) {
        now += wait;
        const waitMs = rates.take('a', rate, amount);
        if (waitMs === 0) {
          got += amount;
          largest = Math.max(largest, amount);
          continue;
        }
        // After the time that it was told, it gets it.
        now += waitMs;
        assert.equal(rates.take('a', rate, amount), 0, 'the wait was too short');
        got += amount;
        largest = Math.max(largest, amount);
      }
      assert.ok(got <= rate + (now / 1000) * rate + largest + 1e-3, `${got} in ${now} ms at ${rate}`);
    }),
  );
});

test('buckets are bounded', () => {
  const rates = new Rates();
  for (let tenant = 0; tenant < MAX_BUCKETS + 100; tenant++) rates.take(String(tenant), 1, 1);
  assert.equal(rates.size, MAX_BUCKETS);
});

test('what other processes of the service let through counts, so that together they keep to the quota', () => {
  let now = 0;
  write({ version: 1, default: { requestsPerSecond: 10 } });
  const all = [1, 2].map(() => new Quotas(file, log, () => now));
  all.forEach((quotas, own) => {
    quotas.onSpent((quota, tenant, amount) => all[1 - own]!.spend(quota, tenant, amount));
  });
  let passed = 0;
  const seconds = 20;
  for (; now < seconds * 1000; now += 10) {
    for (const quotas of all) {
      try {
        quotas.request('acme');
        passed++;
      } catch (error) {
        assert.ok(error instanceof ServiceError);
      }
    }
  }
  // The bucket is full at the beginning.
  assert.ok(passed >= 10 * seconds && passed <= 10 * (seconds + 1), `${passed} passed`);
  for (const quotas of all) quotas.close();
});
