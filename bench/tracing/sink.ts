import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

// Receives spans and drops them: what a collector does with them is not the service's cost.
const server = createServer((request, response) => {
  request.resume();
  request.on('end', () => response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end());
});
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  process.send?.({ type: 'ready', address: `127.0.0.1:${port}`, pid: process.pid });
});
process.on('SIGTERM', () => process.exit(0));
process.once('disconnect', () => process.exit(0));
