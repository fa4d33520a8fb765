// The clients under test: makes the calls that the runner asks for, by the code that our own clients call with, and says
// what came of them.
import { callByGrpc } from './grpc-client.ts';
import type { Ask, Outcome } from './client-messages.ts';
import { loadSuite, messagesOf, sized } from './messages.ts';
import { callByWeb } from './web-client.ts';

/** Calls at a time. Most of them wait. */
const PARALLEL = 16;

const [protos = '', descriptors = ''] = process.argv.slice(2);
const suite = loadSuite(protos, descriptors);
const asks = messagesOf(process.stdin);
const work = async (): Promise<void> => {
  for await (const bytes of asks) {
    const ask = suite.type<Ask>('ClientCompatRequest').deserialize(bytes);
    const answer = await answerTo(ask);
    const response = suite.type('ClientCompatResponse').serialize({ testName: ask.testName, ...answer });
    process.stdout.write(sized(response));
  }
};
await Promise.all(Array.from({ length: PARALLEL }, work));

async function answerTo(ask: Ask): Promise<{ response: Outcome } | { error: { message: string } }> {
  try {
    const call = ask.protocol === 'PROTOCOL_CONNECT' ? callByWeb : callByGrpc;
    return { response: await call(suite, ask) };
  } catch (error) {
    return { error: { message: (error as Error).stack ?? String(error) } };
  }
}
