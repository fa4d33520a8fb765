import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openTower } from '../towers/open.ts';
import type { Tower } from '../towers/tower.ts';
import { temporaryFolder, TINY_WIDTH, writeTinyTower } from '../towers/testing/tiny-tower.ts';
import { encodeCached } from './vectors.ts';

/** A tower, and how many inputs it was given; it breaks down after `limit`. */
function counted(tower: Tower, limit = Infinity): { tower: Tower; inputs: () => number } {
  let inputs = 0;
  const proxy: Tower = Object.create(tower, {
    encodeAll: {
      value: (...[batch, options]: Parameters<Tower['encodeAll']>) => {
        inputs += batch.length;
        if (inputs > limit) throw new Error('out of power');
        return tower.encodeAll(batch, options);
      },
    },
  }) as Tower;
  return { tower: proxy, inputs: () => inputs };
}

async function tinyTower(
  context: { after: (hook: () => Promise<void> | void) => void },
  prompt = '',
): Promise<Tower> {
  const folder = temporaryFolder(context);
  writeTinyTower(folder, { prompt, space: { normalize: prompt === '' } });
  const tower = await openTower(folder, { cacheDir: temporaryFolder(context), inline: true });
  context.after(() => tower.close());
  return tower;
}

const texts = (count: number): string[] =>
  Array.from({ length: count }, (_, index) =>
    index.toString(26).replaceAll(/\d/g, (digit) => 'qrstuvwxyz'[Number(digit)]!),
  );

test('vectors come from the cache the second time, and from no other tower or inputs', async (context) => {
  const cacheDir = temporaryFolder(context);
  const tower = await tinyTower(context);
  const inputs = await tower.tokenizeAll(texts(50));
  const first = counted(tower);
  const vectors = await encodeCached(first.tower, inputs, { cacheDir });
  assert.equal(first.inputs(), 50);
  assert.deepEqual(vectors, await tower.encodeAll(inputs));

  const second = counted(tower);
  assert.deepEqual(await encodeCached(second.tower, inputs, { cacheDir }), vectors);
  assert.equal(second.inputs(), 0);
  await encodeCached(second.tower, inputs.slice(1), { cacheDir });
  assert.equal(second.inputs(), 49);

  const other = counted(await tinyTower(context, 'query: '));
  await encodeCached(other.tower, inputs, { cacheDir });
  assert.equal(other.inputs(), 50);
});

test('a run that broke down goes on where it was', async (context) => {
  const cacheDir = temporaryFolder(context);
  const tower = await tinyTower(context);
  const inputs = await tower.tokenizeAll(texts(10_000));
  await assert.rejects(encodeCached(counted(tower, 9000).tower, inputs, { cacheDir }), /out of power/);
  const [part] = readdirSync(join(cacheDir, 'vectors'));
  assert.equal(statSync(join(cacheDir, 'vectors', part!)).size, 8192 * TINY_WIDTH * 4);

  const rest = counted(tower);
  const progress: [number, number][] = [];
  const vectors = await encodeCached(rest.tower, inputs, {
    cacheDir,
    onProgress: (done, total) => progress.push([done, total]),
  });
  assert.equal(rest.inputs(), 10_000 - 8192);
  assert.deepEqual(progress.at(-1), [10_000, 10_000]);
  assert.deepEqual(vectors, await tower.encodeAll(inputs));
});

test('two runs at the same vectors do not get into each other’s way', async (context) => {
  const cacheDir = temporaryFolder(context);
  const tower = await tinyTower(context);
  const inputs = await tower.tokenizeAll(texts(300));
  const [one, two] = await Promise.all([
    encodeCached(tower, inputs, { cacheDir }),
    encodeCached(tower, inputs, { cacheDir }),
  ]);
  assert.deepEqual(one, two);
  assert.equal(readdirSync(join(cacheDir, 'vectors')).length, 1);
});
