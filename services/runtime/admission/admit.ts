import type { ServiceDefinition } from '@grpc/grpc-js';
import { showLimits } from '../telemetry/limits.ts';
import type { RpcWatch } from '../telemetry/rpc.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { Admission, type AdmissionOptions } from './admission.ts';
import { kindsOf } from './kinds.ts';

/** Calls that run, and that wait for it, in a service that has no setting for it. */
const SLOTS = 16;
const PLACES = 256;

/** The admission of a service, with what is measured of it. */
export function admit(
  {
    definition,
    refuseStream,
    limits,
  }: { definition: ServiceDefinition; limits?: Readonly<Record<string, number>> } & Pick<
    AdmissionOptions,
    'refuseStream'
  >,
  { maxReceiveBytes }: { maxReceiveBytes: number },
  {
    querySlots,
    queryQueue,
    connectionIdleS,
    connectionAgeS,
  }: { querySlots?: number; queryQueue?: number; connectionIdleS: number; connectionAgeS: number },
  telemetry: Telemetry | undefined,
): Admission {
  const watches = new Map<string, RpcWatch>();
  if (telemetry) {
    for (const { path, requestStream, responseStream } of Object.values(definition)) {
      watches.set(path, telemetry.watch(path, requestStream || responseStream));
    }
  }
  const admission = new Admission({
    slots: querySlots ?? SLOTS,
    places: queryQueue ?? PLACES,
    maxReceiveBytes,
    kinds: kindsOf(definition),
    refuseStream,
    sessions: { idleMs: 1000 * connectionIdleS, maxAgeMs: 1000 * connectionAgeS },
    onRefusal: (method, error, arrived) => watches.get(method)?.refused(error, arrived),
  });
  const metrics = telemetry?.metrics;
  const queue = { 'scalingnote.queue': 'admission' };
  metrics?.observe(
    'scalingnote.queue.depth',
    '{request}',
    'Requests that wait',
    () => admission.queue.waiting,
    queue,
  );
  metrics?.observe(
    'scalingnote.queue.age',
    's',
    'Age of the oldest call that waits',
    () => admission.queue.ageMs / 1000,
    queue,
  );
  metrics?.observe(
    'scalingnote.calls.slots',
    '{call}',
    'Calls that have a slot',
    () => admission.queue.running,
  );
  metrics?.observe('scalingnote.calls.open', '{call}', 'Calls and streams in flight', () => admission.open);
  metrics?.observe(
    'scalingnote.streams.open',
    '{stream}',
    'Open calls without a slot',
    () => admission.streams,
  );
  metrics?.observe(
    'scalingnote.connections',
    '{connection}',
    'Connections of callers',
    () => admission.connections,
  );
  for (const reason of ['idle', 'age', 'flood'] as const) {
    metrics?.observeTotal(
      'scalingnote.connections.ended',
      '{connection}',
      'Connections of HTTP/2 that were ended from here',
      () => admission.sessions.ended[reason],
      { 'scalingnote.reason': reason },
    );
  }
  metrics?.observe(
    'scalingnote.bytes.in_flight',
    'By',
    'Bytes of requests in flight, as they are after inflation',
    () => admission.bytes.held,
  );
  metrics?.observe(
    'scalingnote.bytes.untaken',
    'By',
    'Memory of answers that callers have not taken',
    () => admission.untakenBytes,
  );
  metrics?.observe(
    'scalingnote.bytes.limit',
    'By',
    'Most bytes of requests in flight',
    () => admission.bytes.max,
  );
  const shown = Object.entries({ ...admission.limits, ...limits }).map(([name, value]) => [
    name,
    () => value,
  ]);
  if (metrics) showLimits(metrics, Object.fromEntries(shown) as Record<string, () => number>);
  return admission;
}
