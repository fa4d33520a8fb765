import type { Store } from '../../../store/store.ts';
import type { Tower } from '../../../towers/tower.ts';
import type { Metrics } from './metrics.ts';

/** Measures the runs of a tower's model. */
export function watchTower(tower: Pick<Tower, 'manifest' | 'onBatch'>, metrics: Metrics): void {
  const attributes = { 'scalingnote.tower': tower.manifest.name };
  const sizes = metrics.batchSize(attributes);
  const tokensPerRun = metrics.batchTokens(attributes);
  const padding = metrics.batchPadding(attributes);
  const durations = metrics.batchDuration(attributes);
  const total = metrics.tokens(attributes);
  tower.onBatch(({ size, tokens, paddingRatio, encodeMs }) => {
    sizes.record(size);
    tokensPerRun.record(tokens);
    padding.record(paddingRatio);
    durations.record(encodeMs / 1000);
    total.add(tokens);
  });
}

/** The same store, its calls measured. */
export function watchedStore(store: Store, metrics: Metrics): Store {
  // Not a proxy: that would be asked for the method at each call.
  const watched = Object.create(store) as Store;
  for (const name of namesIn(store)) {
    const member: unknown = Reflect.get(store, name);
    if (typeof member !== 'function') {
      Object.defineProperty(watched, name, { get: () => Reflect.get(store, name) as unknown });
      continue;
    }
    const call = member.bind(store) as (...parameters: unknown[]) => Promise<unknown>;
    const value = name === 'close' ? call : measured(call, metrics, store.kind, name);
    Object.defineProperty(watched, name, { value });
  }
  return watched;
}

/** The names of what an object has, of itself and by its classes. */
function namesIn(object: object): Set<string> {
  const names = new Set<string>();
  for (let each: object = object; each !== Object.prototype; each = Object.getPrototypeOf(each) as object) {
    for (const name of Object.getOwnPropertyNames(each)) if (name !== 'constructor') names.add(name);
  }
  return names;
}

/** Hands on the very promise of the call, so that nobody waits a turn longer for being measured. */
function measured(
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
