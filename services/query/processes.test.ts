import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { credentials, status, type ServiceError } from '@grpc/grpc-js';
import type { EncodeResponse__Output } from '../../proto/generated/scalingnote/v1/EncodeResponse.ts';
import type { QueryServiceClient } from '../../proto/generated/scalingnote/v1/QueryService.ts';
import type { QueryServiceDescribeResponse__Output } from '../../proto/generated/scalingnote/v1/QueryServiceDescribeResponse.ts';
import { v1 } from '../../proto/load.ts';
import { machineLimits } from '../../machine/limits.ts';
import { loadConfig, Settings } from '../runtime/config.ts';
import { callUnary, until } from '../runtime/testing/harness.ts';
import { type Process, startService } from '../runtime/testing/processes.ts';
import type { JsonMetric } from '../runtime/telemetry/exposition.ts';

/** Connections of callers; each goes to one process. */
const CONNECTIONS = 4;
const SLOTS = 5;
/** Long enough for callers on any machine to see that the service stops, and for what they have sent to arrive. */
const LAME_DUCK_MS = 10_000;

/** Whether a process is there. */
function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A query service of two processes, at any free ports. */
function startFleet(folder: string, ...flags: readonly string[]): Promise<Process> {
  const ports = ['--port', '0', '--metrics-port', '0', '--console-address', ''];
  return startService('query', '--processes', '2', '--data', folder, ...ports, ...flags);
}

describe('a query service of two processes', () => {
  let folder: string;
  let service: Process;
  const clients: QueryServiceClient[] = [];

  const connect = (): QueryServiceClient => {
    const client = new v1.QueryService(service.address, credentials.createInsecure(), {
      // A connection of its own, and no second try.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
    });
    clients.push(client);
    return client;
  };
  const pidBehind = async (client: QueryServiceClient): Promise<number> => {
    const { service: described } = await callUnary<QueryServiceDescribeResponse__Output>(
      client,
      'Describe',
      {},
    );
    return described!.pid;
  };
  /** A busy machine refuses calls, which are then not lost. */
  const encode = async (client: QueryServiceClient, text: string): Promise<EncodeResponse__Output> => {
    for (;;) {
      try {
        return await callUnary<EncodeResponse__Output>(client, 'Encode', { texts: [text] });
      } catch (error) {
        if ((error as ServiceError).code !== status.RESOURCE_EXHAUSTED) throw error;
      }
    }
  };
  const measured = async (name: string): Promise<JsonMetric['points']> => {
    const response = await fetch(`http://${service.metrics}/metrics.json`);
    const all = (await response.json()) as JsonMetric[];
    return all.find((each) => each.name === name)?.points ?? [];
  };
  /** Calls of Encode that were answered, by all processes. */
  const encoded = async (): Promise<number> => {
    const points = await measured('rpc.server.call.duration');
    const own = points.filter(
      ({ attributes }) =>
        String(attributes['rpc.method']).endsWith('Encode') &&
        attributes['rpc.response.status_code'] === 'OK',
    );
    return own.reduce((sum, point) => sum + ('count' in point ? point.count : 0), 0);
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'scalingnote-processes-'));
    const flags = { slots: String(SLOTS), lameDuck: String(LAME_DUCK_MS), audit: join(folder, 'audit.log') };
    const limits = ['--query-slots', flags.slots, '--lame-duck-ms', flags.lameDuck];
    service = await startFleet(folder, '--liveness-port', '0', '--audit-log', flags.audit, ...limits);
  });
  after(async () => {
    for (const client of clients) client.close();
    await service.stop('SIGKILL');
    await rm(folder, { recursive: true });
  });

  let pids: number[];
  let sent = 0;

  test('connections are spread over both, and its metrics are those of both', async () => {
    const each = Array.from({ length: CONNECTIONS }, connect);
    pids = await Promise.all(each.map(pidBehind));
    const counts = [...new Set(pids)].map((pid) => pids.filter((other) => other === pid).length);
    assert.deepEqual(counts, [CONNECTIONS / 2, CONNECTIONS / 2]);
    assert.ok(!pids.includes(service.child.pid!), 'the parent answers no calls');
    for (const [index, client] of each.entries()) {
      for (let call = 0; call <= index; call++) await encode(client, `text ${index} ${call}`);
      sent += index + 1;
    }
    assert.equal(await encoded(), sent);
    const limits = await measured('scalingnote.limit');
    const limit = (name: string): unknown => {
      const point = limits.find(({ attributes }) => attributes['scalingnote.limit.name'] === name);
      return point && 'value' in point ? point.value : undefined;
    };
    assert.deepEqual(
      [limit('calls.running'), limit('message.bytes'), limit('connections')],
      [SLOTS, 16 * 1024 * 1024, 10_000],
      'what is shared adds up to the setting, what is of one call does not',
    );
    const memory = await measured('process.memory.usage');
    assert.deepEqual(
      memory.map(({ attributes }) => attributes['scalingnote.process']),
      ['1', '2', 'parent'],
    );
    const [serving] = await measured('scalingnote.serving');
    assert.ok(serving && 'value' in serving && serving.value === 1);
  });

  test('the parent writes one audit log for both', async () => {
    const lines = async (): Promise<string[]> => {
      const text = await readFile(join(folder, 'audit.log'), 'utf8');
      return text.split('\n').filter((line) => line.includes('QueryService/Encode'));
    };
    await until(async () => (await lines()).length === sent);
    for (const line of await lines()) assert.equal((JSON.parse(line) as { outcome: string }).outcome, 'OK');
  });

  test('one that is killed is started again, and the other goes on meanwhile', async () => {
    const [victim] = pids as [number];
    const survivor = clients[pids.findIndex((pid) => pid !== victim)]!;
    const counted = await encoded();
    process.kill(victim, 'SIGKILL');
    await until(() => !runs(victim));
    assert.equal((await encode(survivor, 'still here')).embeddings.length, 1);
    const fresh = connect();
    assert.ok(pids.includes(await pidBehind(fresh)), 'who comes now goes to the one that is left');
    assert.equal(await encoded(), counted + 1, 'what the dead one had counted still counts');
    await until(async () => {
      const [running] = await measured('scalingnote.processes');
      return running !== undefined && 'value' in running && running.value === 2;
    });
    const late = await pidBehind(connect());
    assert.ok(!pids.includes(late), 'the new process has fewest connections');
    const ready = await fetch(`http://${service.liveness}/readyz`);
    assert.equal(ready.status, 200);
  });

  test('SIGTERM drains both: no call is lost, and no process is left', async () => {
    const all: QueryServiceClient[] = [];
    const behind: number[] = [];
    // The process that came last has fewest connections, and gets the next ones.
    while (new Set(behind).size < 2) {
      const client = connect();
      all.push(client);
      behind.push(await pidBehind(client));
    }
    const { child } = service;
    const stopping = new AbortController();
    let answered = 0;
    const call = async (client: QueryServiceClient): Promise<void> => {
      for (let each = 0; !stopping.signal.aborted; each++) {
        await encode(client, `while it stops ${each}`);
        answered++;
      }
    };
    const calls = all.map(call);
    await until(() => answered > 10);
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    // What has been sent is answered.
    stopping.abort();
    await Promise.all(calls);
    // As a load balancer does: it sends calls until the service says that it stops.
    await until(async () => {
      const ready = await fetch(`http://${service.liveness}/readyz`);
      return ready.status === 503;
    });
    assert.equal((await encode(connect(), 'a connection that comes late')).embeddings.length, 1);
    assert.deepEqual(await exited, [0, null]);
    for (const pid of behind) assert.ok(!runs(pid), `process ${pid} is left`);
    const refused = await encode(connect(), 'too late').catch((error: ServiceError) => error.code);
    assert.equal(refused, status.UNAVAILABLE);
  });
});

test('all processes end when their parent is killed', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'scalingnote-processes-'));
  t.after(() => rm(folder, { recursive: true }));
  const service = await startFleet(folder);
  const response = await fetch(`http://${service.metrics}/metrics.json`);
  const metrics = (await response.json()) as JsonMetric[];
  assert.ok(metrics.some(({ name }) => name === 'scalingnote.processes'));
  const client = new v1.QueryService(service.address, credentials.createInsecure());
  t.after(() => client.close());
  const described = await callUnary<QueryServiceDescribeResponse__Output>(client, 'Describe', {});
  await service.stop('SIGKILL');
  await until(() => !runs(described.service!.pid));
});

for (const [what, flags, message] of [
  ['a tower that is not there', ['--query-tower', '/nowhere'], /\/nowhere/],
  ['fewer slots than processes', ['--query-slots', '1'], /--query-slots is 1, which 2 processes can't share/],
] as const) {
  test(`what can't be is refused once, by name: ${what}`, async () => {
    const starting = startService(
      'query',
      '--port',
      '0',
      '--metrics-port',
      '0',
      '--processes',
      '2',
      ...flags,
    );
    await assert.rejects(starting, message);
  });
}

test('a number of processes that can’t be is refused by name; auto is one for each core', () => {
  const schema = Settings.pick({ queryProcesses: true });
  const { threads } = machineLimits();
  for (const value of ['0', '1.5', '-1', 'autos', '', String(4 * threads + 1)]) {
    const message = new RegExp(
      `--processes: must be auto or a whole number from 1 to ${4 * threads}: 4 for each core`,
    );
    assert.throws(() => loadConfig(schema, [`--processes=${value}`], {}), message);
  }
  assert.throws(
    () => loadConfig(schema, [], { SCALINGNOTE_QUERY_PROCESSES: 'many' }),
    /SCALINGNOTE_QUERY_PROCESSES: must be auto/,
  );
  assert.equal(loadConfig(schema, ['--processes', 'auto'], {}).config.queryProcesses, threads);
  assert.equal(loadConfig(schema, [], {}).config.queryProcesses, 1);
  const document = Settings.pick({ portDocument: true });
  assert.throws(
    () => loadConfig(document, ['--processes', '2'], {}),
    /--processes is a flag of the query service/,
  );
});
