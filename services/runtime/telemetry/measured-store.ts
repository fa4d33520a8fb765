import type { Store } from '../../../store/store.ts';
import { type StoreMethod, wrappedStore } from '../wrapped-store.ts';
import type { Metrics } from './metrics.ts';

/** The same store, its calls measured. */
export function measuredStore(store: Store, metrics: Metrics): Store {
  return wrappedStore(store, (call, name) => measuredCall(call, metrics, store.kind, name));
}

/** Returns the promise of the call itself, so that measuring it delays nobody. */
function measuredCall(call: StoreMethod, metrics: Metrics, system: string, operation: string): StoreMethod {
  const attributes = { 'db.system.name': system, 'db.operation.name': operation };
  const durations = metrics.storeDuration(attributes);
  return (...parameters) => {
    const startTime = performance.now();
    const result = call(...parameters);
    result.then(
      () => durations.record((performance.now() - startTime) / 1000),
      (error: unknown) =>
        metrics
          .storeDuration({ ...attributes, 'error.type': errorType(error) })
          .record((performance.now() - startTime) / 1000),
    );
    return result;
  };
}

function errorType(error: unknown): string {
  const { reason, name } = error as { reason?: unknown; name?: unknown };
  if (typeof reason === 'string') return reason;
  return typeof name === 'string' ? name : '_OTHER';
}
