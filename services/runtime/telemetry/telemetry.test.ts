import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { Metadata } from '@grpc/grpc-js';
import { recordingLog } from '../testing/harness.ts';
import { startTelemetry, type Telemetry } from './telemetry.ts';

const SETTINGS = {
  name: 'scalingnote-test',
  version: '1.2.3',
  consoleAddress: '',
  metricsHost: '127.0.0.1',
  metricsPort: 0,
  metricsPortSetting: '--metrics-port',
  slowMs: 500,
};

let telemetry: Telemetry | undefined;
afterEach(() => telemetry?.close());

async function start(env: NodeJS.ProcessEnv = {}, settings: Partial<typeof SETTINGS> = {}) {
  const { log, lines } = recordingLog();
  telemetry = await startTelemetry({ ...SETTINGS, ...settings }, env, log);
  return { telemetry, lines };
}

async function scrape(accept = ''): Promise<{ type: string; lines: string[] }> {
  const response = await fetch(`http://${telemetry?.metricsAddress}/metrics`, { headers: { accept } });
  return { type: response.headers.get('content-type')!, lines: (await response.text()).split('\n') };
}

describe('metrics', () => {
  test('as Prometheus reads them', async () => {
    await start();
    telemetry!.metrics!.callDuration({ 'rpc.method': 'a/b', quote: '"\\\n' }).record(0.02);
    telemetry!.metrics!.documents({ 'scalingnote.document.outcome': 'indexed' }).add(3);
    telemetry!.metrics!.observe('scalingnote.queue.depth', '{request}', 'Waiting', () => 5);
    const { type, lines } = await scrape();
    assert.match(type, /^text\/plain; version=0\.0\.4/);
    assert.ok(lines.includes('# TYPE rpc_server_call_duration_seconds histogram'));
    const labels = 'rpc_method="a/b",quote="\\"\\\\\\n"';
    assert.ok(lines.includes(`rpc_server_call_duration_seconds_bucket{${labels},le="0.01"} 0`));
    assert.ok(lines.includes(`rpc_server_call_duration_seconds_bucket{${labels},le="0.025"} 1`));
    assert.ok(lines.includes(`rpc_server_call_duration_seconds_bucket{${labels},le="+Inf"} 1`));
    assert.ok(lines.includes('# TYPE scalingnote_documents_total counter'));
    assert.ok(lines.includes('scalingnote_documents_total{scalingnote_document_outcome="indexed"} 3'));
    assert.ok(lines.includes('scalingnote_queue_depth 5'));
    for (const name of [
      'process_cpu_time_seconds_total',
      'process_memory_usage_bytes',
      'nodejs_eventloop_delay_p99_seconds',
      'nodejs_eventloop_utilization_ratio',
      'v8js_memory_heap_used_bytes',
    ]) {
      assert.ok(
        lines.some((line) => line.startsWith(name)),
        name,
      );
    }
    assert.ok(!lines.some((line) => line.includes('trace_id')), 'the old format has no place for exemplars');
  });

  test('as OpenMetrics, with the trace of a value in each bucket', async () => {
    await start({}, { consoleAddress: '127.0.0.1:9' });
    const span = telemetry!.tracer!.incoming('a/b', { metadata: new Metadata() }, performance.now(), {});
    telemetry!.metrics!.callDuration({ 'rpc.method': 'a/b' }).record(0.02, span);
    const { type, lines } = await scrape('application/openmetrics-text');
    assert.match(type, /^application\/openmetrics-text/);
    const found = lines.find((line) => line.includes('le="0.025"') && line.startsWith('rpc_server'));
    assert.ok(
      found?.includes(
        ` # {trace_id="${span.spanContext().traceId}",span_id="${span.spanContext().spanId}"} 0.02 `,
      ),
      found,
    );
    assert.deepEqual(lines.slice(-2), ['# EOF', '']);
    const names = lines.filter((line) => line.startsWith('# TYPE')).map((line) => line.split(' ')[2]);
    assert.equal(new Set(names).size, names.length, 'each family is there once');
    assert.ok(lines.includes('# TYPE scalingnote_telemetry_dropped counter'));
  });

  test('as JSON', async () => {
    await start();
    telemetry!.metrics!.batchSize({}).record(3);
    const response = await fetch(`http://${telemetry!.metricsAddress}/metrics.json`);
    const metrics = (await response.json()) as { name: string; type: string; points: { count: number }[] }[];
    const size = metrics.find(({ name }) => name === 'scalingnote.batch.size');
    assert.deepEqual([size?.type, size?.points[0]?.count], ['histogram', 1]);
  });

  test('a port that is taken is told, and no reason not to start', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    const { telemetry, lines } = await start({}, { metricsPort: port });
    assert.ok(telemetry);
    assert.equal(telemetry.metricsAddress, undefined);
    assert.ok(lines.some(({ msg }) => String(msg).includes(`port ${port} is busy`)));
    other.close();
  });
});

describe('a receiver of spans', () => {
  test('that is away costs nothing but the spans, which are counted', async () => {
    const { telemetry, lines } = await start(
      {
        OTEL_BSP_SCHEDULE_DELAY: '1',
        OTEL_BSP_MAX_QUEUE_SIZE: '10',
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '10',
      },
      { consoleAddress: '127.0.0.1:9' },
    );
    for (let call = 0; call < 500; call++) {
      telemetry!.tracer!.incoming('a/b', { metadata: new Metadata() }, performance.now(), {}).end();
    }
    const dropped = async (): Promise<number> => {
      const { lines } = await scrape();
      const line = lines.find((each) => each.startsWith('scalingnote_telemetry_dropped_total'));
      return Number(line?.split(' ').at(-1));
    };
    assert.ok((await dropped()) >= 490);
    while ((await dropped()) < 500) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(lines.filter(({ msg }) => String(msg).includes('can’t be exported')).length, 1);
  });

  test('that is slow is not waited for when the process ends, beyond a bound', async () => {
    const open = createServer(() => {});
    await new Promise<void>((resolve) => open.listen(0, '127.0.0.1', resolve));
    const { port } = open.address() as AddressInfo;
    const { telemetry } = await start({}, { consoleAddress: `127.0.0.1:${port}` });
    telemetry!.tracer!.incoming('a/b', { metadata: new Metadata() }, performance.now(), {}).end();
    await telemetry!.close();
    open.close();
    open.closeAllConnections();
  });

  test('gets what there is when the process ends', async () => {
    let received = 0;
    const receiver = createServer((request, response) => {
      request.resume();
      request.on('end', () => {
        received++;
        response.writeHead(200).end();
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    const { port } = receiver.address() as AddressInfo;
    const { telemetry } = await start(
      { OTEL_BSP_SCHEDULE_DELAY: '60000' },
      { consoleAddress: `127.0.0.1:${port}` },
    );
    telemetry!.tracer!.incoming('a/b', { metadata: new Metadata() }, performance.now(), {}).end();
    assert.equal(received, 0);
    await telemetry!.close();
    assert.equal(received, 1);
    receiver.close();
    receiver.closeAllConnections();
  });
});

describe('OTEL_*', () => {
  test('OTEL_SDK_DISABLED: nothing at all', async () => {
    assert.equal((await start({ OTEL_SDK_DISABLED: 'true' })).telemetry, undefined);
  });

  test('OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER: none', async () => {
    const { telemetry } = await start(
      { OTEL_TRACES_EXPORTER: 'none', OTEL_METRICS_EXPORTER: 'none' },
      { consoleAddress: '127.0.0.1:9' },
    );
    assert.deepEqual([telemetry?.tracer, telemetry?.metricsAddress], [undefined, undefined]);
  });

  test('OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES: who speaks', async () => {
    await start({});
    const own = (await scrape()).lines.find((line) => line.startsWith('target_info{'));
    assert.ok(own?.includes('service_name="scalingnote-test"') && own.includes('service_version="1.2.3"'));
  });

  for (const [name, value] of [
    ['OTEL_TRACES_EXPORTER', 'zipkin'],
    ['OTEL_METRICS_EXPORTER', 'statsd'],
    ['OTEL_TRACES_SAMPLER', 'some'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector'],
    ['OTEL_BSP_MAX_QUEUE_SIZE', 'large'],
  ] as const) {
    test(`${name}=${value} is refused by name, with what may be set`, async () => {
      await assert.rejects(
        start({ [name]: value }, { consoleAddress: '127.0.0.1:9' }),
        new RegExp(`^EnvironmentError: ${name}: .*set`),
      );
    });
  }

  test('a protocol that is not there is refused, with those that are', async () => {
    await assert.rejects(
      start({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9', OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' }),
      /OTEL_EXPORTER_OTLP_PROTOCOL.*grpc, http\/protobuf/,
    );
  });
});
