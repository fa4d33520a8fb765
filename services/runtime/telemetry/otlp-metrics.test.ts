import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AggregationTemporality, DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import { Instruments } from './instruments.ts';
import { OtlpMetrics } from './otlp-metrics.ts';

function measured(temporality: AggregationTemporality) {
  const instruments = new Instruments();
  const otlp = new OtlpMetrics(instruments, { name: 'test' }, () => temporality);
  const collect = async (): Promise<MetricData[]> =>
    (await otlp.collect()).resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics);
  /** What is told of the metrics, without times. */
  const values = async (): Promise<unknown[]> =>
    (await collect()).flatMap(({ descriptor, dataPoints }) =>
      dataPoints.map(({ attributes, value }) => [descriptor.name, attributes, value]),
    );
  return { instruments, collect, values };
}

test('counts are told from zero on, a gauge without a value is not', async () => {
  const { instruments, values } = measured(AggregationTemporality.CUMULATIVE);
  instruments.counter('c', '1', '')({});
  instruments.gauge('g', '1', '')({});
  instruments.histogram('h', '', { unit: 's', bounds: [1] })({});
  assert.deepEqual(await values(), [
    ['c', {}, 0],
    ['h', {}, { buckets: { boundaries: [1], counts: [0, 0] }, count: 0, sum: 0 }],
  ]);
});

test('a series is one, in whatever order its attributes come', async () => {
  const { instruments, collect } = measured(AggregationTemporality.CUMULATIVE);
  const count = instruments.counter('c', '1', 'Things');
  count({ a: 1, b: 2 }).add(1);
  count({ b: 2, a: 1 }).add(2);
  count({ a: 1 }).add(4);
  const [metric] = await collect();
  assert.deepEqual(metric?.descriptor, { name: 'c', unit: '1', description: 'Things', valueType: 1 });
  assert.deepEqual(
    metric.dataPoints.map(({ value }) => value),
    [3, 4],
  );
  assert.ok(metric.dataPointType === DataPointType.SUM && metric.isMonotonic);
});

test('cumulative: all that was counted since the process began, each time', async () => {
  const { instruments, collect, values } = measured(AggregationTemporality.CUMULATIVE);
  const seconds = instruments.histogram('h', '', { unit: 's', bounds: [1, 2] })({ a: 1 });
  for (const value of [0.5, 1, 1.5, 9, Number.NaN]) seconds.record(value);
  instruments.observe('g', '1', '', () => 7, { of: 'x' });
  const expected = [
    [
      'h',
      { a: 1 },
      { buckets: { boundaries: [1, 2], counts: [2, 1, 1] }, count: 4, sum: 12, min: 0.5, max: 9 },
    ],
    ['g', { of: 'x' }, 7],
  ];
  assert.deepEqual(await values(), expected);
  assert.deepEqual(await values(), expected);
  const [first, second] = [await collect(), await collect()].map((metrics) => metrics[0]!.dataPoints[0]!);
  assert.deepEqual(first?.startTime, second?.startTime);
});

test('delta: what came since the last time, from that time on; a gauge is what it is', async () => {
  const { instruments, collect, values } = measured(AggregationTemporality.DELTA);
  const count = instruments.counter('c', '1', '')({});
  const seconds = instruments.histogram('h', '', { unit: 's', bounds: [1] })({});
  let total = 10;
  instruments.observeTotal('o', '1', '', () => total);
  const gauge = instruments.gauge('g', '1', '')({});
  const tell = (): void => {
    count.add(2);
    seconds.record(0.5);
    seconds.record(3);
    gauge.set(5);
  };
  const distribution = { buckets: { boundaries: [1], counts: [1, 1] }, count: 2, sum: 3.5 };
  tell();
  assert.deepEqual(await values(), [
    ['c', {}, 2],
    ['h', {}, distribution],
    ['o', {}, 10],
    ['g', {}, 5],
  ]);
  tell();
  total += 1;
  const second = await collect();
  assert.deepEqual(
    second.map(({ dataPoints }) => dataPoints[0]!.value),
    [2, distribution, 1, 5],
  );
  const third = await collect();
  assert.deepEqual(third[0]!.dataPoints[0]!.startTime, second[0]!.dataPoints[0]!.endTime);
});
