import { route } from '../route.ts';
import { TraceList } from './list.tsx';
import { TracePage } from './trace.tsx';

/** The last traces, or one of them. */
export function TracesView() {
  const [traceId, spanId] = route.value.rest;
  return traceId === undefined ? (
    <TraceList />
  ) : (
    <TracePage key={traceId} traceId={traceId} spanId={spanId} />
  );
}
