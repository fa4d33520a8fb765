import type { Store } from '../../../store/store.ts';
import type { Metrics } from './metrics.ts';

/** The same store, its calls measured. */
export function measuredStore(store: Store, metrics: Metrics): Store {
  // Not a `Proxy`, which would look the method up at each call.
  const measured = Object.create(store) as Store;
  for (const name of namesIn(store)) {
    const member: unknown = Reflect.get(store, name);
    if (typeof member !== 'function') {
      Object.defineProperty(measured, name, { get: () => Reflect.get(store, name) as unknown });
      continue;
    }
    const call = member.bind(store) as (...parameters: unknown[]) => Promise<unknown>;
    const value = name === 'close' ? call : measuredCall(call, metrics, store.kind, name);
    Object.defineProperty(measured, name, { value });
  }
  return measured;
}

/** The names of an object's members, its own and those of its classes. */
function namesIn(object: object): Set<string> {
  const names = new Set<string>();
  for (let each: object = object; each !== Object.prototype; each = Object.getPrototypeOf(each) as object) {
    for (const name of Object.getOwnPropertyNames(each)) if (name !== 'constructor') names.add(name);
  }
  return names;
}

/** Returns the promise of the call itself, so that measuring it delays nobody. */
function measuredCall(
  call: (...parameters: unknown[]) => Promise<unknown>,
  metrics: Metrics,
  system: string,
  operation: string,
): (...parameters: unknown[]) => Promise<unknown> {
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
