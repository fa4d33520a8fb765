import { Server, ServerCredentials } from '@grpc/grpc-js';

// What a call costs when nobody does anything for it: a bare server of grpc-js that gives each call of a method the
// same answer. It is told `/package.Service/Method=BYTES` for each method, the length of its answers.
const server = new Server();
const bytes = (message: Buffer): Buffer => message;
for (const argument of process.argv.slice(2)) {
  const [path = '', length = ''] = argument.split('=');
  const answer = Buffer.alloc(Number(length), 1);
  const call = {
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  };
  server.addService(
    { call },
    { call: (_: unknown, done: (error: null, answer: Buffer) => void) => done(null, answer) },
  );
}
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  process.send!(
    error ? { type: 'failed', message: error.message } : { type: 'listening', address: `127.0.0.1:${port}` },
  );
});
process.once('disconnect', () => process.exit());
