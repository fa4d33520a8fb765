import { QueryClient } from '../clients/index.ts';

/** A service that takes longer has failed. Shorter than the time that Docker gives this process. */
const TIMEOUT_MS = 3000;

// Asks the service at an address (host:port) for its health. Works for either service. Exit 0: it serves.
const [address = ''] = process.argv.slice(2);
const client = new QueryClient({ address, attempts: 1, timeoutMs: TIMEOUT_MS });
try {
  const health = await client.health();
  console.log(health);
  process.exitCode = health === 'SERVING' ? 0 : 1;
} catch (error) {
  console.log((error as Error).message);
  process.exitCode = 1;
} finally {
  client.close();
}
