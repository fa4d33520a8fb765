import { pino } from 'pino';
import { openStore } from '../../../store/open.ts';
import type { ServiceReport } from '../../runtime/run-service.ts';
import { startServer } from '../../runtime/server.ts';
import { IngestPipeline } from '../ingest/pipeline.ts';
import { documentService, MAX_RECEIVE_BYTES } from '../service.ts';
import { FakeTower } from './fake-tower.ts';

// A document service over an embedded store, in a process that a test can kill. The argument is the store's folder.
const store = await openStore({ kind: 'embedded', directory: process.argv[2]! });
const tower = new FakeTower();
tower.before = () => new Promise((resolve) => setTimeout(resolve, 2));
const log = pino({ level: 'silent' });
const pipeline = new IngestPipeline({ store, tower, log }, { budgetTokens: 8192, maxStreams: 4 });
const server = await startServer({
  host: '127.0.0.1',
  port: 0,
  portSetting: 'a free one',
  services: [documentService({ store, pipeline, describe: () => ({ store: store.kind }) })],
  maxReceiveBytes: MAX_RECEIVE_BYTES,
  log,
});
const report: ServiceReport = { type: 'ready', address: server.address, pid: process.pid };
process.send?.(report);
// The parent may have been killed.
process.on('disconnect', () => process.exit());
