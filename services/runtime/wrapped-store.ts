import type { Store } from '../../store/store.ts';

/** A call of a store, with the store bound. */
export type StoreMethod = (...parameters: unknown[]) => Promise<unknown>;

/** The same store, each of its methods but `close` replaced. @param wrap called once for each method */
export function wrappedStore(store: Store, wrap: (call: StoreMethod, name: string) => StoreMethod): Store {
  // Not a `Proxy`, which would look the method up at each call.
  const wrapped = Object.create(store) as Store;
  for (const name of namesIn(store)) {
    const member: unknown = Reflect.get(store, name);
    if (typeof member !== 'function') {
      Object.defineProperty(wrapped, name, { get: () => Reflect.get(store, name) as unknown });
      continue;
    }
    const call = member.bind(store) as StoreMethod;
    Object.defineProperty(wrapped, name, { value: name === 'close' ? call : wrap(call, name) });
  }
  return wrapped;
}

/** Methods that may be answered without the store: they say nothing of its health. */
const SILENT: ReadonlySet<string> = new Set(['probe', 'prepare']);

/** The same store, which tells how its calls end. */
export function watchedStore(
  store: Store,
  watch: { answered: () => void; failed: (error: unknown) => void },
): Store {
  return wrappedStore(store, (call, name) => {
    const answered = SILENT.has(name) ? () => {} : watch.answered;
    return (...parameters) => {
      // The promise of the call itself, so that watching it delays nobody.
      const result = call(...parameters);
      result.then(answered, watch.failed);
      return result;
    };
  });
}

/** The names of an object's members, its own and those of its classes. */
function namesIn(object: object): Set<string> {
  const names = new Set<string>();
  for (let each: object = object; each !== Object.prototype; each = Object.getPrototypeOf(each) as object) {
    for (const name of Object.getOwnPropertyNames(each)) if (name !== 'constructor') names.add(name);
  }
  return names;
}
