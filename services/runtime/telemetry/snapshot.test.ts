import assert from 'node:assert/strict';
import { deserialize, serialize } from 'node:v8';
import { test } from 'node:test';
import { jsonMetrics } from './exposition.ts';
import { Instruments } from './instruments.ts';
import { type InstrumentSnapshot, lasting, merged, snapshotOf } from './snapshot.ts';

/** As it comes from another process. */
const sent = (instruments: Instruments): InstrumentSnapshot[] =>
  deserialize(serialize(snapshotOf(instruments.all))) as InstrumentSnapshot[];

function measured(base: number): Instruments {
  const instruments = new Instruments();
  const calls = instruments.histogram('calls', 'Calls', { unit: 's', bounds: [1, 2] });
  for (const value of [base / 2, base, 10]) calls({ method: 'a' }).record(value);
  if (base > 1) calls({ method: 'b' }).record(1);
  instruments.counter('refused', '{call}', 'Refused')({}).add(base);
  instruments.observe('scalingnote.queue.depth', '{request}', 'Waiting', () => base);
  instruments.observe('scalingnote.queue.age', 's', 'Age', () => base);
  instruments.observe('scalingnote.serving', '{service}', 'Serves', () => base - 1);
  instruments.observe('process.memory.usage', 'By', 'Memory', () => base);
  for (const name of ['calls.running', 'message.bytes']) {
    const attributes = { 'scalingnote.limit.name': name };
    instruments.observe('scalingnote.limit', '{limit}', 'Limits', () => 8, attributes);
  }
  return instruments;
}

/** Values by name and attributes. */
function valuesOf(parts: Parameters<typeof merged>[0]): Record<string, unknown> {
  return Object.fromEntries(
    jsonMetrics(merged(parts)).flatMap(({ name, points }) =>
      points.map((point) => [
        [name, ...Object.values(point.attributes)].join(' '),
        'value' in point ? point.value : [point.count, point.sum, ...point.counts],
      ]),
    ),
  );
}

test('what several processes measured is one: counts add up, ages and facts do not', () => {
  const parts = [1, 2].map((base) => ({ process: String(base), instruments: sent(measured(base)) }));
  assert.deepEqual(valuesOf(parts), {
    'calls a': [6, 24.5, 3, 1, 2],
    'calls b': [1, 1, 1, 0, 0],
    refused: 3,
    'scalingnote.queue.depth': 3,
    'scalingnote.queue.age': 2,
    'scalingnote.serving': 0,
    'process.memory.usage 1': 1,
    'process.memory.usage 2': 2,
    'scalingnote.limit calls.running': 16,
    'scalingnote.limit message.bytes': 8,
  });
});

test('of a process that is gone only what it counted stays', () => {
  const gone = lasting([{ instruments: sent(measured(2)) }]);
  const parts = [{ process: '1', instruments: sent(measured(1)) }, { instruments: gone }];
  const values = valuesOf(parts);
  assert.deepEqual([values['refused'], values['calls a']], [3, [6, 24.5, 3, 1, 2]]);
  assert.deepEqual([values['scalingnote.queue.depth'], values['process.memory.usage 1']], [1, 1]);
});
