/** Why a lookup tower can't be used here. The message names the part and what is wrong with it. */
export class LookupError extends Error {
  override readonly name = 'LookupError';
}
