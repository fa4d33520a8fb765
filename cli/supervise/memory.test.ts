import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limitsOf, type Machine } from '../../machine/limits.ts';
import { OomCounter } from './ending.ts';
import { nodeFlagsOf } from './memory.ts';

const GIB = 1024 ** 3;
const MACHINE: Machine = { cgroup: {}, cpus: 8, affinity: 8, memoryBytes: 16 * GIB };
const limited = limitsOf({ ...MACHINE, cgroup: { memoryBytes: { value: 2 * GIB, version: 'v2' } } });
const NAMES = ['document', 'query', 'console'] as const;

test('heaps are bounded where the memory is, and leave room for what is outside them', () => {
  const flags = NAMES.map((name) => nodeFlagsOf(name, limited, []).at(-1));
  assert.deepEqual(flags, [
    '--max-old-space-size=512',
    '--max-old-space-size=409',
    '--max-old-space-size=256',
  ]);
  for (const name of NAMES) assert.deepEqual(nodeFlagsOf(name, limitsOf(MACHINE), []), process.execArgv);
});

test('whoever says how large a heap is, is heard', () => {
  for (const said of [
    '--max-old-space-size=99',
    '--max_old_space_size=99',
    '--max-old-space-size-percentage=9',
  ]) {
    assert.deepEqual(nodeFlagsOf('query', limited, [said]), process.execArgv, said);
  }
});

test('a kill is for memory only where the kernel has counted one more since the start', () => {
  let kills: number | undefined = 3;
  const counter = new OomCounter(() => kills);
  assert.equal(counter.cause('SIGKILL'), undefined);
  kills = 4;
  assert.match(counter.cause('SIGKILL')!, /the kernel killed it for memory/);
  assert.equal(counter.cause('SIGTERM'), undefined);
  assert.equal(counter.cause(null), undefined);
  kills = undefined;
  assert.equal(new OomCounter(() => kills).cause('SIGKILL'), undefined);
});
