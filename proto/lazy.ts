/**
 * An object that is made when somebody first looks into it. Making the contract's codecs takes some 80 ms, and whoever
 * only imports the client needs none of them.
 */
export function lazily<T extends object>(make: () => T): T {
  let made: T | undefined;
  const object = (): T => (made ??= make());
  return new Proxy({} as T, {
    get: (_, key) => Reflect.get(object(), key) as unknown,
    has: (_, key) => Reflect.has(object(), key),
    ownKeys: () => Reflect.ownKeys(object()),
    getOwnPropertyDescriptor: (_, key) => {
      const found = Reflect.getOwnPropertyDescriptor(object(), key);
      // What the stand-in does not have itself, it may only call configurable.
      return found && { ...found, configurable: true };
    },
  });
}
