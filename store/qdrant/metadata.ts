import type { PointPayload } from './layout.ts';

/** Powers of ten up to this one are exact as float64, so that one division or product by them is correctly rounded. */
const EXACT_POWER = 22;

/** Integers below this are stored as 64-bit integers. */
const INTEGERS = 2 ** 63;

/** The greatest power of ten in the server's table. */
const MOST_POWER = 308;

type Stored = Pick<PointPayload, 'metadata' | 'exact_metadata'>;

/**
 * The metadata to store beside those that filters see: as text, where the server would change a number in the last
 * digit, otherwise `null`.
 *
 * @param json of the metadata
 */
export function exactMetadata(json: string, metadata: Stored['metadata']): string | null {
  return keepsNumbers(metadata) ? null : json;
}

/** Metadata as they were written. */
export function metadataOf({ metadata = {}, exact_metadata: exact }: Partial<Stored>): Stored['metadata'] {
  return typeof exact === 'string' ? (JSON.parse(exact) as Stored['metadata']) : metadata;
}

function keepsNumbers(value: unknown): boolean {
  if (typeof value === 'number') return keepsNumber(value);
  if (typeof value !== 'object' || value === null) return true;
  return Object.values(value).every(keepsNumbers);
}

/**
 * Whether a number comes back from Qdrant as it was. Qdrant reads JSON with serde_json as it is built by default: digits
 * as an integer, which becomes a float64, multiplied or divided by a power of ten. With more than 15 digits, or a large
 * power, that is up to some units in the last place off. Qdrant writes the shortest digits, as JavaScript does.
 *
 * @see https://github.com/serde-rs/json/issues/1336
 */
function keepsNumber(value: number): boolean {
  if (Number.isInteger(value) && Math.abs(value) < INTEGERS) return true;
  const [mantissa = '', exponent = ''] = Math.abs(value).toExponential().split('e');
  const digits = mantissa.replace('.', '');
  const power = Number(exponent) - (digits.length - 1);
  if (digits.length <= 15 && Math.abs(power) <= EXACT_POWER) return true;
  return scaled(Number(digits), power) === Math.abs(value);
}

/** The server divides twice for a power that its table does not have. */
function scaled(digits: number, power: number): number {
  if (power >= 0) return digits * tenTo(power);
  if (-power <= MOST_POWER) return digits / tenTo(-power);
  return digits / tenTo(MOST_POWER) / tenTo(-power - MOST_POWER);
}

/** `10 ** power` is not the nearest float64 for every power; a literal is. */
function tenTo(power: number): number {
  return Number(`1e${power}`);
}
