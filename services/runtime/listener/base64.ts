import { invalidArgument } from '../errors.ts';

/** The bytes of a body in base64, which may be several texts one after another, each with its padding. */
export async function* base64Chunks(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  let rest = '';
  for await (const chunk of chunks) {
    const text = rest + chunk.toString('latin1');
    const whole = text.length - (text.length % 4);
    rest = text.slice(whole);
    for (const part of text.slice(0, whole).match(/[^=]+={0,2}|=/g) ?? []) {
      if (part.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(part)) {
        throw invalidArgument('body', 'is not base64, as application/grpc-web-text has it');
      }
      yield Buffer.from(part, 'base64');
    }
  }
  if (rest !== '') throw invalidArgument('body', 'ends in the middle of base64');
}

export function base64Text(bytes: Buffer): string {
  return bytes.toString('base64');
}
