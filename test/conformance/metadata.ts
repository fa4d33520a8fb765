import { Metadata } from '@grpc/grpc-js';
import type { Header } from './messages.ts';

/** The suite's headers, as gRPC has them. */
export function metadataOf(headers: readonly Header[]): Metadata {
  const metadata = new Metadata();
  for (const { name, value } of headers) {
    for (const each of value) metadata.add(name, name.endsWith('-bin') ? Buffer.from(each, 'base64') : each);
  }
  return metadata;
}

/** The same back. */
export function headersOf(metadata: Metadata): Header[] {
  return Object.keys(metadata.getMap()).map((name) => ({
    name,
    value: metadata.get(name).map((value) => (typeof value === 'string' ? value : unpadded(value))),
  }));
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}
