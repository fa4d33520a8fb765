import { startEndpoint } from '../../towers/remote/testing/endpoint.ts';

// The server of embeddings that both sides ask, in a process of its own. Each request takes as long as the first argument says.
const endpoint = await startEndpoint({ after: () => {} }, { delayMs: Number(process.argv[2]) });
process.send?.({ type: 'ready', address: endpoint.url, pid: process.pid });
process.on('message', () => {
  process.send?.({ requests: endpoint.seen.length, busiest: endpoint.busiest });
  endpoint.seen.length = 0;
  endpoint.busiest = 0;
});
process.on('SIGTERM', () => process.exit(0));
process.once('disconnect', () => process.exit(0));
