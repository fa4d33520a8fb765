import { InvalidArgumentError } from 'commander';

/** A flag's whole number. The service checks its bounds. */
export function wholeNumber(value: string): number {
  if (!/^\d+$/.test(value)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(value);
}

/** A flag's whole number above 0. */
export function positive(value: string): number {
  if (!/^0*[1-9]\d*$/.test(value)) throw new InvalidArgumentError('It must be a whole number, at least 1.');
  return Number(value);
}

/** A flag's number above 0. */
export function positiveNumber(value: string): number {
  const number = Number(value);
  if (!(number > 0 && Number.isFinite(number)))
    throw new InvalidArgumentError('It must be a number above 0.');
  return number;
}

/** A flag's number. */
export function decimal(value: string): number {
  const number = Number(value);
  if (value.trim() === '' || !Number.isFinite(number)) throw new InvalidArgumentError('It must be a number.');
  return number;
}
