import * as z from 'zod';
import { machineLimits } from '../../../machine/limits.ts';

/** Processes for each core that a service may have: more would only wait for each other. */
const PROCESSES_PER_CORE = 4;

/** Why other services have no such flag. */
export const ONE_PROCESS =
  '--processes is a flag of the query service alone: the model of a document service has all cores already, and its quotas ' +
  'of what is stored are exact in one process; start several document services behind a load balancer instead';

/** How many processes a service has, a number or `auto`. */
export function processCount(): z.ZodPreprocess<z.ZodInt> {
  const { threads } = machineLimits();
  const most = PROCESSES_PER_CORE * threads;
  const message = `must be auto or a whole number from 1 to ${most}: ${PROCESSES_PER_CORE} for each core that the service may use`;
  return z.preprocess(
    (value) =>
      value === 'auto' ? threads : typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value,
    z.int(message).min(1, message).max(most, message),
  );
}
