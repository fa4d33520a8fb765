import { serve } from '../../calls/serve.ts';
import { LocalReplica } from './replica.ts';
import type { WorkerReplicaPlan } from './replica-group.ts';

// An interrupt from the keyboard reaches the whole process group; the parent decides what becomes of this process.
process.on('SIGINT', () => {});

serve(
  ({ plan, state }: WorkerReplicaPlan) => LocalReplica.open(plan, { state }),
  (error) => ({
    reason: 'WORKER_FAILED',
    message: error instanceof Error ? error.message : String(error),
    metadata: {},
  }),
);
