import { Settings } from '../config.ts';
import { namesOf } from '../config.ts';
import { runService } from '../run-service.ts';
import { startServer } from '../server.ts';

/** A service that does nothing, as a process. With `host` "broken" it can't start. */
await runService(
  'test',
  Settings.pick({ host: true, portQuery: true, drainMs: true, logLevel: true }),
  async (config, log) => {
    if (config.host === 'broken') throw new TypeError('nobody foresaw this');
    const server = await startServer({
      host: config.host,
      port: config.portQuery,
      portSetting: namesOf('portQuery'),
      services: [],
      maxReceiveBytes: 1000,
      log,
    });
    return { address: server.address, stop: () => server.shutdown(config.drainMs) };
  },
);
