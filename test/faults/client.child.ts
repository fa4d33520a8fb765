import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { credentials } from '@grpc/grpc-js';
import { channelOptions } from '../../clients/channel.ts';
import { v1 } from '../../proto/load.ts';
import type { ClientEvent } from './history.ts';
import { Journal, readJournal } from './journal.ts';
import type { RunPlan } from './plan.ts';
import { type Checkpoint, runProgram } from './program.ts';
import { recordCall } from './record-call.ts';

// The programs of some clients, in a process that can be killed: each keeps a journal and a checkpoint in the folder of
// the run.
const [folder = '', address = '', ...own] = process.argv.slice(2);
const { clients, collection } = JSON.parse(readFileSync(join(folder, 'plan.json'), 'utf8')) as RunPlan;
// The harness may have been killed.
process.on('disconnect', () => process.exit());
const client = new v1.DocumentService(
  address,
  credentials.createInsecure(),
  channelOptions({ target: address }),
);
await Promise.all(own.map((index) => runToEnd(clients[Number(index)]!)));
client.close();
process.disconnect?.();

async function runToEnd(plan: RunPlan['clients'][number]): Promise<void> {
  const path = join(folder, `${plan.client}.jsonl`);
  const kept = join(folder, `${plan.client}.checkpoint`);
  const before = readJournal(path);
  if (before.some(({ kind }) => kind === 'finished')) return;
  let connections = before.filter(({ kind }) => kind === 'opened').length;
  const journal = new Journal(path);
  const record = (event: ClientEvent): void => {
    journal.record(event);
    if (event.kind === 'watermark') process.send?.({ token: event.token, tenant: plan.tenant });
  };
  let checkpoint: Checkpoint = existsSync(kept)
    ? (JSON.parse(readFileSync(kept, 'utf8')) as Checkpoint)
    : { sequence: 0, identity: '' };
  const keep = (reached: Checkpoint): void => {
    checkpoint = reached;
    writeFileSync(`${kept}.part`, JSON.stringify(reached));
    renameSync(`${kept}.part`, kept);
  };
  const options = { collection, window: plan.window };
  let handed = 0;
  const beforeEach = async (): Promise<void> => {
    if (plan.pauseMs > 0 && ++handed % 4 === 0) await sleep(plan.pauseMs);
  };
  const connect = () => recordCall(client.ingest(), plan.client, ++connections, record);
  while (!(await runProgram({ plan, checkpoint, connect, options, beforeEach, record, keep }))) {
    await sleep(100);
  }
  journal.close();
}
