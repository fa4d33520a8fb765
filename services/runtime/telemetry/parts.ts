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
  const watched = new Map<string | symbol, unknown>();
  return new Proxy(store, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function' || name === 'close') {
        return typeof member === 'function' ? (member.bind(target) as unknown) : member;
      }
      let wrapped = watched.get(name);
      if (!wrapped) {
        const call = member.bind(target) as (...parameters: unknown[]) => Promise<unknown>;
        wrapped = measured(call, metrics, target.kind, String(name));
        watched.set(name, wrapped);
      }
      return wrapped;
    },
  });
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
    const seconds = (): number => (performance.now() - startTime) / 1000;
    const result = call(...parameters);
    result.then(
      () => durations.record(seconds()),
      (error: unknown) =>
        metrics.storeDuration({ ...attributes, 'error.type': errorType(error) }).record(seconds()),
    );
    return result;
  };
}

function errorType(error: unknown): string {
  const { reason, name } = error as { reason?: unknown; name?: unknown };
  return typeof reason === 'string' ? reason : String(name ?? '_OTHER');
}
