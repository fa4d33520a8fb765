import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Patterns } from '../../../keys/patterns.ts';
import { v1 } from '../../../proto/load.ts';
import type { Caller } from '../access/caller.ts';
import type { Call } from '../handler.ts';
import { perTenant } from './per-tenant.ts';
import { Quotas } from './quotas.ts';
import { flowOf } from './whose.ts';

const callerFor = (...tenants: string[]): Caller => ({
  id: 'key',
  kind: 'key',
  scopes: new Set(),
  tenants: new Patterns(tenants),
  collections: new Patterns(['*']),
  death: () => undefined,
});

/** Counts requests by tenant. */
class Counting extends Quotas {
  readonly requests: string[] = [];
  override request(tenant: string): void {
    this.requests.push(tenant);
  }
}

test('each request counts for the tenant that it names, or else its credential, and its span says whose it is', async () => {
  const quotas = new Counting();
  const done = () => Promise.resolve({});
  const definition = v1.QueryService.service;
  const names = Object.keys(definition);
  const handlers = perTenant(definition, Object.fromEntries(names.map((name) => [name, done])), quotas);
  const ask = async (method: string, request: object, caller?: Caller): Promise<unknown> => {
    const said: Record<string, unknown> = {};
    const span = { setAttribute: (key: string, value: unknown) => (said[key] = value) };
    const handler = (handlers as Record<string, (request: object, call: Call) => Promise<object>>)[method]!;
    await handler(request, { caller, span } as unknown as Call);
    return said['scalingnote.tenant'];
  };
  assert.equal(await ask('Search', { tenant: 'acme' }), 'acme');
  assert.equal(await ask('SearchByVector', { search: { tenant: 'acme' } }), 'acme');
  assert.equal(await ask('Search', { tenant: '' }), undefined);
  assert.equal(await ask('Encode', { texts: ['x'] }, callerFor('acme')), 'acme');
  assert.equal(await ask('Encode', { texts: ['x'] }, callerFor('acme', 'other')), undefined);
  assert.equal(await ask('Encode', { texts: ['x'] }, callerFor('a*')), undefined);
  assert.equal(await ask('Encode', { texts: ['x'] }), undefined);
  assert.deepEqual(quotas.requests, ['acme', 'acme', '', 'acme']);
});

test('before a call is read, it is of the one tenant of its credential, of the credential, or of an address', () => {
  assert.equal(flowOf(callerFor('acme'), '::1'), 'tenant acme');
  assert.equal(flowOf(callerFor('acme', 'b'), '::1'), 'credential key');
  assert.equal(flowOf(callerFor(''), '::1'), 'credential key');
  assert.equal(flowOf({ ...callerFor('*'), kind: 'anonymous' }, '::1'), 'address ::1');
});
