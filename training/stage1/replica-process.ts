import { LocalReplica } from './replica.ts';
import type { WorkerRequest, WorkerResponse } from './replica-group.ts';

/** A training process. It answers requests until its parent closes the channel. */
let replica: LocalReplica | undefined;

async function answer(request: WorkerRequest): Promise<unknown> {
  if (request.method === 'open') {
    const { plan, state } = request;
    replica = await LocalReplica.open(plan, { state });
    return undefined;
  }
  const opened = replica!;
  switch (request.method) {
    case 'encode':
      return opened.encode(request.side, request.texts);
    case 'accumulate':
      return opened.accumulate(request.side, request.texts, request.upstream);
    case 'gradient':
      return opened.gradient();
    case 'update':
      return opened.update(request.gradient);
    case 'state':
      return opened.state();
  }
}

// An interrupt from the keyboard reaches the whole process group; the parent decides what happens.
process.on('SIGINT', () => {});
process.on('message', (request: WorkerRequest) => {
  const send = (response: WorkerResponse): void => {
    // A parent that has closed the channel waits for no answer.
    if (process.connected) process.send!(response);
  };
  answer(request).then(
    (result) => send({ id: request.id, result }),
    (error: unknown) =>
      send({ id: request.id, error: error instanceof Error ? error.message : String(error) }),
  );
});
