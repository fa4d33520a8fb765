/** The server could not be started; the message says why in one line. */
export class StartError extends Error {
  override readonly name = 'StartError';
}
