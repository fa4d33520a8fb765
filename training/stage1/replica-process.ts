import type { ReplicaMethods, ReplicaRequest, ReplicaResponse } from './replica-group.ts';
import { LocalReplica } from './replica.ts';

/** A training process. It answers requests until its parent closes the channel. */
let replica: Omit<ReplicaMethods, 'open'> | undefined;

async function answer({ method, args }: ReplicaRequest): Promise<unknown> {
  if (method === 'open') {
    const [plan, state] = args;
    replica = await LocalReplica.open(plan, { state });
    return undefined;
  }
  const call: (...args: never[]) => Promise<unknown> = replica![method];
  return Reflect.apply(call, replica, args);
}

// An interrupt from the keyboard reaches the whole process group; the parent decides what happens.
process.on('SIGINT', () => {});
process.on('message', (request: ReplicaRequest) => {
  const send = (response: ReplicaResponse): void => {
    // A parent that has closed the channel waits for no answer.
    if (process.connected) process.send!(response);
  };
  answer(request).then(
    (result) => send({ id: request.id, result }),
    (error: unknown) =>
      send({ id: request.id, error: error instanceof Error ? error.message : String(error) }),
  );
});
