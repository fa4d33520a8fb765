import { hash } from 'node:crypto';

/** Namespace of our point ids: UUIDv5 of "scalingnote/point" in the URL namespace of RFC 9562. Never changes. */
const NAMESPACE = Buffer.from(
  uuid(
    hash(
      'sha1',
      Buffer.concat([
        Buffer.from('6ba7b8119dad11d180b400c04fd430c8', 'hex'),
        Buffer.from('scalingnote/point'),
      ]),
    ),
    5,
  ).replaceAll('-', ''),
  'hex',
);

/**
 * The id of a passage's point: UUIDv5 (RFC 9562, section 5.5) of tenant, document id and passage index. Every
 * writer gives a passage the same id, so writing it again overwrites it.
 *
 * @param passage index from 0, below 2^32
 */
export function pointId(tenant: string, documentId: string, passage: number): string {
  return uuid(hash('sha1', Buffer.concat([NAMESPACE, encodeTriple(tenant, documentId, passage)])), 5);
}

/**
 * Tenant, document id and passage as bytes, different for every triple: each string follows its length, so
 * that ("a", "bc") and ("ab", "c") differ.
 */
export function encodeTriple(tenant: string, documentId: string, passage: number): Buffer {
  const tenantBytes = Buffer.from(tenant);
  const header = Buffer.alloc(8);
  header.writeUInt32BE(passage, 0);
  header.writeUInt32BE(tenantBytes.length, 4);
  return Buffer.concat([header, tenantBytes, Buffer.from(documentId)]);
}

/** A UUID of a version that takes its other bits from a hash. @param hex digits of the hash, 32 or more */
export function uuid(hex: string, version: 5 | 8): string {
  const variant = '89ab'[Number.parseInt(hex[16]!, 16) & 3];
  return (
    `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${version}${hex.slice(13, 16)}-` +
    `${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`
  );
}
