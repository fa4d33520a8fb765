import * as z from 'zod';

/** The configuration can't be used; the message names the setting and where it came from. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** A whole number: as such in a file, in digits as a flag or in the environment. */
export function integer(min: number, max: number): z.ZodPreprocess<z.ZodInt> {
  return z.preprocess(
    (value) => (typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value),
    z.int(`must be a whole number from ${min} to ${max}`).min(min).max(max),
  );
}

/** A number: as such in a file, in decimal digits as a flag or in the environment. */
export function decimal(min: number, max: number): z.ZodPreprocess<z.ZodNumber> {
  const message = `must be a number from ${min} to ${max}`;
  return z.preprocess(
    (value) => (typeof value === 'string' && /^\d+(\.\d+)?$/.test(value) ? Number(value) : value),
    z.number(message).min(min, message).max(max, message),
  );
}

/** Yes or no: as such in a file, as a word elsewhere. */
export function boolean(): z.ZodPreprocess<z.ZodBoolean> {
  return z.preprocess(
    (value) => (value === 'true' ? true : value === 'false' ? false : value),
    z.boolean('must be true or false'),
  );
}
