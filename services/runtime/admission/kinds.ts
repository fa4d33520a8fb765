import type { ServiceDefinition } from '@grpc/grpc-js';
import type { Kind } from './admission.ts';

/** Methods that cost nothing and that people need most in trouble. */
const FREE = new Set(['Describe', 'ListCollections', 'ListAliases', 'SwitchAlias']);
/** Methods that take long and that nobody waits for at a keyboard. */
const BATCH = new Set(['MeasureFamiliarity', 'DropTenant', 'ListTenants', 'GetTenantUsage']);

/** Streams whose messages are work for this thread. */
const QUERIES = new Set(['SearchStream']);

/** How each method of a service is let in, by path. What is new is let in within the slots. */
export function kindsOf(definition: ServiceDefinition): Map<string, Kind> {
  return new Map(
    Object.entries(definition).map(([name, { path, requestStream, responseStream }]): [string, Kind] => {
      if (requestStream || responseStream) return [path, QUERIES.has(name) ? 'queries' : 'stream'];
      if (FREE.has(name)) return [path, 'free'];
      return [path, BATCH.has(name) ? 'batch' : 'interactive'];
    }),
  );
}
